"""git's words become the family that says what the caller may do next."""

import signal
from pathlib import Path

import pytest

from homeostat.adapters.git.failures import disk_failure, missing_git, translate
from homeostat.core.errors import Conflict, IntegrityFailure, InvalidInput, NotFound, Unavailable


@pytest.mark.parametrize(
    ("stderr", "family", "code"),
    [
        ("fatal: Unable to create '/r/.git/index.lock': File exists.\n\nAnother git", Unavailable, "git-lock-held"),
        (
            "fatal: cannot lock ref 'refs/heads/x': Unable to create '/r/.git/refs/heads/x.lock': File exists.",
            Unavailable,
            "git-lock-held",
        ),
        ("error: unable to write file: No space left on device", Unavailable, "disk-full"),
        ("error: insufficient permission for adding an object", Unavailable, "not-writable"),
        ("fatal: Unable to create '/r/.git/index.lock': Read-only file system", Unavailable, "not-writable"),
        ("fatal: detected dubious ownership in repository at '/r'", InvalidInput, "repository-not-trusted"),
        ("fatal: not a git repository (or any of the parent directories): .git", InvalidInput, "not-a-repository"),
        ("fatal: this operation must be run in a work tree", InvalidInput, "bare-repository"),
        ("fatal: cannot lock ref 'refs/heads/x': is at 12ab but expected 34cd", Conflict, "ref-moved"),
        ("fatal: cannot lock ref 'refs/heads/x': reference already exists", Conflict, "ref-moved"),
        (
            "fatal: cannot lock ref 'refs/heads/x': unable to resolve reference 'refs/heads/x': reference broken",
            IntegrityFailure,
            "repository-corrupt",
        ),
        (
            "fatal: cannot lock ref 'refs/heads/homeostat/x': 'refs/heads/homeostat' exists; cannot create",
            Conflict,
            "branch-name-taken",
        ),
        ("error: 'a/b' appears as both a file and as a directory", Conflict, "path-in-the-way"),
        ("error: a/b: cannot add to the index - missing --add option?", Conflict, "path-in-the-way"),
        ("error: Invalid path 'git~1'", InvalidInput, "bad-path"),
        ("error: object file .git/objects/aa/bb is empty", IntegrityFailure, "repository-corrupt"),
        ("fatal: Not a valid object name 1111", NotFound, "unknown-object"),
        ("fatal: transport 'https' not allowed", NotFound, "unknown-object"),
        ("something never seen before", Unavailable, "git-failed"),
        ("", Unavailable, "git-failed"),
    ],
)
def test_each_message_has_its_family(stderr: str, family: type[Exception], code: str) -> None:
    error = translate(stderr, code=128, command="x")
    assert (type(error), error.code) == (family, code)


def test_a_held_lock_names_its_path() -> None:
    error = translate("fatal: Unable to create '/r/.git/index.lock': File exists.", code=128, command="x")
    assert error.facts["lock"] == "/r/.git/index.lock"
    assert "/r/.git/index.lock" in str(error.hint)


def test_a_git_ended_by_the_file_size_limit_met_a_full_disk() -> None:
    assert translate("", code=-signal.SIGXFSZ, command="x").code == "disk-full"
    assert "signal 9" in translate("", code=-9, command="x").message


def test_what_git_said_is_cut_to_a_line() -> None:
    message = translate("word\n" * 1000, code=1, command="x").message
    assert "\n" not in message
    assert len(message) < 400


def test_the_operating_systems_refusals_have_their_codes() -> None:
    assert disk_failure(OSError(28, "No space left on device"), "write").code == "disk-full"
    assert disk_failure(OSError(30, "Read-only file system"), "write").code == "not-writable"
    assert disk_failure(OSError(5, "Input/output error"), "write").code == "disk-failed"


def test_a_missing_folder_and_a_missing_program_are_told_apart(tmp_path: Path) -> None:
    assert missing_git("git", tmp_path).code == "git-missing"
    assert missing_git("git", tmp_path / "none").code == "not-a-repository"
