"""Patches of real git: what `git diff` writes resolves to exactly the edited tree, and can be taken back."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from homeostat.model.change import EXECUTABLE, REGULAR, FileState, TreeChange
from homeostat.model.verdict import Denied
from homeostat.validation.patch import UnverifiedPatch, parse_patch
from homeostat.validation.paths import path_fault
from homeostat.validation.resolve import resolve

NAMES = (
    "x.txt",
    "src/app/main.py",
    "src/app/__init__.py",
    "a/b",
    "b/a",
    "a b.txt",
    "dir with space/ file .py",
    "trailing space ",
    "café 1.txt",
    "日本語.md",
    "👩‍💻.md",
    'say "hi".txt',
    "it's.txt",
    "-dash",
    "--- a",
    "+++ b",
    "@@ -1 +1 @@",
    "dev/null",
    "$HOME;`x`",
    "x => y",
    "{a,b}",
    "#hash",
    "...",
    ".hidden",
    "n" * 200,
)
LINES = (
    b"",
    b" ",
    b"\t",
    b"a",
    b"b",
    b"c",
    b"def f(x):",
    b"    return x",
    b"a\r",
    b"\r",
    b"b\rc",
    b"a\fb",
    "a\u2028b".encode(),
    "é".encode(),
    b"\xff\xfe",
    b"-- old",
    b"++ new",
    b"-- ",
    b"--- a/x.txt",
    b"+++ b/x.txt",
    b"@@ -1,2 +1,2 @@",
    b"\\ No newline at end of file",
    b"diff --git a/x.txt b/x.txt",
    b"x" * 300,
)
CONTENTS = st.builds(
    lambda lines, end: b"\n".join(lines) + (end if lines else b""),
    st.lists(st.sampled_from(LINES), max_size=40),
    st.sampled_from((b"\n", b"\n", b"")),
)
OPTIONS = (
    ("-U0",),
    ("-U1",),
    ("-U3",),
    ("-U10",),
    ("-U0", "-M"),
    ("-U1", "-M"),
    ("-U3", "-M", "--full-index"),
    ("-U10", "-M10%"),
    ("-M", "--patience"),
    ("-M", "--histogram", "--inter-hunk-context=2"),
    ("-W", "--no-renames"),
    ("-B", "--no-renames", "--minimal"),
    ("-M", "--src-prefix=i/", "--dst-prefix=w/"),
    ("-M", "--stat", "-p"),
)
ISOLATED = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


@dataclass(frozen=True)
class Repository:
    """A bare repository that takes two trees at a time and says how they differ."""

    folder: Path

    def git(self, *arguments, data=b""):
        command = ["git", *arguments]
        return subprocess.run(
            command, cwd=self.folder, input=data, capture_output=True, check=True, env=ISOLATED
        ).stdout

    def diff(self, before, after, options, *, quote_path=True):
        self.git("fast-import", "--quiet", "--force", data=_commit(b"before", before) + _commit(b"after", after))
        config = f"core.quotePath={'true' if quote_path else 'false'}"
        return self.git("-c", config, "diff", "--text", "--no-ext-diff", *options, "before", "after", "--")


def _commit(name, tree):
    stream = [b"commit refs/heads/%s\ncommitter t <t@example.invalid> 0 +0000\ndata 0\ndeleteall\n" % name]
    for path, state in tree.items():
        quoted = b"".join(b"\\%03o" % byte for byte in path.encode())
        stream.append(b'M %o inline "%s"\ndata %d\n%s\n' % (state.mode, quoted, len(state.content), state.content))
    return b"".join(stream) + b"\n"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    made = Repository(folder=tmp_path_factory.mktemp("repository"))
    made.git("init", "--quiet", "--bare", ".")
    return made


@st.composite
def edited(draw, content):
    """Draw these contents with a few lines replaced, added or removed, or another end."""
    lines = content.split(b"\n")
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines)))
        lines[at : at + draw(st.integers(0, 3))] = draw(st.lists(st.sampled_from(LINES), max_size=3))
    return b"\n".join(lines)


@st.composite
def trees(draw, names=NAMES):
    """Draw two trees, the second made of the first by edits, deletions, renames and creations."""
    names = draw(st.lists(st.sampled_from(names), min_size=1, max_size=8, unique=True))
    free = names[len(names) // 2 :]
    before, after = {}, {}
    for name in names[: len(names) // 2]:
        content = draw(CONTENTS)
        what = draw(st.sampled_from(("keep", "edit", "edit", "edit", "delete", "rename", "rename and edit")))
        stays = what in ("keep", "edit")
        mode = draw(st.sampled_from((REGULAR, EXECUTABLE))) if stays else REGULAR
        before[name] = FileState(content=content, mode=mode)
        if what == "delete" or (not stays and not free):
            continue
        new = draw(edited(content)) if "edit" in what else content
        after[name if stays else free.pop()] = FileState(content=new, mode=mode)
    for name in free:
        if draw(st.booleans()):
            after[name] = FileState(content=draw(CONTENTS), mode=REGULAR)
    return before, after


def applied(change, tree):
    """Return the tree after the change; every file must be as the change says it was."""
    files = dict(tree)
    for item in change.files:
        assert files.pop(item.old_path, None) == item.before
    for item in change.files:
        assert item.path not in files
        if item.after is not None:
            files[item.path] = item.after
    return files


def resolved(data, tree):
    patch = parse_patch(data)
    if isinstance(patch, Denied):
        return patch
    return resolve(patch, {path: tree.get(path) for path in patch.paths}, tree_paths=tree.keys())


QUIET = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@QUIET
@given(pair=trees(), options=st.sampled_from(OPTIONS), crlf=st.booleans(), quote_path=st.booleans())
def test_a_diff_of_git_resolves_to_exactly_the_edited_tree_and_back(repository, pair, options, crlf, quote_path):
    before, after = pair
    if crlf:
        before, after = ({path: _with_crlf(state) for path, state in tree.items()} for tree in pair)
    data = repository.diff(before, after, options, quote_path=quote_path)
    assume(before != after)
    change = resolved(data, before)
    assert isinstance(change, TreeChange), (change, data)
    assert applied(change, before) == after
    assert applied(change.inverse(), after) == before


@QUIET
@given(pair=trees(), options=st.sampled_from(OPTIONS))
def test_a_diff_of_git_the_other_way_is_the_inverse(repository, pair, options):
    before, after = pair
    assume(before != after)
    forth = resolved(repository.diff(before, after, options), before)
    back = resolved(repository.diff(before, after, ("-R", *options)), after)
    assert isinstance(forth, TreeChange), forth
    assert isinstance(back, TreeChange), back
    assert applied(back, applied(forth, before)) == before


def _with_crlf(state):
    return FileState(content=state.content.replace(b"\n", b"\r\n"), mode=state.mode)


DIGITS = re.compile(rb"[0-9]+")


@st.composite
def mutated(draw, data):
    """Draw this patch with one or two of the faults that carriers and writers of patches make."""
    lines = data.split(b"\n")
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(lines) - 1))
        other = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(("drop", "repeat", "swap", "cut", "number", "sign", "insert", "byte", "path"))):
            case "drop":
                del lines[at]
            case "repeat":
                lines.insert(at, lines[other])
            case "swap":
                lines[at], lines[other] = lines[other], lines[at]
            case "cut":
                lines = lines[: at + 1]
                lines[-1] = lines[-1][: draw(st.integers(0, len(lines[-1])))]
            case "number":
                number = b"%d" % draw(st.integers(0, 12))
                headers = [index for index, line in enumerate(lines) if line.startswith(b"@@ ")] or [at]
                at = headers[other % len(headers)]
                lines[at] = DIGITS.sub(number, lines[at], count=draw(st.integers(1, 3)))
            case "sign":
                lines[at] = draw(st.sampled_from((b" ", b"+", b"-", b"\\", b""))) + lines[at][1:]
            case "insert":
                lines.insert(at, draw(st.sampled_from((*LINES, b" a", b"+a", b"-a", b"rename from x.txt"))))
            case "byte":
                place = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:place] + draw(st.binary(max_size=2)) + lines[at][place + 1 :]
            case "path":
                lines[at] = lines[at].replace(b"a/", draw(st.sampled_from((b"../", b"/", b"a/.git/", b"b/", b"a//"))))
        lines = lines or [b""]
    return b"\n".join(lines)


@QUIET
@given(data=st.data(), pair=trees(NAMES[:6]), options=st.sampled_from(OPTIONS))
def test_a_damaged_patch_is_refused_or_means_what_it_means_to_git(repository, tmp_path_factory, data, pair, options):
    before, after = pair
    patch = data.draw(mutated(repository.diff(before, after, options)))
    tree = dict(before)
    for path, state in before.items():
        if data.draw(st.integers(0, 3)) == 0:
            tree[path] = FileState(content=data.draw(edited(state.content)), mode=state.mode)
    change = resolved(patch, tree)
    if isinstance(change, Denied):
        assert change.code
        assert change.reasons
        return
    assert all(path_fault(path) is None for path in change.touched_paths)
    ours = applied(change, tree)
    assert applied(change.inverse(), ours) == tree
    if not all(hunk.leading or hunk.trailing for item in parse_patch(patch).files for hunk in item.hunks):
        return  # git puts an insertion without context at the end of the file, whatever its line says
    theirs = _git_apply(tmp_path_factory.mktemp("tree"), tree, patch)
    assert theirs is None or theirs == {path: state.content for path, state in ours.items()}


def _git_apply(folder, tree, patch):
    """Return the files after `git apply`, or None when git refuses."""
    for path, state in tree.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(state.content)
        (folder / path).chmod(state.mode & 0o777)
    environment = {**ISOLATED, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    answer = subprocess.run(["git", "apply", "-"], cwd=folder, input=patch, capture_output=True, env=environment)
    if answer.returncode != 0:
        return None
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@settings(max_examples=300, deadline=None)
@given(data=st.one_of(st.binary(max_size=400), st.lists(st.sampled_from((
    b"diff --git a/x b/x", b"diff --git ", b"--- a/x", b"+++ b/x", b"--- /dev/null", b"+++ /dev/null", b"@@ -1 +1 @@",
    b"@@ -0,0 +1 @@", b"@@ -1 +0,0 @@", b"@@", b"-a", b"+a", b" a", b"", b"\\ No newline at end of file", b"-- ",
    b"new file mode 100644", b"deleted file mode 100644", b"index 1234567..89abcde 100644", b"rename from x",
    b"rename to y", b"similarity index 100%", b'--- "a/x', b'+++ "b/\\303"', b"words", b"\xff", b"\0", b"\r",
))).map(b"\n".join)))  # fmt: skip
def test_any_bytes_are_a_patch_or_a_refusal(data):
    patch = parse_patch(data)
    if isinstance(patch, Denied):
        assert patch.reasons
    else:
        assert isinstance(patch, UnverifiedPatch)
        assert patch.files
        assert all(path_fault(path) is None for path in patch.paths)
