"""Bodies of the HTTP interface. The first part is the source document's contract, to the letter.

`ApplyResponse` on success has exactly the five documented fields; on errors `error` and `details`
are there too, and `restart_required` always is.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from homeostat.core.limits import MAX_BATCH_APPLY, MAX_TEXT_CHARS, MAX_TITLE_CHARS
from homeostat.model.proposal import Category, Severity


class ApplyRequest(BaseModel):
    """Body of ``POST /api/selfimprove/apply``."""

    proposal_id: str = Field(min_length=1, max_length=200)
    force: bool = False
    """Skips waiting (none in this version); never policy. Only an owner may ask."""

    user: str = Field(default="", max_length=200)
    """A label for the audit trail; who acted is the credential."""

    change_digest: str | None = Field(default=None, max_length=100)
    """What the caller saw. When given and different from the row's, the approval is refused."""


class BatchApplyRequest(BaseModel):
    """Body of ``POST /api/selfimprove/batch-apply``."""

    proposal_ids: list[str] = Field(min_length=1, max_length=MAX_BATCH_APPLY)
    force: bool = False
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


class ContractError(BaseModel):
    """A request that was refused before any proposal was looked at."""

    ok: bool = False
    error: str
    details: str


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
    category: str
    severity: str
    author: str
    created_at: str
    updated_at: str
    base_commit: str
    change_digest: str
    files: list[str]
    restart_required: bool
    unreviewed: bool
    finding_id: str | None
    metrics: dict[str, Any]


class ProposalDetail(ProposalBody):
    """One proposal with everything a reviewer sees."""

    diff: str
    evidence: list[str]
    provenance: dict[str, str]
    proof: dict[str, Any] | None
    review: dict[str, Any] | None
    application: dict[str, Any] | None
    observation: dict[str, Any] | None
    plan: dict[str, Any] | None
    log: list[str]


class ProposalList(BaseModel):
    proposals: list[ProposalBody]
    total: int


ERROR_TEXTS: Mapping[str, str] = {
    "no-such-proposal": "Proposal not found",
    "bad-proposal-id": "Proposal not found",
    "disabled": "Self-Incorporation service not available",
    "not-validated": "Proposal not validated",
    "blocked": "Proposal blocked",
    "locked-out": "Proposal locked out",
    "base-moved": "Proposal is out of date",
    "dirty-files": "Files have local changes",
    "digest-changed": "Proposal changed since it was seen",
    "policy-changed": "Policy changed since validation",
}
"""Refusal codes → the short ``error`` text; any other code reads *Proposal application failed*."""


def error_text(code: str) -> str:
    """Return the contract's ``error`` text for a refusal or error code."""
    return ERROR_TEXTS.get(code, "Proposal application failed")
