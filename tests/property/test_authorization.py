"""Whatever is added, no guard opens: agents decide nothing that runs, and nobody their own in `prod`."""

import json

from builders import BOT, OWNER
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.adapters.policies import built_in_policies
from homeostat.core.ids import ProposalId
from homeostat.model.actor import SYSTEM
from homeostat.model.proposal import ProposalState
from homeostat.model.risk import ConsentLevel
from homeostat.model.settings import Profile
from homeostat.policy.authorization import Action, Authorizer, Question

TEXTS, SCHEMA = built_in_policies()
ALONE = Authorizer(TEXTS, schema=SCHEMA)
GUARDED = (Action.APPROVE, Action.APPLY, Action.FORCE, Action.REVERT)
OF_PROPOSALS = [action for action in Action if action not in (Action.PROPOSE, Action.PROPOSE_AGAIN, Action.RESTART)]

conditions = st.sampled_from(
    [
        "true",
        "context.blocked",
        "!context.blocked",
        "context.consent < 3",
        "context.risk_percent >= 0",
        'context.profile == "prod"',
        'context.folders.contains("a")',
        "context.submitted_it || context.edited_it || context.reasoned",
        'principal == Agent::"agent-0123456789ab"',
    ]
)
whom = st.sampled_from(["principal", "principal is Agent", "principal is System", "principal is Person"])
what = st.sampled_from(OF_PROPOSALS).map(lambda action: f"action == Action::{json.dumps(action.value)}") | st.just(
    "action"
)
permits = st.lists(st.tuples(whom, what, conditions), max_size=4).map(
    lambda parts: "\n".join(
        f'@id("added-{n}") permit ({who}, {do}, resource) when {{ {when} }};' for n, (who, do, when) in enumerate(parts)
    )
)
questions = st.builds(
    Question,
    actor=st.sampled_from([BOT, SYSTEM, OWNER]),
    action=st.sampled_from(OF_PROPOSALS),
    profile=st.sampled_from(Profile),
    proposal=st.just(ProposalId("11111111-2222-3333-4444-555555555555")),
    submitted_it=st.booleans(),
    edited_it=st.booleans(),
    state=st.sampled_from(ProposalState),
    category=st.text(max_size=5),
    severity=st.text(max_size=5),
    consent=st.none() | st.sampled_from(ConsentLevel),
    risk=st.none() | st.floats(0, 1),
    paths=st.lists(st.text(max_size=8), max_size=3).map(tuple),
    reasoned=st.booleans(),
)


@settings(max_examples=25, deadline=None)
@given(added=permits, asked=st.lists(questions, min_size=10, max_size=30))
def test_no_permit_opens_a_guard(added, asked):
    widened = Authorizer(TEXTS, schema=SCHEMA, added={"added.cedar": added})
    for question in asked:
        answer, before = widened.answer(question), ALONE.answer(question)
        assert answer.code != "policy-failed"
        assert answer.allowed or not before.allowed, "a permit takes nothing away"
        if not before.allowed and before.policies:
            assert (answer.allowed, answer.policies) == (False, before.policies)
        approves = question.action is Action.APPROVE
        if question.actor is BOT:
            assert not (answer.allowed and question.action in GUARDED)
        if approves and (
            question.state is ProposalState.BLOCKED or (question.own and question.profile is Profile.PROD)
        ):
            assert not answer.allowed
        if question.action is Action.FORCE and not question.reasoned:
            assert not answer.allowed
        if question.actor is not OWNER and question.action in GUARDED[:3] and question.consent in (None, 3):
            assert not answer.allowed
