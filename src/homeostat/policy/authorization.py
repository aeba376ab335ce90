"""Who may do what: every such question of the product is put to one `Authorizer`, which asks Cedar policies.

Nothing is allowed that no policy permits, and one `forbid` beats every `permit`. An error denies: Cedar
itself skips a policy that fails on a question, and a `forbid` would silently be gone.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import cedarpy

from homeostat.core.canonical_json import encode
from homeostat.core.digests import Digest, digest_bytes
from homeostat.core.ids import ProposalId
from homeostat.core.limits import MAX_POLICIES, MAX_TEXT_CHARS
from homeostat.model.actor import SYSTEM, Actor, Role
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.risk import ConsentLevel
from homeostat.model.settings import Profile
from homeostat.model.verdict import Denied
from homeostat.policy.cedar_text import PolicyText, bad_policy, split

_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_MAX_ID_CHARS = 80
_MAX_SAID_CHARS = 300
_IN_VALIDATION = re.compile(r"^for policy `[^`]*`, ")


class Action(StrEnum):
    """What can be asked for; the words are those of the schema."""

    PROPOSE = "propose"
    PROPOSE_AGAIN = "propose_again"
    """Hand in once more what was taken back before."""

    EDIT = "edit"
    APPROVE = "approve"
    REJECT = "reject"
    DEFER = "defer"
    RESUME = "resume"
    APPLY = "apply"
    FORCE = "force"
    """Skip what an approval or application would wait for."""

    ACCEPT = "accept"
    REVERT = "revert"
    RESTART = "restart"


OF_THE_HOST = frozenset({Action.PROPOSE, Action.PROPOSE_AGAIN, Action.RESTART})
"""Actions that are not about a proposal that is there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """May this actor do this, with this proposal, as it stands?"""

    actor: Actor
    action: Action
    profile: Profile
    proposal: ProposalId | None = None
    submitted_it: bool = False
    edited_it: bool = False
    state: ProposalState | None = None
    category: str = ""
    severity: str = ""
    consent: ConsentLevel | None = None
    """None: not assessed, and then taken for the highest. So is the risk."""

    risk: float | None = None
    paths: tuple[str, ...] = ()
    reasoned: bool = False

    @property
    def own(self) -> bool:
        """Whether the proposal is of the one who asks, in whole or in part."""
        return self.submitted_it or self.edited_it


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Yes or no, and which policies said so."""

    allowed: bool
    policies: tuple[str, ...]
    """Ids of the policies that decided, the weightiest first; empty where none permits."""

    code: str
    """Why not; empty where it is allowed, and where added policies alone forbid it."""

    reason: str

    def refusal(self) -> Denied | None:
        """Return a refusal in the words of the policies that decided; None where it is allowed."""
        if self.allowed:
            return None
        if not self.code:
            return Denied(code="forbidden-by-policy", reasons=(self.reason,), policies=self.policies)
        by = (f"decided by policy {', '.join(self.policies)}",) if self.policies else ()
        return Denied(code=self.code, reasons=(self.reason, *by), policies=self.policies)


def question_about(
    actor: Actor,
    action: Action,
    proposal: Proposal | None,
    *,
    profile: Profile,
    paths: Iterable[str] = (),
    reasoned: bool = False,
) -> Question:
    """Ask about a proposal as it stands in its row; `paths` are those that are to be touched besides its own."""
    if proposal is None:
        return Question(actor=actor, action=action, profile=profile, paths=tuple(paths), reasoned=reasoned)
    risk = None if proposal.proof is None else proposal.proof.risk
    return Question(
        actor=actor,
        action=action,
        profile=profile,
        proposal=proposal.id,
        submitted_it=actor.id == proposal.submitted_by,
        edited_it=actor.id in proposal.editors,
        state=proposal.state,
        category=proposal.category.value,
        severity=proposal.severity.value,
        consent=None if risk is None else risk.consent,
        risk=None if risk is None else risk.score,
        paths=tuple(dict.fromkeys((*proposal.files, *paths))),
        reasoned=reasoned,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is kept of a policy beside Cedar's own form of it."""

    code: str
    says: str


@dataclass(slots=True)
class _Read:
    """Policies while they are read."""

    schema: Any
    known: dict[str, _Known] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    static: dict[str, Any] = field(default_factory=dict)


class Authorizer:
    """Answers questions by policies that were read and validated once.

    `built_in` and `added` are texts by file name. Added policies may permit and forbid more; they cannot take a
    built-in one's place, and their refusals have one code. `InvalidInput` ``bad-policy``, with file and line,
    for a policy that cannot be parsed, does not fit the schema, or has no id of its own.
    """

    def __init__(self, built_in: Mapping[str, str], *, schema: str, added: Mapping[str, str] | None = None) -> None:
        read = _Read(_schema(schema))
        for name, text in sorted(built_in.items()):
            for policy in split(name, text):
                _add(read, policy, built_in=True)
        for name, text in sorted((added or {}).items()):
            for policy in split(name, text):
                _add(read, policy, built_in=False)
        self._policies = cedarpy.PolicySet.from_json_str(json.dumps(_whole(read.static)))
        self._known = read.known
        self._weight = {name: place for place, name in enumerate(read.known)}
        self._nobody_else = cedarpy.Entities.from_json_str("[]")
        self.digest: Digest = digest_bytes(
            encode({"schema": schema, "built_in": dict(built_in), "added": dict(added or {})})
        )
        """Of every policy and the schema; approvals bind it."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all policies, the weightiest first."""
        return tuple(self._known)

    def answer(self, question: Question) -> Answer:
        """Answer a question; whatever goes wrong is a no that names it."""
        try:
            said = cedarpy.is_authorized(request_of(question), self._policies, self._nobody_else)
            errors, decision = said.diagnostics.errors, said.decision
            policies = tuple(sorted(said.diagnostics.reasons, key=self._weight.__getitem__))
        except Exception as error:  # INVARIANT: an error inside a gate denies, and is told in the answer
            return _failed((), f"{type(error).__name__}: {error}")
        if errors or decision is cedarpy.Decision.NoDecision:
            return _failed(policies, "; ".join(errors) or "there is no decision")
        if decision is cedarpy.Decision.Allow:
            return Answer(allowed=True, policies=policies, code="", reason=f"permitted by {', '.join(policies)}")
        if not policies:
            return _unpermitted(question)
        says = dict.fromkeys(self._known[name].says for name in policies)
        return Answer(allowed=False, policies=policies, code=self._known[policies[0]].code, reason="; ".join(says))


