"""Tests that go, are skipped or assert less are pointed out; those that move, grow or are renamed are not."""

import pytest
from builders import POLICY, create, delete, modify, tree

from homeostat.policy.rules.weakened_tests import RULE

BEFORE = """import pytest


def test_sum():
    assert total([1, 2]) == 3


def test_empty():
    with pytest.raises(IndexError):
        total([])
"""


def found(*items):
    return [finding.message for finding in RULE.check(tree(*items), POLICY)]


def changed(old, new, path="tests/test_cart.py"):
    assert old in BEFORE
    return modify(path, BEFORE, BEFORE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("def test_empty():\n    with pytest.raises(IndexError):\n        total([])\n", "", "the test test_empty goes"),
        ("def test_empty", "def check_empty", "the test test_empty goes"),
        ("    assert total([1, 2]) == 3\n", "    total([1, 2])\n", "1 assertions fewer"),
        ("def test_sum", "@pytest.mark.skip\ndef test_sum", "skips a test"),
        ("def test_sum", "@pytest.mark.skipif(True, reason='x')\ndef test_sum", "skips a test"),
        ("def test_sum", "@pytest.mark.xfail\ndef test_sum", "skips a test"),
        ("def test_sum", "pytestmark = pytest.mark.skip\n\n\ndef test_sum", "skips a test"),
        ("    assert total", "    pytest.skip('later')\n    assert total", "skips a test"),
        ("    assert total([1, 2]) == 3\n", "    assert True\n", "this asserts nothing"),
        ("def test_empty():", "'''\ndef test_empty():\n'''\ndef check():", "the test test_empty goes"),
    ],
)
def test_what_weakens_is_found(old, new, what):
    messages = found(changed(old, new))
    assert any(what in message for message in messages), messages


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("== 3", "== 4"),
        ("def test_sum", "def test_the_sum"),
        ("def test_empty", "def test_more():\n    assert total([1]) == 1\n\n\ndef test_empty"),
        ("    assert total([1, 2]) == 3\n", "    # not skipped: pytest.mark.skip\n    assert total([1, 2]) == 3\n"),
        ("    assert total([1, 2]) == 3\n", "    assert True == total([1, 2])\n"),
    ],
)
def test_what_changes_or_grows_is_left_alone(old, new):
    assert found(changed(old, new)) == []


def test_a_test_that_moves_to_another_file_is_not_gone_and_one_of_no_test_file_is_none():
    gone = changed("def test_empty():\n    with pytest.raises(IndexError):\n        total([])\n", "")
    moved = create("tests/test_other.py", "def test_empty():\n    with pytest.raises(IndexError):\n        total([])\n")
    assert not any("goes" in message for message in found(gone, moved))
    assert found(changed("def test_empty", "def empty", path="shop/cart.py")) == []


def test_a_deleted_test_file_is_found():
    assert any("goes" in message for message in found(delete("tests/test_cart.py", BEFORE)))
