from dataclasses import replace
from pathlib import Path

import pytest
from builders import POLICY, create, modify, tree

from homeostat.core.errors import InvalidInput
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.model.settings import PolicySettings
from homeostat.policy.check import check_change
from homeostat.policy.document import RULES_VERSION, policy_in_force
from homeostat.policy.rules import RULES
from homeostat.policy.rules.shape import Rule

CHANGE = tree(modify("a.py", "a = 1\n", "a = 2\n"))


def _gate(decision):
    """Return why the gate itself blocked: a finding about no file, with a way on."""
    (found,) = decision.findings
    assert (decision.verdict, found.rule, found.path, found.line) == ("block", "policy", "", None)
    assert found.remedy
    return found.message


def _rule(check):
    return Rule(id="probe", summary="", check=check)


def test_a_small_ordinary_change_is_allowed():
    assert check_change(POLICY, CHANGE).verdict == "allow"


def test_an_empty_rule_set_blocks():
    assert _gate(check_change(POLICY, CHANGE, rules=())).startswith("there are no policy rules")


def test_a_change_without_files_blocks():
    assert _gate(check_change(POLICY, tree())).startswith("the change touches no file")


def test_a_rule_that_raises_blocks_and_says_which():
    def broken(change, document):
        raise RuntimeError("secret detail")

    decision = check_change(POLICY, CHANGE, rules=(_rule(broken),))
    assert decision.verdict == "block"
    assert decision.findings[0].rule == "probe"
    assert "RuntimeError" in decision.findings[0].message
    assert "secret detail" not in decision.findings[0].message


def test_a_rule_that_raises_half_way_keeps_nothing_of_its_pass():
    def broken(change, document):
        yield PolicyFinding(rule="probe", severity=PolicySeverity.REVIEW, path="", line=None, message="", remedy="")
        raise RuntimeError

    assert check_change(POLICY, CHANGE, rules=(_rule(broken),)).verdict == "block"


def test_every_rule_is_registered_once():
    assert len({rule.id for rule in RULES}) == len(RULES) == 14


def test_a_configured_pattern_is_added_and_changes_the_digest():
    stricter = policy_in_force(PolicySettings(forbidden_paths=("billing/**",)))
    assert stricter.digest != POLICY.digest
    assert check_change(stricter, tree(create("billing/a/b.txt", "x\n"))).verdict == "block"
    assert check_change(stricter, tree(create(".env", "x\n"))).verdict == "block"


@pytest.mark.parametrize("pattern", ["", " ", "/etc/passwd", "../x", "a/../b"])
def test_a_pattern_that_leaves_the_repository_is_refused(pattern):
    with pytest.raises(InvalidInput, match="forbidden_paths") as refused:
        policy_in_force(PolicySettings(forbidden_paths=(pattern,)))
    assert refused.value.code == "bad-setting"


def test_the_rules_of_this_version_allow_twenty_files_and_four_hundred_lines():
    document = policy_in_force(PolicySettings())
    assert (document.rules_version, document.max_files, document.max_changed_lines) == (RULES_VERSION, 20, 400)


@pytest.mark.parametrize("field", ["rules_version", "max_files", "max_changed_lines"])
def test_approvals_are_bound_to_the_version_of_the_rules_and_to_their_limits(field):
    assert replace(POLICY, **{field: getattr(POLICY, field) + 1}).digest != POLICY.digest


CAUGHT = {
    "forbidden-paths": (create(".env", "x\n"), "block", None),
    "secrets": (create("a.py", "key = 'AKIA" + "Q3EGX2T7KD5LMNOP'\n"), "block", 1),
    "syntax": (create("a.py", "def f(:\n"), "block", 1),
    "hidden-characters": (create("a.py", "x = 1\ny = '\u202e'\n"), "block", 2),
    "dangerous-calls": (create("a.py", "import os\n\nos.system('x')\n"), "review", 3),
    "external-urls": (create("a.py", "x = 1\nurl = 'https://collect.io/x'\n"), "review", 2),
    "weakened-tests": (create("test_a.py", "def test_a():\n    assert True\n"), "review", 2),
    "agent-configuration": (create("agents.yaml", "name: a\ntools: [shell]\n"), "block", 2),
    "endpoints": (create("a.py", "x = 1\n@app.get('/x')\ndef x(): return 1\n"), "review", 2),
    "governance": (create("a.py", "x = 1\nREQUIRE_REVIEW = False\n"), "review", 2),
    "look-alikes": (create("a.py", "x = 1\n\u0430b = 1\n"), "review", 2),
    "generated-files": (create("a.so", "x"), "review", None),
    "environment-files": (create("conftest.py", "x = 1\n"), "review", None),
    "size": (create("a.txt", "x\n" * 500), "review", None),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_signs_what_it_finds_with_its_own_id_place_and_way_on(rule):
    """Decisions, records and the ledger name a rule by its id: another one would be believed."""
    item, verdict, line = CAUGHT[rule.id]
    decision = check_change(POLICY, tree(item))
    assert decision.verdict == verdict
    (found,) = [finding for finding in decision.findings if finding.rule == rule.id]
    assert [finding.rule for finding in rule.check(tree(item), POLICY)] == [rule.id]
    assert (found.severity, found.line) == (PolicySeverity(verdict), line)
    assert found.path == (item.path if rule.id != "size" else "")
    assert found.message and found.remedy and rule.summary


def test_no_two_rules_have_one_id():
    assert len({rule.id for rule in RULES}) == len(RULES) == len(CAUGHT)


def test_every_rule_is_documented_with_its_verdict():
    told = (Path(__file__).parents[3] / "docs/POLICY.md").read_text()
    for rule in RULES:
        assert f"| `{rule.id}` | {CAUGHT[rule.id][1]}" in told, rule.id
