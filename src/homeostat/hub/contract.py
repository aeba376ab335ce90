"""Bodies of the HTTP interface. The first part is the source document's contract, to the letter.

`ApplyResponse` on success has exactly the five documented fields; on errors `error` and `details`
are there too, and `restart_required` always is.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from homeostat.core.limits import MAX_BATCH_APPLY, MAX_TEXT_CHARS, MAX_TITLE_CHARS
from homeostat.model.proposal import Category, Severity

APPLY_PATH = "/api/selfimprove/apply"
INVALID_REQUEST = "Invalid request"
_MAX_ID_CHARS = 200


class ApplyRequest(BaseModel):
    """Body of ``POST /api/selfimprove/apply``."""

    proposal_id: str = Field(min_length=1, max_length=_MAX_ID_CHARS)
    force: bool = Field(default=False, strict=True)
    """Skips waiting (none in this version); never policy. Wants a permission of its own, and a `reason`."""

    reason: str = Field(default="", max_length=MAX_TEXT_CHARS)
    """Why, for the record of the approval; `force` is refused without one."""

    user: str = Field(default="", max_length=200)
    """A label for the audit trail; who acted is the credential."""

    change_digest: str | None = Field(default=None, max_length=100)
    """What the caller saw. When given and different from the row's, the approval is refused."""


class BatchApplyRequest(BaseModel):
    """Body of ``POST /api/selfimprove/batch-apply``."""

    proposal_ids: list[Annotated[str, Field(max_length=_MAX_ID_CHARS)]] = Field(
        min_length=1, max_length=MAX_BATCH_APPLY
    )
    """One that is named twice is applied, and answered, once."""

    force: bool = Field(default=False, strict=True)
    reason: str = Field(default="", max_length=MAX_TEXT_CHARS)
    user: str = Field(default="", max_length=200)


class ApplyResponse(BaseModel):
    """Outcome of applying one proposal."""

    ok: bool
    status: str
    message: str
    restart_required: bool
    proposal_id: str


class ApplyError(ApplyResponse):
    """Outcome of an application that was refused or failed."""

    error: str
    details: str


class BatchApplyResponse(BaseModel):
    """Outcome of a batch; each proposal's own is in `results`."""

    ok: bool
    applied: int
    failed: int
    restart_required: bool
    results: list[ApplyError | ApplyResponse]


class Problem(BaseModel):
    """An error of any route but `apply`: the contract's three fields, then problem details (RFC 9457)."""

    ok: bool = False
    error: str
    details: str
    type: str
    """``urn:homeostat:error:`` and the code."""

    title: str
    """The code, stable: see docs/reference/errors.md."""

    status: int
    detail: str
    family: str | None = None
    """What the caller may do next; absent where nothing was asked yet."""

    hint: str | None = None


class SubmitRequest(BaseModel):
    """Body of ``POST /api/selfimprove/proposals``."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(min_length=1, max_length=MAX_TITLE_CHARS)
    rationale: str = Field(min_length=1, max_length=MAX_TEXT_CHARS)
    diff: str = Field(min_length=1)
    base_commit: str = Field(default="", max_length=200)
    category: Category = Category.BUGFIX
    severity: Severity = Severity.MEDIUM
    evidence: list[str] = Field(default_factory=list)
    author: str = Field(default="", max_length=200)
    provenance: dict[str, str] = Field(default_factory=dict)
    finding_id: str = Field(default="", max_length=100)
    again: str = Field(default="", max_length=MAX_TEXT_CHARS)
    """Why a diff that was taken back is to be tried once more; of a person only."""


class EditRequest(BaseModel):
    """Body of an edit: what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    title: str | None = Field(default=None, min_length=1, max_length=MAX_TITLE_CHARS)
    rationale: str | None = Field(default=None, min_length=1, max_length=MAX_TEXT_CHARS)
    diff: str | None = Field(default=None, min_length=1)
    base_commit: str = Field(default="", max_length=200)
    evidence: list[str] | None = None
    change_digest: str | None = Field(default=None, max_length=100)
    """What the caller saw. When given and different from the row's, the edit is refused."""


