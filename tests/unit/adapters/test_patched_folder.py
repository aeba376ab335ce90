"""A patch changes every file of a folder or none, whatever stands there and whenever it fails."""

import os
import shutil
import signal
import stat
from pathlib import Path

import pytest

from homeostat.adapters.patched_folder import open_patched
from homeostat.core.errors import Conflict, NotFound, OutcomeUnknown
from homeostat.core.limits import MAX_PATCHED_BYTES
from homeostat.model.verdict import Denied
from homeostat.validation.patch import parse_patch

EVERY_KIND = b"""--- a/changed.py
+++ b/changed.py
@@ -1,2 +1,2 @@
 one
-two
+TWO
diff --git a/new/deep/made.py b/new/deep/made.py
new file mode 100644
--- /dev/null
+++ b/new/deep/made.py
@@ -0,0 +1 @@
+made
diff --git a/gone/away.py b/gone/away.py
deleted file mode 100644
--- a/gone/away.py
+++ /dev/null
@@ -1 +0,0 @@
-away
diff --git a/old.py b/new.py
similarity index 50%
rename from old.py
rename to new.py
--- a/old.py
+++ b/new.py
@@ -1,2 +1,2 @@
 kept
-old
+new
"""
CREATES = b"diff --git a/{0} b/{0}\nnew file mode 100644\n--- /dev/null\n+++ b/{0}\n@@ -0,0 +1 @@\n+x\n"
CHANGES = b"--- a/{0}\n+++ b/{0}\n@@ -1 +1 @@\n-x\n+y\n"


def patch(form, path):
    return form.replace(b"{0}", path.encode())


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "folder"
    for path, text in {
        "changed.py": "one\ntwo\n",
        "gone/away.py": "away\n",
        "old.py": "kept\nold\n",
        "other/there.py": "x\n",
    }.items():
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_text(text)
    (made / "changed.py").chmod(0o640)
    return made


def whole(folder):
    """Return everything that stands in a folder: kind, permissions, time and contents."""
    found = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        is_file = stat.S_ISREG(state.st_mode)
        content = path.read_bytes() if is_file else os.readlink(path) if path.is_symlink() else None  # noqa: PTH115
        found[str(path.relative_to(folder))] = (state.st_mode, is_file and state.st_mtime_ns, content)
    return found


def run(folder, data, on_step=lambda _: None):
    with open_patched(folder, on_step=on_step) as patched:
        change = patched.resolve(parse_patch(data))
        if not isinstance(change, Denied):
            patched.put(change)
    return change


def test_every_kind_of_change_is_made_and_what_is_replaced_keeps_its_permissions(folder):
    assert not isinstance(run(folder, EVERY_KIND), Denied)
    texts = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert texts == {
        "changed.py": "one\nTWO\n",
        "new/deep/made.py": "made\n",
        "new.py": "kept\nnew\n",
        "other/there.py": "x\n",
    }
    assert not (folder / "gone").exists(), "a folder that is empty now"
    assert stat.S_IMODE((folder / "changed.py").stat().st_mode) == 0o640


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("number", range(8))
def test_at_whatever_step_it_fails_everything_is_as_before(folder, number, error):
    before, seen = whole(folder), []

    def fail(step):
        seen.append(step)
        if len(seen) == number + 1:
            raise error

    with pytest.raises(BaseException) as failed:
        run(folder, EVERY_KIND, fail)
    assert not isinstance(failed.value, OutcomeUnknown)
    assert whole(folder) == before, seen
    again = []
    run(folder, EVERY_KIND, again.append)
    assert again[: len(seen)] == seen and len(again) == 8, "there is no step beyond those that fail here"


def test_a_file_that_somebody_touches_meanwhile_is_theirs_and_the_rest_is_as_before(folder):
    before = whole(folder)

    def meddle(step):
        if step == "moved changed.py":
            (folder / "old.py").write_text("theirs\n")

    with pytest.raises(Conflict) as failed:
        run(folder, EVERY_KIND, meddle)
    assert failed.value.code == "dirty-files"
    after = whole(folder)
    assert after.pop("old.py")[2] == b"theirs\n"
    before.pop("old.py")
    assert after == before


def test_a_change_that_cannot_be_taken_back_is_said_to_be_half_made(folder):
    def ruin(step):
        if step == "moved changed.py":
            os.rename(folder, folder.with_name("elsewhere"))  # noqa: PTH104
            (folder.with_name("elsewhere") / "changed.py").unlink()
            (folder.with_name("elsewhere") / "changed.py").mkdir()
            raise OSError(5, "Input/output error")

    with pytest.raises(OutcomeUnknown) as failed:
        run(folder, EVERY_KIND, ruin)
    assert failed.value.code == "patch-half-applied"


