"""The store: rows are the truth. Each noun has its own small port; one adapter serves them all.

All methods raise `Unavailable` when the database cannot be reached or is locked for too long.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeAlias

from homeostat.core.digests import Digest
from homeostat.core.ids import ActorId, FindingId, ProposalId
from homeostat.model.actor import Actor, Role
from homeostat.model.canary import ProcessTick
from homeostat.model.finding import ErrorGroup, ErrorOccurrence, Finding, GroupStanding, Recorded
from homeostat.model.ledger import EntryDraft, LedgerEntry, LedgerHead
from homeostat.model.proposal import Proposal, ProposalState, Tally
from homeostat.model.vitals import Stretch, VitalsTick


class ProposalStore(Protocol):
    def insert(self, proposal: Proposal, entry: EntryDraft) -> LedgerEntry:
        """Write a new row and its ledger entry in one transaction. `Conflict` when the id exists."""
        ...

    def save(self, proposal: Proposal, entry: EntryDraft | None) -> Proposal:
        """Replace the row whose version is `proposal.version`, and write the entry, in one transaction.

        Returns the row with its new version. `Conflict` (``stale-row``) when another writer was
        faster; then nothing was written. `entry` is None only where no state changed (a log line).
        """
        ...

    def get(self, proposal_id: ProposalId) -> Proposal | None: ...

    def find(
        self,
        *,
        states: frozenset[ProposalState] | None = None,
        prefix: str = "",
        limit: int = 100,
        offset: int = 0,
        after: Proposal | None = None,
    ) -> Sequence[Proposal]:
        """Return rows, newest first, optionally of some states or whose id starts with `prefix`.

        `after` goes on behind that row of the same listing, and takes no longer than the first page.
        """
        ...

    def count_by_state(self) -> Mapping[ProposalState, int]: ...

    def find_by_diff(self, diff_digest: Digest) -> Sequence[Proposal]:
        """Return every row with this diff, newest first (for lock-out and duplicates)."""
        ...


class RecordStore(Protocol):
    """What has yet to be written to Git: status commits that lag their row."""

    def pending_records(self) -> Sequence[tuple[ProposalId, int]]:
        """Return (id, row version) of proposals whose status commit is still to be made, oldest first."""
        ...

    def tallies(self) -> Sequence[Tally]:
        """Return how many proposals there are, by month, state, category and severity."""
        ...

    def mark_recorded(self, proposal_id: ProposalId, version: int) -> None:
        """Note that the status commit for this row version was made; older versions count as made too."""
        ...


class LedgerStore(Protocol):
    def append(self, entry: EntryDraft) -> LedgerEntry:
        """Append one entry in a transaction of its own."""
        ...

    def entries(self, *, after: int = 0, limit: int = 1000, subject: str | None = None) -> Sequence[LedgerEntry]:
        """Return entries in order; those about one `subject` are found without a look at the others."""
        ...

    def head(self) -> LedgerHead:
        """Return the signed head; size 0 and 64 zeros when the ledger is empty."""
        ...

    def checkpoint(self) -> str:
        """Return a signed checkpoint of all entries (`homeostat.audit.checkpoint`), the same for the same ones."""
        ...


Decision: TypeAlias = tuple[Finding, EntryDraft] | None
"""A finding as it shall be stored, and the ledger entry for the case that its state is new; or none."""


def decides_nothing(group: ErrorGroup, existing: Finding | None) -> Decision:
    """Store no finding, whatever was counted."""
    return None


class FindingStore(Protocol):
    def record(
        self,
        occurrences: Sequence[tuple[Digest, str, ErrorOccurrence]],
        *,
        source: str = "",
        batch: Digest | None = None,
        wanted: Callable[[GroupStanding], bool] = lambda standing: True,
        decide: Callable[[ErrorGroup, Finding | None], Decision] = decides_nothing,
    ) -> Recorded:
        """Count cleaned occurrences into their groups, and store what is decided of those that are `wanted`.

        Each item is (group key, message template, occurrence). One transaction, durable when it returns. The
        same `batch` again counts nothing, and is decided on the groups as they stand. The newest occurrences
        are kept as samples, at most `MAX_SAMPLES_PER_CALL` of one call and `MAX_SAMPLES_PER_TEMPLATE` in all.
        `source` is whose groups they are when room must be made. `wanted` and `decide` (which gets the group's
        finding, too) are pure: they are asked within a transaction, maybe more than once, and with what other
        calls at the same time have counted.
        """
        ...

    def put_findings(self, items: Sequence[tuple[Finding, EntryDraft]]) -> Sequence[bool]:
        """Insert or replace each finding and write its entry when its state is new; say of each whether it was.

        One transaction for all of them: either every one is stored, or none.
        """
        ...

    def get_finding(self, finding_id: FindingId) -> Finding | None: ...

    def findings(self, *, limit: int = 100) -> Sequence[Finding]:
        """Return findings with the present counts of their groups, most recent first."""
        ...

    def count_since(self, key: Digest, since: datetime) -> int:
        """Count what agents told (source `AGENTS`) of one group at or after `since`: the evidence of its symptom."""
        ...

    def error_counts(self) -> Mapping[str, int]:
        """Return all-time occurrences by severity."""
        ...


class VitalsStore(Protocol):
    def record_ticks(self, ticks: Sequence[VitalsTick]) -> None:
        """Keep these ticks; one that is there already, equal in everything, is not kept twice."""
        ...

    def ticks(self, *, since: datetime, until: datetime) -> Sequence[VitalsTick]:
        """Return ticks that ended in (since, until], oldest first."""
        ...

    def stretches(self, *, since: datetime, until: datetime) -> Sequence[Stretch]:
        """Return the service as a whole, added up from attested ticks: what began at or after `since` and ended by
        `until`, oldest first. Where nothing was told there is none. A day of it takes a tenth of a second at most.
        """
        ...

    def latest(self) -> datetime | None:
        """Return when the latest tick ended; None when there is none."""
        ...

    def prune(self, *, before: datetime) -> int:
        """Forget ticks and stretches that ended before `before`, and when errors occurred before it; count the ticks.

        `FindingStore.count_since` knows nothing of what was pruned; all-time counts stay.
        """
        ...


class CanaryStore(Protocol):
    def record(self, ticks: Sequence[ProcessTick]) -> None:
        """Keep these ticks; one that is there already, equal in everything, is not kept twice."""
        ...

    def ticks(self, change_id: ProposalId, *, after: int = 0) -> Sequence[tuple[int, ProcessTick]]:
        """Return the ticks of this change with their numbers, as they came in; only those whose number is above."""
        ...

    def prune(self, *, before: datetime) -> int:
        """Forget ticks that ended before `before`; return how many."""
        ...


class ActorStore(Protocol):
    def create(self, *, actor: Actor, token_digest: Digest) -> None:
        """Store an actor and the digest of its token; the token itself is never stored."""
        ...

    def by_token(self, token_digest: Digest) -> Actor | None: ...

    def get(self, actor_id: ActorId) -> Actor | None: ...

    def list_actors(self, *, role: Role | None = None) -> Sequence[Actor]: ...

    def erase_name(self, actor_id: ActorId) -> None:
        """Forget the name behind a pseudonym and disable its tokens. `NotFound` when unknown."""
        ...