class DecisionRequest(BaseModel):
    """Body of the decisions on one proposal."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=MAX_TEXT_CHARS)
    user: str = Field(default="", max_length=200)
    change_digest: str | None = Field(default=None, max_length=100)


class ProposalBody(BaseModel):
    """One proposal, as listed. `description` and `metrics` are the source document's words."""

    proposal_id: str
    title: str
    description: str
    status: str
    state: str
    state_reason: str
    revision: int
    category: str
    severity: str
    author: str
    created_at: str
    updated_at: str
    base_commit: str
    change_digest: str
    files: list[str]
    restart_required: bool
    restart_command: str | None
    """What to type where a restart is required."""

    rollback_token: str | None
    """Names what was applied, for taking it back; null before."""

    unreviewed: bool
    finding_id: str | None
    metrics: dict[str, Any]


class ProposalDetail(ProposalBody):
    """One proposal with everything a reviewer sees."""

    diff: str
    evidence: list[str]
    takes_back: str | None
    """The proposal whose change this one takes out, where the hub made its diff for that."""

    provenance: dict[str, str]
    proof: dict[str, Any] | None
    proof_stage: str | None
    """Of one that is being proved: whether the tests run on the `base` now or on the `candidate`."""

    review: dict[str, Any] | None
    application: dict[str, Any] | None
    observation: dict[str, Any] | None
    canary: dict[str, Any] | None
    """While a share of the calls runs it: both arms, what the judge says of them, and what follows from that."""

    plan: dict[str, Any] | None
    log: list[str]


class PlanStep(BaseModel):
    """One share of the calls that a change would be tried on."""

    percent: int
    at_least_s: float
    expected_s: float | None
    """At the present traffic; null when it would hold, and ask a person."""

    canary_units: float | None
    """How many units are expected to run the change meanwhile."""

    waits_for: str
    """What takes longest: ``failures``, a quantile, or ``units``."""

    reason: str


class PlanTraffic(BaseModel):
    """What the service was seen to do within the last hour."""

    seconds: float
    units: int
    units_per_s: float
    failed: int
    p50_ms: float | None
    p99_ms: float | None


class PlanBody(BaseModel):
    """What applying one proposal would do now."""

    proposal_id: str
    title: str
    state: str
    base_commit: str
    change_digest: str
    way: str
    """``share`` of the calls first, ``at_once``, ``restart``, or ``not_loaded``."""

    reason: str
    """Why it goes this way."""

    modules: list[dict[str, Any]]
    """Each changed module with its definitions: `action`, `line`, `reason`, `not_routable` where that is so,
    `imports`: the modules that a new import may load, and `risk`: what may go wrong with it all the same."""

    restart_reasons: list[str]
    read_at_start: list[str]
    """Changed files that a program reads when it starts, if at all."""

    shadowed: list[str]
    """Functions declared pure whose new code runs on copies of the arguments before the first share."""

    not_shadowed: dict[str, str]
    """Functions declared pure that cannot be compared, and why."""

    steps: list[PlanStep]
    traffic: PlanTraffic
    canary_s: float | None
    """How long all steps are expected to take; null when one of them would hold, and ask."""

    window_s: float
    """How long it is watched when all calls run it."""

    refused: str
    """Why applying it would be refused as things stand; empty where it would not."""

    stale: list[str]
    """Processes that may run older code of its files than the disk has, and may need a restart for that."""


class RevertPreviewBody(BaseModel):
    """What taking a change back would do to the present head; nothing is moved."""

    proposal_id: str
    title: str
    head: str
    exact: bool
    """Whether `revert` can put back exactly what was there."""

    unseen: str
    """Why the checkout could not be looked at, and `revert` is refused until it can be; `drift` tells of the branch."""

    drift: list[dict[str, str]]
    """Files that are not as the change left them: `path` and `problem`."""

    later: list[ProposalBody]
    """Changes in force that were applied to these files since, the last one first."""

    diff: str
    """From the head to what it would become; both sides of a conflict stand in it, between marks."""

    conflicts: list[str]
    """Files that a person must merge."""


class ProposalList(BaseModel):
    proposals: list[ProposalBody]
    total: int


class PolicyCheckRequest(BaseModel):
    """Body of ``POST /api/policy/check``."""

    model_config = ConfigDict(extra="forbid")

    diff: str = Field(min_length=1)


class PolicyCheckBody(BaseModel):
    """What the rules make of a diff; the same as ``homeostat policy check --json``."""

    verdict: str
    """``allow``, ``review`` or ``block``."""

    risk: float
    consent: int
    factors: list[dict[str, Any]]
    """Every share of the risk: `name`, `share`, `says`."""

    findings: list[dict[str, Any]]
    """Each with `rule`, `severity`, `confidence`, `path`, `line`, `message` and `remedy`."""


