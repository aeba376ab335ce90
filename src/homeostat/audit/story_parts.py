"""The proposals' side of `homeostat.audit.story`: what is compared of some of them, and what was found of all.

However many proposals there are, only some are looked at at one time; what is kept is how many there
were and what is wrong.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from homeostat.audit.proposal_story import APPLIED_STATES, Moves, approvals, diffs, evidence, group_moves, rows, states
from homeostat.core.ids import CommitId
from homeostat.model.ledger import LedgerEntry
from homeostat.model.proposal import Proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupResult:
    """What looking at one backup gave."""

    name: str
    intact: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryPart:
    """Some proposals, with all that is compared with them; of one proposal never a piece here and a piece there."""

    proposals: Sequence[Proposal]
    entries: Sequence[LedgerEntry]
    """The ledger's entries of these proposals in their order, also of such as have no row; others are passed over."""

    row_digests: Mapping[str, str]
    """Proposal id → the digest of its row, as the ledger has it of each row that was written."""

    backups: Sequence[BackupResult]
    commits: frozenset[CommitId]
    """Of the commits that these proposals name, those that exist in the repository."""

    records: Sequence[str]
    """What is wrong with their Markdown records in Git, a line each: edited by hand, removed, of another status."""


@dataclass(slots=True)
class Seen:
    """What was seen of the proposals so far: how many there are, and what is wrong, by check."""

    reach: int
    """The entry up to which the status commits in Git witness."""

    unrecorded: frozenset[str]
    proposals: int = 0
    recorded: int = 0
    applied: int = 0
    named: int = 0
    cut_off: list[str] = field(default_factory=list)
    records: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    diffs: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    approvals: list[str] = field(default_factory=list)
    backups: list[str] = field(default_factory=list)
    commits: list[str] = field(default_factory=list)
    attested: int = 0
    evidence: list[str] = field(default_factory=list)

    def look_at(self, part: StoryPart) -> None:
        moves = group_moves(part.entries)
        self.proposals += len(part.proposals)
        self.states += states(part.proposals, moves)
        self.diffs += diffs(part.proposals, moves)
        self.rows += rows(part.row_digests, moves)
        self.approvals += approvals(part.proposals, moves)
        attested, wrong = evidence(part.proposals, moves)
        self.attested += attested
        self.evidence += wrong
        self.records += part.records
        self._trailers(part, moves)
        self._backups(part)
        self._commits(part)

    def _trailers(self, part: StoryPart, moves: Moves) -> None:
        recorded = [item for item in part.proposals if item.id not in self.unrecorded]
        self.recorded += len(recorded)
        last = {proposal.id: moves[proposal.id][-1].seq for proposal in recorded if proposal.id in moves}
        self.cut_off += [
            f"{subject}: entry {seq} was recorded in Git, but the status commits end at entry {self.reach}: "
            "some were cut off"
            for subject, seq in last.items()
            if seq > self.reach
        ]

    def _backups(self, part: StoryPart) -> None:
        results = {item.name: item for item in part.backups}
        for proposal in part.proposals:
            if proposal.application is None:
                continue
            self.applied += 1
            result = results.get(proposal.application.backup)
            if result is None:
                self.backups.append(
                    f"{proposal.id}: nothing was looked at as its backup {proposal.application.backup!r}"
                )
            elif not result.intact:
                self.backups.append(f"{proposal.id}: {result.detail}")

    def _commits(self, part: StoryPart) -> None:
        for proposal in part.proposals:
            for what, commit in _named_commits(proposal):
                self.named += 1
                if commit not in part.commits:
                    self.commits.append(f"{proposal.id}: its {what} commit {commit[:12]} is not in the repository")


def named_commits(proposals: Iterable[Proposal]) -> frozenset[CommitId]:
    """Return every commit that check 9 will ask for, so that a collector knows what to look up."""
    return frozenset(commit for proposal in proposals for _, commit in _named_commits(proposal))


def _named_commits(proposal: Proposal) -> list[tuple[str, CommitId]]:
    named = [("base", proposal.change.base_commit)]
    application = proposal.application
    if application is not None and proposal.state in APPLIED_STATES:
        named += [("parent", application.before_commit), ("applied", application.commit)]
        if application.revert_commit is not None:
            named.append(("revert", application.revert_commit))
    return named
