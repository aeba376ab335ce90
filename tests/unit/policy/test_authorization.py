"""Who may do what: no added policy opens a guard, errors deny, and what cannot be used is refused at its place."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from builders import BOT, OWNER, proposal

import homeostat.policy
from homeostat.adapters.policies import built_in_authorizer, built_in_expectations
from homeostat.core.errors import InvalidInput
from homeostat.core.ids import ProposalId
from homeostat.core.limits import MAX_POLICIES
from homeostat.model.actor import SYSTEM
from homeostat.model.proof import ProofReport, ProofVerdict
from homeostat.model.proposal import ProposalState
from homeostat.model.risk import ConsentLevel, Risk
from homeostat.model.settings import Profile
from homeostat.policy.authorization import OF_THE_HOST, Action, Authorizer, Question, question_about, request_of
from homeostat.policy.expectations import parse_expectations

FOLDER = Path(homeostat.policy.__file__).parent / "cedar"
SCHEMA = (FOLDER / "homeostat.cedarschema").read_text()
BUILT_IN = {path.name: path.read_text() for path in FOLDER.glob("*.cedar")}
POLICIES = built_in_authorizer()
GUARDED = (Action.APPROVE, Action.APPLY, Action.FORCE, Action.REVERT)


def question(actor, action, **facts):
    about = None if action in OF_THE_HOST else ProposalId("11111111-2222-3333-4444-555555555555")
    facts = {"consent": ConsentLevel.MEDIUM, "risk": 0.3, "reasoned": True, "proposal": about, **facts}
    return Question(actor=actor, action=action, profile=facts.pop("profile", Profile.STANDARD), **facts)


def with_added(*texts, **named):
    return Authorizer(BUILT_IN, schema=SCHEMA, added={f"{n}.cedar": text for n, text in enumerate(texts)} | named)


def test_actions_and_attributes_are_those_of_the_schema():
    lines = re.findall(r"^action (.*) appliesTo", SCHEMA, re.MULTILINE)
    named = {name for line in lines for name in re.findall(r'"(\w+)"', line)}
    assert named == {action.value for action in Action}
    asked = re.search(r"type Asked = \{(.*?)\n\};", SCHEMA, re.DOTALL)[1]
    attributes = set(re.findall(r"^  ([a-z_]+):", asked, re.MULTILINE))
    assert set(request_of(question(OWNER, Action.EDIT))["context"]) == attributes


@pytest.mark.parametrize("actor", [BOT, SYSTEM], ids=["agent", "hub"])
@pytest.mark.parametrize("action", [item for item in Action if item not in (Action.PROPOSE, Action.EDIT)])
def test_nobody_but_a_person_does_more_than_propose_and_edit(actor, action):
    answer = POLICIES.answer(question(actor, action))
    assert not answer.allowed and answer.code == "not-a-person"


def test_what_nobody_permits_is_refused_without_a_policy():
    stranger = POLICIES.answer(question(BOT, Action.EDIT))
    assert (stranger.allowed, stranger.policies, stranger.code) == (False, (), "not-yours")
    nobody = Authorizer({}, schema=SCHEMA)
    for action in Action:
        answer = nobody.answer(question(OWNER, action))
        assert (answer.allowed, answer.code) == (False, "not-permitted")


EVERYTHING = '@id("everything")\npermit (principal, action, resource);'


def test_a_permit_for_everything_opens_what_is_not_guarded_and_no_guard():
    widened = with_added(EVERYTHING)
    assert widened.answer(question(BOT, Action.REJECT)).policies == ("everything",)
    assert widened.answer(question(BOT, Action.EDIT)).allowed
    for action in GUARDED:
        assert not widened.answer(question(BOT, action)).allowed
    for expected in parse_expectations("expectations.toml", built_in_expectations()):
        nobody_forbids = expected.allowed or not expected.by
        assert widened.answer(expected.question).allowed is nobody_forbids


def test_an_added_forbid_closes_a_folder_for_people_too_and_says_why():
    added = with_added(
        '@id("billing-is-frozen")\n@code("base-moved")\n@says("until the audit is over")\n'
        'forbid (principal, action == Action::"approve", resource) when { context.folders.contains("billing") };'
    )
    for path, allowed in (("billing/vat/rate.py", False), ("billing", True), ("shop/billing/rate.py", True)):
        answer = added.answer(question(OWNER, Action.APPROVE, paths=("README.md", path)))
        assert answer.allowed is allowed
    refused = added.answer(question(OWNER, Action.APPROVE, paths=("billing/rate.py",))).refusal()
    assert (refused.code, refused.policies) == ("forbidden-by-policy", ("billing-is-frozen",))
    assert refused.reasons == ("policy billing-is-frozen forbids it: until the audit is over",)


def test_a_policy_that_fails_on_a_question_denies_it_even_where_another_permits():
    added = with_added(
        '@id("counts")\nforbid (principal, action, resource)\nwhen { context.risk_percent * 9223372036854775807 > 1 };'
    )
    answer = added.answer(question(OWNER, Action.APPROVE, risk=0.5))
    assert (answer.allowed, answer.code) == (False, "policy-failed") and "overflow" in answer.reason


@pytest.mark.parametrize(
    "wrong",
    [{"profile": "prod"}, {"state": "blocked"}, {"risk": float("nan")}, {"risk": float("inf")}, {"paths": (b"x",)}],
    ids=["profile", "state", "nan", "infinite", "bytes"],
)
def test_a_question_that_cannot_be_put_is_denied(wrong):
    answer = POLICIES.answer(question(OWNER, Action.APPROVE, **wrong))
    assert (answer.allowed, answer.code) == (False, "policy-failed")


def test_a_policy_on_what_the_question_does_not_tell_denies():
    """Cedar itself would skip it: a schema of another version, say, has an attribute that nobody fills in."""
    text = '@id("frozen")\nforbid (principal, action, resource) when { context.frozen };'
    ahead = SCHEMA.replace("  reasoned: Bool,", "  reasoned: Bool,\n  frozen: Bool,")
    answer = Authorizer(BUILT_IN, schema=ahead, added={"mine.cedar": text}).answer(question(OWNER, Action.APPROVE))
    assert (answer.allowed, answer.code) == (False, "policy-failed") and "frozen" in answer.reason


def test_a_risk_that_was_not_assessed_is_the_highest():
    context = request_of(question(OWNER, Action.APPROVE, consent=None, risk=None))["context"]
    assert (context["assessed"], context["consent"], context["risk_percent"]) == (False, 3, 100)
    context = request_of(question(OWNER, Action.APPROVE, consent=ConsentLevel.LOW, risk=0.101))["context"]
    assert (context["assessed"], context["consent"], context["risk_percent"]) == (True, 1, 11)


def test_a_question_about_a_proposal_tells_what_its_row_says():
    risk = Risk(score=0.25, consent=ConsentLevel.MEDIUM, factors=())
    report = ProofReport(verdict=ProofVerdict.PASSED, reasons=(), policy=(), sandbox="", duration_ms=1, risk=risk)
    row = proposal(proof=report, state=ProposalState.AWAITING_APPROVAL, editors=(OWNER.id,))
    asked = question_about(OWNER, Action.APPROVE, row, profile=Profile.PROD, paths=("x.py", "y.py"))
    assert (asked.submitted_it, asked.edited_it, asked.own, asked.state) == (False, True, True, row.state)
    assert (asked.consent, asked.risk, asked.paths) == (ConsentLevel.MEDIUM, 0.25, ("x.py", "y.py"))
    assert question_about(BOT, Action.EDIT, row, profile=Profile.PROD).submitted_it
    before = replace(row, proof=None)
    assert question_about(OWNER, Action.APPROVE, before, profile=Profile.PROD).consent is None


def test_paths_that_are_no_text_are_asked_about_all_the_same():
    assert POLICIES.answer(question(OWNER, Action.APPROVE, paths=("a\udcff.py", "\n\0"))).allowed


BROKEN = {
    "no-end": ('@id("a") permit (principal, action, resource)', ":1: the policy that begins here does not end"),
    "syntax": ('// who\n\n@id("a") permit (principal action, resource);', ":3: unexpected token"),
    "no-id": ("\npermit (principal, action, resource);", ":2: it needs an id"),
    "odd-id": ('@id("A b") permit (principal, action, resource);', ":1: it needs an id"),
    "empty-id": ("@id permit (principal, action, resource);", ":1: it needs an id"),
    "two-ids": ('@id("a") @id("b") permit (principal, action, resource);', ":1: duplicate annotation"),
    "template": ('@id("a") permit (principal == ?principal, action, resource);', ":1: a policy names whom"),
    "attribute": (
        '@id("a") permit (principal, action, resource) when { context.mood == "good" };',
        "attribute `mood`",
    ),
    "action": ('@id("a") permit (principal, action == Action::"fly", resource);', "unrecognized action"),
    "type": ('@id("a") permit (principal, action, resource) when { context.consent };', "expected Bool"),
    "string": ('@id("a") permit (principal, action, resource) when { context.state == "x };', "does not end"),
    "twice": ('@id("a") permit (principal, action, resource);\n' * 2, ":2: policy a is at "),
    "built-in": ('@id("people-edit") forbid (principal, action, resource);', "no other takes its place"),
    "guard": ('@id("force-wants-a-reason") permit (principal, action, resource);', "no other takes its place"),
    "nested": (
        '@id("a") permit (principal, action, resource) when { %s };' % ("(" * 5000 + "true" + ")" * 5000),
        "nests",
    ),
    "ifs": ('@id("a") permit (principal, action, resource) when { %s };' % ("if true then " * 50), "nests"),
    "long": ('@id("a") permit (principal, action, resource) when { %s };' % ("true && " * 2000 + "true"), "at most"),
    "chain": (
        '@id("a") permit (principal, action, resource) when { %s };' % ("true && " * 900 + "true"),
        ":1: it has too many",
    ),
    "row": (
        '@id("a") permit (principal, action, resource) when { %s };' % ("true && " * 150 + "true"),
        ":1: it has too",
    ),
    "huge": ("// talk\n" * 100_000, "characters"),
    "many": (
        "".join(f'@id("a{n}") permit (principal, action, resource);\n' for n in range(MAX_POLICIES)),
        "at most 1000",
    ),
}


@pytest.mark.parametrize(("text", "told"), BROKEN.values(), ids=BROKEN)
def test_a_policy_that_cannot_be_used_is_refused_at_its_place(text, told):
    with pytest.raises(InvalidInput) as refused:
        with_added(**{"mine.cedar": text})
    assert refused.value.code == "bad-policy" and told in refused.value.message
    assert refused.value.message.startswith("mine.cedar")


def test_what_hides_the_end_of_a_policy_is_not_taken_for_it():
    added = with_added(
        '@id("first") // not the end; nor ) this "\n'
        'forbid (principal, action == Action::"edit", resource) when { context.state == "a;)\\"//" };\n'
        '@id("second")\nforbid (principal, action, resource) when { context.severity == "};\n{" };// over'
    )
    assert set(added.ids) - set(POLICIES.ids) == {"first", "second"}


def test_the_digest_is_of_every_policy_and_the_schema():
    whole = with_added(EVERYTHING)
    others = {
        POLICIES.digest,
        with_added(EVERYTHING + " ").digest,
        Authorizer(BUILT_IN | {"0.cedar": EVERYTHING}, schema=SCHEMA).digest,
        Authorizer(BUILT_IN, schema=SCHEMA + "\n", added={"0.cedar": EVERYTHING}).digest,
    }
    assert whole.digest == with_added(EVERYTHING).digest and whole.digest not in others and len(others) == 4


def test_a_refusal_names_its_policies():
    refused = POLICIES.answer(question(BOT, Action.APPLY)).refusal()
    assert refused.policies == ("agents-never-decide-what-runs",)
    assert refused.reasons[-1] == "decided by policy agents-never-decide-what-runs"
    assert json.loads(json.dumps(refused.policies)) == ["agents-never-decide-what-runs"]
