import pytest
from builders import POLICY, create, delete, modify, tree

from homeostat.model.proof import PolicySeverity
from homeostat.policy.rules.size import RULE


def _found(*files):
    return [finding.message for finding in RULE.check(tree(*files), POLICY)]


def _lines(count, text="x"):
    return "\n".join([text] * count)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: create("a.txt", _lines(lines)),
        lambda lines: delete("a.txt", _lines(lines)),
        lambda lines: modify("a.txt", _lines(lines // 2), _lines(lines - lines // 2, "y")),
    ],
    ids=["added", "removed", "replaced"],
)
def test_four_hundred_lines_are_small_and_one_more_is_not(change):
    assert _found(change(400)) == []
    (message,) = _found(change(401))
    assert "400 are the limit" in message


def test_twenty_files_are_a_small_change_and_one_more_is_not():
    files = [create(f"{n}.txt", "x") for n in range(21)]
    assert _found(*files[:20]) == []
    (message,) = _found(*files)
    assert "21 files" in message
    assert "20 are the limit" in message


def test_many_lines_ask_for_a_review():
    found = list(RULE.check(tree(create("a.txt", "x\n" * 500)), POLICY))
    assert [finding.severity for finding in found] == [PolicySeverity.REVIEW]


def test_many_files_ask_for_a_review():
    assert list(RULE.check(tree(*(create(f"{n}.txt", "x\n") for n in range(30))), POLICY)) != []


def test_a_large_file_with_a_small_change_is_small():
    body = "".join(f"line {n}\n" for n in range(5000))
    assert list(RULE.check(tree(modify("a.txt", body, body.replace("line 77\n", "line x\n"))), POLICY)) == []
