"""A proposal: one small change with its reason, and where it stands in its life."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from homeostat.core.digests import Digest
from homeostat.core.ids import ActorId, CommitId, FindingId, ProposalId
from homeostat.model.canary import CanaryStage
from homeostat.model.proof import ProofReport


class Category(StrEnum):
    BUGFIX = "bugfix"
    OPTIMIZATION = "optimization"
    ENHANCEMENT = "enhancement"


class Severity(StrEnum):
    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class ProposalState(StrEnum):
    """The finer state. `STATUS_OF` gives the word of the spec that stands on the wire and in Git."""

    PENDING = "pending"
    VALIDATING = "validating"
    AWAITING_APPROVAL = "awaiting_approval"
    APPROVED = "approved"
    APPLYING = "applying"
    CANARY = "canary"
    OBSERVING = "observing"
    AWAITING_RESTART = "awaiting_restart"
    IMPLEMENTED = "implemented"
    REVERTING = "reverting"
    REVERTED = "reverted"
    BLOCKED = "blocked"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DEFERRED = "deferred"
    FAILED = "failed"


STATUS_OF: Mapping[ProposalState, str] = {
    ProposalState.PENDING: "pending",
    ProposalState.VALIDATING: "pending",
    ProposalState.AWAITING_APPROVAL: "pending",
    ProposalState.APPROVED: "approved",
    ProposalState.APPLYING: "approved",
    ProposalState.CANARY: "approved",
    ProposalState.OBSERVING: "approved",
    ProposalState.AWAITING_RESTART: "approved",
    ProposalState.IMPLEMENTED: "implemented",
    ProposalState.REVERTING: "implemented",
    ProposalState.REVERTED: "reverted",
    ProposalState.BLOCKED: "blocked",
    ProposalState.REJECTED: "rejected",
    ProposalState.EXPIRED: "rejected",
    ProposalState.DEFERRED: "deferred",
    ProposalState.FAILED: "failed",
}

IN_MOTION = frozenset({ProposalState.VALIDATING, ProposalState.APPLYING, ProposalState.REVERTING})
"""States in which a flow is at work; after a crash these are taken up again."""

MOVES_TREE = frozenset({ProposalState.APPLYING, ProposalState.REVERTING})
"""States in which branch and files are being moved: what is on disk may not be what stays."""

ON_TRIAL = frozenset({ProposalState.CANARY})
"""States in which a share of the calls runs a change."""

FIRST_TITLE = "first_title"
"""Key of `Proposal.provenance` that keeps the title of the first revision, when a later one changed it."""

REVERT_WAITS = "files and branch are as before; waiting for running processes:"
"""How the reason of a *reverting* proposal begins when only processes are still to follow."""

MUST_RESTART = "must be restarted"
"""What is said there of a process that nothing but a restart brings back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRef:
    """What exactly is consented to: `change_digest` covers the other three."""

    base_commit: CommitId
    diff_digest: Digest
    policy_digest: Digest
    change_digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A person's decision. `change_digest` is what they saw."""

    by: ActorId
    at: datetime
    decision: str
    """``approved`` or ``rejected`` or ``deferred``."""

    change_digest: Digest
    notes: str = ""
    unreviewed: bool = False
    """True when the person who approved is the one who proposed: nobody else looked."""

    label: str = ""
    """The free ``user`` text of the request. A label, not an identity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What applying did, and what a revert of it did; filled step by step.

    What applying wrote never changes. The fields of a revert are emptied again when it was aborted.
    """

    before_commit: CommitId
    """Head of the deployed branch that the change was put on."""

    commit: CommitId
    backup: str
    """Name of the snapshot folder below ``backups/``."""

    at: datetime
    live: bool | None = None
    """True: swapped into the running processes. False: a restart is needed. None: not known yet."""

    live_detail: str = ""
    processes: tuple[str, ...] = ()
    """Ids of the processes that were attached when applying began; a recovery waits for them."""

    on_disk_at: datetime | None = None
    """When the files were seen in place: what started later has read them, what started before may not have."""

    canary: CanaryStage | None = None
    """Where the change was, or is to be, tried on a share of the calls before branch and files were touched."""

    observed_from: datetime | None = None
    restart_id: str = ""
    """The last restart that was asked for while the change waited for one; empty: none was."""

    restart_asked_at: datetime | None = None
    reverting_at: datetime | None = None
    """When a revert was journalled."""

    files_back_at: datetime | None = None
    """When the files were seen to be as before again: what started later has read the old ones."""

    reverting_from: ProposalState | None = None
    """The state that a revert under way was asked in."""

    revert_parent: CommitId | None = None
    """Head of the deployed branch that the revert is put on."""

    revert_commit: CommitId | None = None
    taken_out_by: ProposalId | None = None
    """The proposal that took the change out of what was built upon it, where no revert of its own did."""

    revert_reason: str = ""
    automatic_revert: bool = False

    @property
    def reached_branch(self) -> bool:
        """Whether branch and files were to be moved at all: a canary leaves them alone until it has passed."""
        return self.canary is None or self.canary.passed_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many proposals of one kind were made in one month."""

    month: str
    """``YYYY/MM``, in UTC."""

    state: ProposalState
    category: Category
    severity: Severity
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One proposal at one moment. A new value for every change; `version` guards the row."""

    id: ProposalId
    version: int
    """Incremented by every save; a save with a stale version is a `Conflict`."""

    revision: int
    title: str
    rationale: str
    category: Category
    severity: Severity
    author: str
    """The label the submitter gave, or the pseudonym of the submitter."""

    submitted_by: ActorId
    editors: tuple[ActorId, ...] = ()
    """Who made revisions after the first, each once: their approval is as little a second look as the submitter's."""

    created_at: datetime
    updated_at: datetime
    state: ProposalState
    state_reason: str
    change: ChangeRef
    diff: str
    files: tuple[str, ...]
    evidence: tuple[str, ...] = ()
    finding_id: FindingId | None = None
    again_after: ProposalId | None = None
    """The proposal of the same diff that was taken back; a person handed the diff in again all the same."""

    takes_back: ProposalId | None = None
    """The proposal whose change this one takes out. The hub made the diff: no submitter can say so."""

    provenance: Mapping[str, str] = field(default_factory=dict)
    proof: ProofReport | None = None
    review: Review | None = None
    apply_requested: bool = False
    """True when the approval was asked together with the application: after a crash it is applied."""

    application: Application | None = None
    log: tuple[str, ...] = ()
    """The implementation log: one line a step, oldest first, each starting with its UTC time."""

    @property
    def status(self) -> str:
        return STATUS_OF[self.state]
