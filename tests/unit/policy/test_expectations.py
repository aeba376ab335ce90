"""Expectations of policies: what is put, what differs, and what cannot be read."""

import re

import pytest

from homeostat.adapters.policies import built_in_expectations, built_in_policies
from homeostat.core.errors import InvalidInput
from homeostat.model.actor import SYSTEM, Role
from homeostat.model.proposal import ProposalState
from homeostat.model.risk import ConsentLevel
from homeostat.model.settings import Profile
from homeostat.policy.authorization import Action, Authorizer
from homeostat.policy.expectations import differences, parse_expectations
from homeostat.testing.policies import BUILT_IN_POLICIES

TEXTS, SCHEMA = built_in_policies()
ONE = '[[expect]]\nwho = "agent"\ndoes = "approve"\nanswer = "deny"\n'


def read(text):
    return parse_expectations("mine.toml", text)


def test_the_products_own_policies_answer_as_expected_and_each_decides_one_alone():
    expectations = read(built_in_expectations())
    assert differences(BUILT_IN_POLICIES, expectations) == []
    alone = {name for item in expectations if item.by is not None and len(item.by) == 1 for name in item.by}
    assert alone == set(BUILT_IN_POLICIES.ids)


@pytest.mark.parametrize("policy", BUILT_IN_POLICIES.ids)
def test_without_any_one_of_them_an_expectation_is_not_met(policy):
    texts = {name: re.sub(rf'@id\("{policy}"\)[^;]*;', "", text) for name, text in TEXTS.items()}
    without = Authorizer(texts, schema=SCHEMA)
    assert set(without.ids) == set(BUILT_IN_POLICIES.ids) - {policy}
    assert differences(without, read(built_in_expectations()))


def test_every_fact_reaches_the_question():
    facts = (
        'to = { profile = "prod", submitted_it = true, edited_it = true, state = "blocked", category = "bugfix", '
        'severity = "low", consent = 1, risk = 0, paths = ["a/b.py"], reasoned = true }\n'
    )
    (read_one,) = read(ONE + facts + 'by = ["x", "y"]\n')
    asked = read_one.question
    assert (asked.action, asked.actor.role, asked.profile, asked.state) == (
        Action.APPROVE,
        Role.AGENT,
        Profile.PROD,
        ProposalState.BLOCKED,
    )
    assert (asked.consent, asked.risk, asked.paths, asked.reasoned) == (ConsentLevel.LOW, 0.0, ("a/b.py",), True)
    assert (asked.submitted_it, asked.edited_it, asked.category, asked.severity) == (True, True, "bugfix", "low")
    assert read_one.by == {"x", "y"} and not read_one.allowed


def test_who_is_a_kind_or_an_id():
    for who, role in (("person", Role.OWNER), ("person-ada", Role.OWNER), ("agent-x", Role.AGENT)):
        (item,) = read(ONE.replace('"agent"', f'"{who}"'))
        assert item.question.actor.role is role and item.question.actor.id.startswith(who)
    assert read(ONE.replace('"agent"', '"system"'))[0].question.actor == SYSTEM


def test_what_differs_is_told_with_the_policy_that_decided():
    wrong = read(ONE.replace("deny", "allow") + ONE + 'by = "people-decide"\n')
    told = differences(BUILT_IN_POLICIES, wrong)
    assert len(told) == 2
    assert told[0].startswith("1: agent-expected approve: expected allow, got deny by agents-never-decide-what-runs")
    assert told[1].endswith("instead of people-decide") and "level-3-wants-a-person" in told[1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "expect = 3",
        "expect = []",
        "[[expect]]",
        "[[expect",
        "x = " + "[" * 5000,
        ONE + "[other]\n",
        ONE + "more = 1\n",
        ONE.replace("approve", "fly"),
        ONE.replace('"approve"', "true"),
        ONE.replace("agent", "cat"),
        ONE.replace("deny", "maybe"),
        ONE + "by = 3\n",
        ONE + "by = [3]\n",
        ONE + "to = 3\n",
        ONE + "to = { mood = 1 }\n",
        ONE + 'to = { profile = "x" }\n',
        ONE + "to = { consent = 4, risk = 0.1 }\n",
        ONE + "to = { consent = true, risk = 0.1 }\n",
        ONE + "to = { consent = 1 }\n",
        ONE + "to = { risk = 0.5 }\n",
        ONE + "to = { consent = 1, risk = 1.5 }\n",
        ONE + "to = { consent = 1, risk = nan }\n",
        ONE + "to = { paths = [1] }\n",
        ONE + 'to = { reasoned = "yes" }\n',
        ONE * 1001,
        "#" * (1 << 20),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text):
    with pytest.raises(InvalidInput) as refused:
        read(text)
    assert refused.value.code == "bad-expectation" and refused.value.message.startswith("mine.toml")
