"""The public patch cases: each is applied to exactly the expected files, or refused."""

from public_data import vectors

from homeostat.model.change import REGULAR, FileState
from homeostat.model.verdict import Denied
from homeostat.validation.patch import parse_patch
from homeostat.validation.resolve import resolve


def test_every_public_case_comes_out_as_expected():
    cases = vectors("patch/edge.json")
    assert len(cases) > 10
    wrong = []
    for case in cases:
        before = {path: text.encode() for path, text in case["before"].items()}
        after = {path: text.encode() for path, text in case["after"].items()} if case["expect"] == "apply" else None
        if _apply(before, case["symlinks"], case["patch"].encode()) != after:
            wrong.append(case["name"])
    assert wrong == []


def _apply(before, symlinks, patch):
    """Return the files after the patch, or None when it is refused."""
    parsed = parse_patch(patch)
    if isinstance(parsed, Denied):
        return None
    base = {path: FileState(content=content, mode=REGULAR) for path, content in before.items()}
    change = resolve(parsed, base, tree_paths=[*before, *symlinks])
    if isinstance(change, Denied):
        return None
    after = dict(before)
    for item in change.files:
        after.pop(item.old_path, None)
    for item in change.files:
        if item.after is not None:
            after[item.path] = item.after.content
    return after