@pytest.mark.parametrize(
    ("make", "data", "code"),
    [
        (lambda f: (f / "link").symlink_to(f.parent), patch(CREATES, "link/out.py"), "path-conflict"),
        (lambda f: (f / "link").symlink_to("changed.py"), patch(CREATES, "link"), "file-exists"),
        (lambda f: (f / "link").symlink_to("other/there.py"), patch(CHANGES, "link"), "file-missing"),
        (lambda f: (f / "way").symlink_to("other"), patch(CHANGES, "way/there.py"), "file-missing"),
        (lambda f: os.mkfifo(f / "pipe"), patch(CHANGES, "pipe"), "file-missing"),
        (lambda f: None, patch(CREATES, "other"), "path-conflict"),
        (lambda f: None, patch(CREATES, "changed.py/x"), "path-conflict"),
        (lambda f: None, patch(CREATES, "CHANGED.py"), "case-collision"),
        (lambda f: None, patch(CREATES, "Other/new.py"), "case-collision"),
        (lambda f: (f / "caf\u00e9").mkdir(), patch(CREATES, "cafe\u0301/x"), "case-collision"),
        (lambda f: None, patch(CREATES, "../out.py"), None),
        (lambda f: None, patch(CREATES, ".git/hooks/pre-commit"), None),
        (lambda f: None, EVERY_KIND.replace(b"-old", b"-odd"), "stale-context"),
        (
            lambda f: os.truncate(f / "other" / "there.py", MAX_PATCHED_BYTES + 1),
            patch(CHANGES, "other/there.py"),
            "base-too-large",
        ),
    ],
)
def test_what_does_not_fit_or_leads_out_is_refused_with_nothing_touched(folder, make, data, code):
    make(folder)
    before, outside = whole(folder), sorted(folder.parent.iterdir())
    parsed = parse_patch(data)
    if code is None:
        assert isinstance(parsed, Denied)
        return
    denied = run(folder, data)
    assert isinstance(denied, Denied) and denied.code == code
    assert whole(folder) == before and sorted(folder.parent.iterdir()) == outside


def test_what_a_killed_run_has_staged_goes_with_the_next(folder):
    with open_patched(folder) as patched:
        change = patched.resolve(parse_patch(EVERY_KIND))
        patched._files.stage("changed.py", b"half", executable=False, like=None)
    assert not isinstance(change, Denied)
    assert len(list(folder.glob(".homeostat-*"))) == 1
    assert not isinstance(run(folder, EVERY_KIND), Denied)
    assert list(folder.rglob(".homeostat-*")) == []


def test_a_folder_that_is_none_is_said_to_be_none(tmp_path):
    (tmp_path / "file").touch()
    for missing in (tmp_path / "file", tmp_path / "nowhere"):
        with pytest.raises(NotFound), open_patched(Path(missing)):
            pass


def killed_after(folder, step):
    """Apply every kind of change in a process of its own, which is killed after so many steps; tell whether it was."""

    def kill(_):
        nonlocal step
        step -= 1
        if step < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        run(folder, EVERY_KIND, on_step=kill)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("step", range(8))
def test_what_a_killed_process_began_is_finished_or_taken_back_whole(folder, tmp_path, step):
    before = whole(folder)
    done = tmp_path / "done"
    shutil.copytree(folder, done)
    run(done, EVERY_KIND)
    assert killed_after(folder, step)
    with open_patched(folder) as patched:
        assert patched.is_interrupted
        patched.finish_interrupted()
        assert not patched.is_interrupted
    contents = {path: content for path, (_, _, content) in whole(folder).items()}
    if step < 3:  # nothing but staged files
        assert {path: found for path, found in whole(folder).items() if found[1]} == {
            path: found for path, found in before.items() if found[1]
        }
        assert contents.keys() == before.keys()
    else:
        assert contents == {path: content for path, (_, _, content) in whole(done).items()}


def test_nothing_is_finished_over_a_file_that_was_touched_since(folder):
    assert killed_after(folder, 4)
    (folder / "old.py").write_text("mine\n")
    left = whole(folder)
    with open_patched(folder) as patched, pytest.raises(OutcomeUnknown):
        patched.finish_interrupted()
    assert whole(folder) == left


def test_two_processes_do_not_patch_a_folder_at_once(folder):
    with open_patched(folder) as one, open_patched(folder) as other:
        one.finish_interrupted()
        with pytest.raises(Conflict):
            other.finish_interrupted()


@pytest.mark.parametrize(
    "journal", [b"", b"{}", b"[1]", b'[["../x", null, null]]', b'[["/etc/x", null, null]]', b"[" * 9999]
)
def test_a_journal_that_is_none_leads_nowhere(folder, journal):
    (folder / ".homeostat-patch.json").write_bytes(journal)
    left = whole(folder)
    with open_patched(folder) as patched, pytest.raises(OutcomeUnknown):
        patched.finish_interrupted()
    assert whole(folder) == left


def test_no_patch_names_the_journal(folder):
    assert run(folder, patch(CREATES, ".homeostat-patch.json")).code == "path-conflict"
