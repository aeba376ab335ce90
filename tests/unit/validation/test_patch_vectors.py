"""The public patch cases: each is applied to exactly the expected files, or refused."""

import json
import os
from pathlib import Path

import pytest

from homeostat.model.change import REGULAR, FileState
from homeostat.model.verdict import Denied
from homeostat.validation.patch import parse_patch
from homeostat.validation.resolve import resolve

DATA = Path(os.environ.get("HOMEOSTAT_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data")
FILE = DATA / "patch" / "edge.json"


def _cases():
    if not FILE.is_file():
        return [pytest.param(None, marks=pytest.mark.skip(reason="the public patch vectors are not on this machine"))]
    return [pytest.param(case, id=case["name"]) for case in json.loads(FILE.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("case", _cases())
def test_a_public_case_comes_out_as_expected(case):
    before = {path: text.encode() for path, text in case["before"].items()}
    assert _apply(before, case["symlinks"], case["patch"].encode()) == (
        {path: text.encode() for path, text in case["after"].items()} if case["expect"] == "apply" else None
    )


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