def _whole(static: Mapping[str, Any]) -> dict[str, Any]:
    return {"staticPolicies": static, "templates": {}, "templateLinks": []}


def _schema(text: str) -> Any:
    try:
        return cedarpy.Schema.from_str(text)
    except ValueError as error:
        raise bad_policy("schema", str(error)) from error


def _add(read: _Read, policy: PolicyText, *, built_in: bool) -> None:
    if len(read.static) >= MAX_POLICIES:
        raise bad_policy(policy.place, f"at most {MAX_POLICIES} policies are read")
    try:
        as_json = cedarpy.policies_to_json_str(policy.text)
    except ValueError as error:
        raise bad_policy(policy.place, str(error)) from error
    try:
        parsed = json.loads(as_json)
        cedarpy.PolicySet.from_json_str(as_json)
    except (ValueError, RecursionError) as error:
        # Text may be longer than its form in JSON may be deep: 127 terms in a row, in cedarpy 4.12.
        raise bad_policy(policy.place, "it has too many terms in a row: make it several policies") from error
    static = list(parsed["staticPolicies"].values())
    if len(static) != 1 or parsed["templates"]:
        raise bad_policy(policy.place, "a policy names whom and what it is about; there are no slots to fill in")
    annotations = static[0].get("annotations", {})
    name = annotations.get("id") or ""
    if not _ID.fullmatch(name) or len(name) > _MAX_ID_CHARS:
        raise bad_policy(policy.place, 'it needs an id before it, in small letters: @id("name-of-the-policy")')
    if name in read.places:
        raise bad_policy(policy.place, f"policy {name} is at {read.places[name]} already; no other takes its place")
    checked = cedarpy.validate_policies(policy.text, read.schema)
    if not checked.validation_passed:
        why = dict.fromkeys(_IN_VALIDATION.sub("", error.error) for error in checked.errors)
        raise bad_policy(policy.place, f"policy {name} does not fit the schema: {'; '.join(why)}"[:MAX_TEXT_CHARS])
    if built_in:
        known = _Known(code=annotations.get("code", ""), says=annotations.get("says", ""))
    else:
        words = annotations.get("says", "")[:_MAX_SAID_CHARS]
        known = _Known(code="", says=f"policy {name} forbids it" + (f": {words}" if words else ""))
    read.places[name] = policy.place
    read.static[name] = static[0]
    read.known[name] = known


def request_of(question: Question) -> dict[str, Any]:
    """Return a question as Cedar takes it: every attribute of the schema, always."""
    about = (
        {"type": "Host", "id": "host"}
        if question.action in OF_THE_HOST
        else {"type": "Proposal", "id": question.proposal or ""}
    )
    consent, risk_percent, assessed = int(max(ConsentLevel)), 100, False
    if question.consent is not None and question.risk is not None:
        consent, risk_percent, assessed = int(question.consent), math.ceil(question.risk * 100), True
    paths = [path.encode("utf-8", "backslashreplace").decode("utf-8") for path in question.paths]
    return {
        "principal": {"type": _kind(question.actor), "id": question.actor.id},
        "action": {"type": "Action", "id": question.action.value},
        "resource": about,
        "context": {
            "profile": question.profile.value,
            "submitted_it": question.submitted_it,
            "edited_it": question.edited_it,
            "state": "" if question.state is None else question.state.value,
            "blocked": question.state is ProposalState.BLOCKED,
            "category": question.category,
            "severity": question.severity,
            "assessed": assessed,
            "consent": consent,
            "risk_percent": risk_percent,
            "paths": paths,
            "folders": sorted({folder for path in paths for folder in _folders(path)}),
            "reasoned": question.reasoned,
        },
    }


def _kind(actor: Actor) -> str:
    if actor.role is Role.OWNER:
        return "Person"
    return "System" if actor == SYSTEM else "Agent"


def _folders(path: str) -> Iterable[str]:
    parts = path.split("/")[:-1]
    return ("/".join(parts[: end + 1]) for end in range(len(parts)))


def _failed(policies: tuple[str, ...], why: str) -> Answer:
    denied = Denied(code="policy-failed", reasons=(f"the policies could not be asked: {why}"[:MAX_TEXT_CHARS],))
    return Answer(allowed=False, policies=policies, code=denied.code, reason=denied.reasons[0])


def _unpermitted(question: Question) -> Answer:
    """Say no because nothing says yes."""
    if question.actor.role is Role.OWNER:
        why = Denied(code="not-permitted", reasons=(f"no policy lets you {question.action.value} this",))
    elif question.action is Action.EDIT:
        why = Denied(code="not-yours", reasons=("an agent edits only what it handed in itself",))
    else:
        doing = question.action.value.replace("_", " ")
        why = Denied(code="not-a-person", reasons=(f"an agent's token cannot {doing}, and no policy opens it",))
    return Answer(allowed=False, policies=(), code=why.code, reason=why.reasons[0])