class PolicyAnswer(BaseModel):
    """Whether one action is allowed, and which policies say so."""

    action: str
    allowed: bool
    policies: list[str]
    """Empty where no policy permits it."""

    reason: str


class MayDoBody(BaseModel):
    """What one party may do with a proposal, as far as policies go, if it gives a reason."""

    who: str
    actions: list[PolicyAnswer]


class PolicyExplainBody(BaseModel):
    """What the policy says of one proposal."""

    proposal_id: str
    title: str
    state: str
    change_digest: str
    profile: str
    in_force: bool
    """Whether the policy that it was validated under is the one in force; else it must be handed in again."""

    findings: list[dict[str, Any]]
    risk: dict[str, Any] | None
    """`score`, `consent` and `factors`; null before it was assessed, and then it counts as the highest."""

    you: MayDoBody
    agent: MayDoBody
    """The agent that handed it in; where none did, any."""


class FindingBody(BaseModel):
    """One finding, as listed."""

    finding_id: str
    state: str
    title: str
    severity: str
    exception_type: str
    message_template: str
    location: dict[str, Any]
    commit: str | None
    count: int
    first_at: str
    last_at: str
    found_at: str
    evidence: list[str]


class FindingDetail(FindingBody):
    """One finding with some of its occurrences, cleaned."""

    samples: list[dict[str, Any]]


class FindingList(BaseModel):
    findings: list[FindingBody]


class ProcessList(BaseModel):
    """The attached host processes; the fields are those of `homeostat.model.process.HostProcess`."""

    processes: list[dict[str, Any]]


class RestartRequest(BaseModel):
    """Body of ``POST /api/restart``."""

    model_config = ConfigDict(extra="forbid")

    proposal_id: str = Field(default="", max_length=_MAX_ID_CHARS)
    """A change that must be waiting for a restart; empty: restart whatever waits."""


class RestartProgram(BaseModel):
    """One program that can be restarted, and its last restart."""

    id: str
    command: str
    pid: int | None
    request_id: str | None
    phase: str | None
    """``stopping``, ``starting``, ``retiring``, ``draining``, ``ending``, ``done`` or ``failed``."""

    reason: str
    last_words: str
    """The last lines that a new process wrote to stderr before it failed, cleaned."""

    took_s: float


class RestartWaiting(BaseModel):
    """One change that is on disk and waits for a restart."""

    proposal_id: str
    title: str
    since: str
    waits_s: float
    request_id: str | None
    """The restart that was asked for it."""


class RestartStatus(BaseModel):
    """What can be restarted, what waits for it, and how far a restart is."""

    command: str
    """What to type for a restart."""

    automatic: bool
    request_id: str | None
    """The restart that this answer is about; None where none was asked now."""

    programs: list[RestartProgram]
    waiting: list[RestartWaiting]


ERROR_TEXTS: Mapping[str, str] = {
    "no-such-proposal": "Proposal not found",
    "bad-proposal-id": "Proposal not found",
    "disabled": "Self-Incorporation service not available",
    "not-validated": "Proposal not validated",
    "blocked": "Proposal blocked",
    "locked-out": "Proposal locked out",
    "base-moved": "Proposal is out of date",
    "canary-under-way": "Another proposal is being tried",
    "dirty-files": "Files have local changes",
    "digest-changed": "Proposal changed since it was seen",
    "policy-changed": "Policy changed since validation",
    "invalid-request": INVALID_REQUEST,
    "batch-too-large": INVALID_REQUEST,
}
"""Refusal codes → the contract's short ``error`` text."""


def error_text(code: str) -> str:
    """Return the ``error`` text of an application that was refused or failed."""
    return ERROR_TEXTS.get(code, "Proposal application failed")


def problem_text(status: int, code: str) -> str:
    """Return the ``error`` text of any other answer: words for a 400, else the code where there are none."""
    return ERROR_TEXTS.get(code, "Request refused" if status == 400 else code)


def apply_error(proposal_id: str, error: str, details: str, *, restart_required: bool = False) -> ApplyError:
    """Return an error of `apply`, with every field of the contract."""
    return ApplyError(
        ok=False,
        status="error",
        message=f"{error}: {details}",
        restart_required=restart_required,
        proposal_id=proposal_id,
        error=error,
        details=details,
    )
