"""What may happen to a proposal. `homeostat.proposals.lifecycle` says in which state, and what it makes of the row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from homeostat.core.canonical_json import JsonValue
from homeostat.core.ids import ActorId, CommitId, ProposalId
from homeostat.model.proof import ProofReport
from homeostat.model.proposal import Application, ChangeRef, Proposal, ProposalState, Review


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationStarted:
    """A worker took the proposal up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """Policy and tests have spoken."""

    report: ProofReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    review: Review
    apply_requested: bool
    forced: bool = False
    """Waiting was to be skipped; policy never is. On record, because nobody may do so unseen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyAsked:
    """Someone who may approve asked to apply what is approved already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    review: Review


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    review: Review


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A deferred proposal is validated again: its world may have moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyStarted:
    """The journal entry of applying: backup and commit object exist, nothing was moved yet."""

    application: Application


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryStarted:
    """A share of the calls of every process runs the change; branch and files are as before."""

    percent: int
    """0 while the change runs on copies of the arguments alone, and no caller gets what it gives."""

    detail: str
    shadowed: tuple[str, ...] = ()
    """The functions that do, as ``path.py:qualname``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryWidened:
    percent: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryPassed:
    """It is to run everywhere: by the evidence, or by a person's word where the evidence leaves it open."""

    reason: str
    doubt: str = ""
    """Why the evidence did not decide; empty where it did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryEnded:
    """The journal entry of taking a canary back: every call is to run the old code again."""

    reason: str
    automatic: bool
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    """What a detector saw that asked for it; empty where none did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WentLive:
    detail: str
    on_disk_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartNeeded:
    detail: str
    on_disk_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyFailed:
    """It was refused or went wrong, and whatever had been changed was put back."""

    reason: str
    files_back_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartAsked:
    """The programs are to be restarted, so that they run the change."""

    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartSeen:
    """Every attached process was started after the change was on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedWell:
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A person calls well what the evidence leaves open, and says why."""

    reason: str
    doubt: str
    """Why it was held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertStarted:
    """The journal entry of a revert: its commit object exists, nothing was moved yet."""

    parent: CommitId
    commit: CommitId
    reason: str
    automatic: bool
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    """What a detector saw that asked for it; empty where none did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertReplanned:
    """The branch went on before the files were moved, and left them alone: the revert is put on its new head."""

    parent: CommitId
    commit: CommitId


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertWaits:
    """Files and branch are back; some processes still run the change, and `reason` names them."""

    reason: str
    files_back_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverted:
    """Disk, Git and processes were seen to be as before."""

    detail: str
    files_back_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertAborted:
    """The tree moved on while reverting. One that was asked for is as if it had not been; an automatic one has
    brought the processes back and nothing else, and a person must decide: *failed*."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOut:
    """Another proposal, made by the hub for this, took the change out of branch and files, and is live."""

    by: ProposalId


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBackIn:
    """That proposal was taken back itself: the change is in branch and files as if it had never been taken out."""

    by: ProposalId


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """Somebody who may do so made a new revision; nothing that was said of the one before counts for it."""

    by: ActorId
    title: str
    rationale: str
    evidence: tuple[str, ...]
    change: ChangeRef
    diff: str
    files: tuple[str, ...]

    def is_as(self, proposal: Proposal) -> bool:
        """Tell whether the row says all of this already."""
        return (self.title, self.rationale, self.evidence, self.change) == (
            proposal.title,
            proposal.rationale,
            proposal.evidence,
            proposal.change,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """After a restoration from a backup, the row is settled by what Git shows; a person answers for it.

    `review` is theirs where a change is found applied whose approval was lost with the entries after the backup.
    """

    state: ProposalState
    reason: str
    application: Application | None = None
    review: Review | None = None


DecisionEvent = ValidationStarted | Proved | Approved | ApplyAsked | Rejected | Deferred | Resumed | Edited
RevertEvent = RevertStarted | RevertReplanned | RevertWaits | Reverted | RevertAborted | TakenOut | PutBackIn
CanaryEvent = CanaryStarted | CanaryWidened | CanaryPassed | CanaryEnded
RestartEvent = RestartNeeded | RestartAsked | RestartSeen
ApplicationEvent = (
    ApplyStarted | WentLive | ApplyFailed | CanaryEvent | RestartEvent | ObservedWell | Accepted | RevertEvent
)
Event = DecisionEvent | ApplicationEvent | Restored
