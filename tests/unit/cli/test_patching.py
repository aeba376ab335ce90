"""`homeostat patch`: what it says of a patch and a folder, and its exit codes; no hub is needed."""

import json

import pytest

from homeostat.adapters.git.tree_files import temporary_name
from homeostat.cli.main import run
from homeostat.core.digests import digest_bytes

FITS = "--- a/x.txt\n+++ b/x.txt\n@@ -1,2 +1,2 @@\n one\n-two\n+TWO\n"
RENAMES = "diff --git a/x.txt b/y.txt\nsimilarity index 100%\nrename from x.txt\nrename to y.txt\n"


@pytest.fixture
def folder(tmp_path):
    (made := tmp_path / "folder").mkdir()
    (made / "x.txt").write_text("one\ntwo\n")
    return made


@pytest.fixture
def patch(tmp_path):
    def write(text):
        (tmp_path / "a.patch").write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(tmp_path / "a.patch")

    return write


def files(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_check_says_that_it_fits_and_changes_nothing_and_apply_does_it(folder, patch, capsys):
    assert run(["patch", "check", str(folder), patch(FITS)]) == 0
    told = capsys.readouterr()
    assert "x.txt" in told.out and "nothing was changed" in told.err
    assert files(folder) == {"x.txt": "one\ntwo\n"}
    assert run(["patch", "apply", str(folder), patch(FITS)]) == 0
    assert "1 file changed" in capsys.readouterr().err
    assert files(folder) == {"x.txt": "one\nTWO\n"}


def test_the_json_document_says_what_becomes_of_each_file(folder, patch, capsys):
    assert run(["patch", "apply", str(folder), patch(RENAMES), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "outcome": "applied",
        "files": [{"kind": "rename", "path": "y.txt", "old_path": "x.txt", "bytes_before": 8, "bytes_after": 8}],
    }
    assert files(folder) == {"y.txt": "one\ntwo\n"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (FITS.replace("one", "uno"), "stale-context"),
        (FITS.replace("x.txt", "../x.txt"), "unsafe-path"),
        (b"\xff\x00", "empty-patch"),
        ("x" * ((1 << 20) + 1), "diff-too-large"),
        (FITS.replace("\n+++ b/x.txt", ""), None),
    ],
)
def test_a_refused_patch_says_why_and_changes_nothing(folder, patch, capsys, text, code):
    for command in ("check", "apply"):
        assert run(["patch", command, str(folder), patch(text)]) == 2
        told = capsys.readouterr()
        assert told.out == "" and "nothing was changed" in told.err and (code is None or f"error[{code}]" in told.err)
        assert run(["patch", command, str(folder), patch(text), "--json"]) == 2
        body = json.loads(capsys.readouterr().out)
        assert body["outcome"] == "refused" and body["reasons"] and (code is None or body["code"] == code)
    assert files(folder) == {"x.txt": "one\ntwo\n"}


def test_a_patch_or_a_folder_that_is_not_there_is_said_to_be_missing(folder, patch, capsys):
    for arguments, code in (
        ([str(folder), str(folder / "none.patch")], "no-patch-file"),
        ([str(folder / "nowhere"), patch(FITS)], "no-such-folder"),
    ):
        assert run(["patch", "apply", *arguments]) == 1
        assert f"error[{code}]" in capsys.readouterr().err
    assert run(["patch", "apply", str(folder), str(folder)]) == 4
    assert "error[patch-file-unreadable]" in capsys.readouterr().err


def test_what_an_interrupted_patch_had_begun_comes_first(folder, patch, capsys):
    def digest(text):
        return digest_bytes(text.encode())

    # As a killed process leaves it: one file in its place, the next one not.
    (folder / "y.txt").write_text("old\n")
    (folder / temporary_name("y.txt").decode()).write_text("new\n")
    moves = [["x.txt", digest("before\n"), digest("one\ntwo\n")], ["y.txt", digest("old\n"), digest("new\n")]]
    (folder / ".homeostat-patch.json").write_text(json.dumps(moves))
    assert run(["patch", "check", str(folder), patch(FITS)]) == 3
    assert files(folder)["y.txt"] == "old\n"
    capsys.readouterr()
    assert run(["patch", "apply", str(folder), patch(FITS)]) == 0
    assert "interrupted" in capsys.readouterr().err
    assert files(folder) == {"x.txt": "one\nTWO\n", "y.txt": "new\n"}
