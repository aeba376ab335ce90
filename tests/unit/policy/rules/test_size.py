from builders import POLICY, create, modify, tree

from homeostat.model.proof import PolicySeverity
from homeostat.policy.rules.size import RULE


def test_many_lines_ask_for_a_review():
    found = list(RULE.check(tree(create("a.txt", "x\n" * 500)), POLICY))
    assert [finding.severity for finding in found] == [PolicySeverity.REVIEW]


def test_many_files_ask_for_a_review():
    assert list(RULE.check(tree(*(create(f"{n}.txt", "x\n") for n in range(30))), POLICY)) != []


def test_a_large_file_with_a_small_change_is_small():
    body = "".join(f"line {n}\n" for n in range(5000))
    assert list(RULE.check(tree(modify("a.txt", body, body.replace("line 77\n", "line x\n"))), POLICY)) == []
