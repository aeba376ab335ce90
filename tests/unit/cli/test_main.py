"""What every command has in common: exit codes, streams, errors in one form."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from homeostat import __version__

HOMEOSTAT = Path(sys.executable).with_name("homeostat")


def test_the_version_is_one_line_of_data(typed):
    answer = typed("--version")
    assert (answer.code, answer.out, answer.err) == (0, f"{__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nosuch",),
        ("--nosuch",),
        ("proposals", "nosuch"),
        ("proposals", "show"),
        ("proposals", "list", "--limit", "0"),
        ("proposals", "list", "--limit", "many"),
        ("proposals", "reject", "abcd"),
        ("propose", "--diff", "x"),
        ("propose", "--diff", "x", "--title", "t", "--rationale", "r", "--severity", "extreme"),
        ("up", "--port", "65536"),
        ("init", "surplus"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_a_2_that_is_explained_on_stderr(typed, arguments):
    answer = typed(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert "Error: " in answer.err and "--help" in answer.err and "Traceback" not in answer.err


@pytest.mark.parametrize("arguments", [(), ("proposals",), ("findings",), ("config",)], ids=["", "p", "f", "c"])
def test_a_command_that_needs_more_shows_its_help(typed, arguments):
    answer = typed(*arguments)
    assert answer.code == 2 and "Commands:" in answer.out + answer.err


def test_an_error_is_on_stderr_with_its_hint_and_nothing_is_on_stdout(typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in (("findings", "list"), ("config", "show", "--json"), ("verify",), ("init",), ("token",)):
        answer = typed(*arguments)
        assert (answer.code, answer.out) == (2, ""), arguments
        assert answer.err.startswith("error[not-a-repository]: ") and "\nhint: " in answer.err
    assert list(tmp_path.iterdir()) == []


def test_without_a_hub_a_command_says_how_to_start_one(typed, repository):
    for arguments in (("proposals", "list"), ("findings", "list", "--json"), ("revert", "abcd")):
        answer = typed(*arguments)
        assert (answer.code, answer.out) == (4, "")
        assert "error[hub-down]" in answer.err and "homeostat up" in answer.err
    assert not (repository / ".homeostat").exists(), "asking changes nothing"


def test_a_repository_that_git_does_not_trust_is_named_as_such(typed, tmp_path, monkeypatch):
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'fatal: detected dubious ownership in repository' >&2\nexit 128\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent))
    answer = typed("config", "show")
    assert answer.code == 2 and "error[repository-not-trusted]" in answer.err
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "error[no-git]" in typed("config", "show").err


def test_a_reader_that_goes_away_is_no_error(repository):
    """`homeostat config show | head -1`"""
    command = [str(HOMEOSTAT), "config", "show"]
    process = subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert (process.stderr.read(), process.wait(60)) == (b"", 0)
    process.stderr.close()


def test_output_survives_a_terminal_that_knows_only_ascii(repository):
    (repository / "homeostat.toml").write_text('[host]\npython = "/opt/pÿthon"\n', encoding="utf-8")
    environment = {"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "ascii"}
    for arguments in (["--json"], []):
        done = subprocess.run(
            [str(HOMEOSTAT), "config", "show", *arguments],
            cwd=repository,
            env=environment,
            capture_output=True,
            check=True,
        )
        assert done.stdout.isascii() and done.stderr == b""
        if arguments:
            assert json.loads(done.stdout)["settings"]["host.python"]["value"] == "/opt/pÿthon"


def test_starting_up_imports_nothing_that_only_some_commands_need():
    """A second more for each command would be felt; each of these takes a good part of it."""
    script = (
        "import sys, homeostat.cli.main; "
        "heavy = {'rich', 'httpx', 'pydantic', 'fastapi', 'uvicorn', 'sqlalchemy', 'dbos', 'cryptography', 'click', "
        "'pygments', 'msgspec', 'prometheus_client', 're2'}; print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_version_costs_well_under_a_second_of_processor_time():
    """Measured 0.25 s; how long it takes beside others is the machine's affair."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([str(HOMEOSTAT), "--version"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.0
