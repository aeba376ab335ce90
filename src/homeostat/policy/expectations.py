"""What policies are expected to answer: questions in TOML, each with its answer and who decides it.

    [[expect]]
    who = "agent"                          # person, agent, system; or an id, as "person-0123456789ab"
    does = "approve"
    to = { consent = 2, risk = 0.3, paths = ["shop.py"], profile = "prod", state = "awaiting_approval" }
    answer = "deny"
    by = ["agents-never-decide-what-runs"] # left out: whoever decides it

What `to` leaves out is: not one's own, no state, no risk assessed, no paths, no reason, profile ``standard``.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from homeostat.core.errors import InvalidInput
from homeostat.core.ids import ActorId, ProposalId
from homeostat.core.limits import MAX_POLICIES, MAX_POLICY_FILE_CHARS
from homeostat.model.actor import SYSTEM, Actor, Role
from homeostat.model.proposal import ProposalState
from homeostat.model.risk import ConsentLevel
from homeostat.model.settings import Profile
from homeostat.policy.authorization import OF_THE_HOST, Action, Authorizer, Question

T = TypeVar("T")

_ANSWERS = {"allow": True, "deny": False}
_WHO = {
    "person": Actor(id=ActorId("person-expected"), role=Role.OWNER, name=None),
    "agent": Actor(id=ActorId("agent-expected"), role=Role.AGENT, name=None),
    "system": SYSTEM,
}
_SOME = ProposalId("00000000-0000-4000-8000-000000000000")
_KEYS = frozenset({"who", "does", "to", "answer", "by"})
_NEEDED = frozenset({"who", "does", "answer"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One question with the answer that it is to get."""

    number: int
    question: Question
    allowed: bool
    by: frozenset[str] | None
    """Ids of the policies that are to decide, all of them; None: it does not matter which."""


def parse_expectations(name: str, text: str) -> tuple[Expectation, ...]:
    """Read a file of expectations; `InvalidInput` ``bad-expectation`` says which one cannot be read, and why."""
    if len(text) > MAX_POLICY_FILE_CHARS:
        raise _bad(name, f"it has more than {MAX_POLICY_FILE_CHARS} characters")
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _bad(name, str(error)) from error
    listed = document.pop("expect", None)
    if document or not isinstance(listed, list) or not listed:
        raise _bad(name, "it holds a list [[expect]], and nothing else")
    if len(listed) > MAX_POLICIES:
        raise _bad(name, f"at most {MAX_POLICIES} are read")
    return tuple(_expectation(f"{name}, expectation {number}", number, item) for number, item in enumerate(listed, 1))


def differences(authorizer: Authorizer, expectations: Iterable[Expectation]) -> list[str]:
    """Put every question, and say which answers are not those that were expected."""
    told = []
    for expected in expectations:
        answer = authorizer.answer(expected.question)
        got = ("deny", "allow")[answer.allowed]
        asked = f"{expected.number}: {expected.question.actor.id} {expected.question.action.value}"
        if answer.allowed != expected.allowed:
            by = f"by {', '.join(answer.policies)}" if answer.policies else "by no policy"
            told.append(f"{asked}: expected {('deny', 'allow')[expected.allowed]}, got {got} {by}: {answer.reason}")
        elif expected.by is not None and expected.by != set(answer.policies):
            by = ", ".join(answer.policies) or "no policy"
            told.append(f"{asked}: {got} as expected, by {by} instead of {', '.join(sorted(expected.by)) or 'none'}")
    return told


def _expectation(place: str, number: int, item: object) -> Expectation:
    if not isinstance(item, dict) or not _NEEDED <= item.keys() <= _KEYS:
        raise _bad(place, "it has `who`, `does` and `answer`, and may have `to` and `by`")
    by = item.get("by")
    if isinstance(by, str):
        by = [by]
    if by is not None and not (isinstance(by, list) and all(isinstance(name, str) for name in by)):
        raise _bad(place, "`by` is the id of a policy, or a list of them")
    return Expectation(
        number=number,
        question=_question(place, item),
        allowed=_one_of(place, "answer", item["answer"], _ANSWERS),
        by=None if by is None else frozenset(by),
    )


def _question(place: str, item: Mapping[str, Any]) -> Question:
    action = _one_of(place, "does", item["does"], {known.value: known for known in Action})
    facts = item.get("to", {})
    if not isinstance(facts, dict):
        raise _bad(place, "`to` is a table")
    read: dict[str, Any] = {}
    for key, value in facts.items():
        if key == "profile":
            read[key] = _one_of(place, key, value, {known.value: known for known in Profile})
        elif key == "state":
            read[key] = _one_of(place, key, value, {known.value: known for known in ProposalState})
        elif key == "consent":
            read[key] = _one_of(place, key, value, {int(known): known for known in ConsentLevel})
        elif key == "risk" and _is_number(value) and 0 <= value <= 1:
            read[key] = float(value)
        elif (key in ("submitted_it", "edited_it", "reasoned") and isinstance(value, bool)) or (
            key in ("category", "severity") and isinstance(value, str)
        ):
            read[key] = value
        elif key == "paths" and isinstance(value, list) and all(isinstance(path, str) for path in value):
            read[key] = tuple(value)
        else:
            raise _bad(place, f"`to.{key}` is not known, or not of its kind")
    if ("consent" in read) != ("risk" in read):
        raise _bad(place, "`to.consent` and `to.risk` are assessed together")
    proposal = None if action in OF_THE_HOST else _SOME
    return Question(
        actor=_actor(place, item["who"]),
        action=action,
        profile=read.pop("profile", Profile.STANDARD),
        proposal=proposal,
        **read,
    )


def _actor(place: str, who: object) -> Actor:
    if isinstance(who, str) and who.startswith(("person-", "agent-")):
        role = Role.OWNER if who.startswith("person-") else Role.AGENT
        return Actor(id=ActorId(who), role=role, name=None)
    return _one_of(place, "who", who, _WHO)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _one_of(place: str, key: str, value: object, known: Mapping[Any, T]) -> T:
    if isinstance(value, bool) or not isinstance(value, str | int) or value not in known:
        raise _bad(place, f"`{key}` is one of {', '.join(str(name) for name in known)}")
    return known[value]


def _bad(place: str, why: str) -> InvalidInput:
    return InvalidInput("bad-expectation", f"{place}: {why}", hint="docs/POLICY.md shows one")
