"""What a lawful restoration looks like in the ledger, so that an audit tells it from tampering.

A state directory that is restored from a backup may know less than Git has witnessed. The first entry
after the kept ones says so, signed like every other: ``ledger.restored`` with ``{"kept", "lost_to",
"tip", "made_at"}``. From then on a status commit that saw an entry after `kept` and up to `lost_to`
is explained, if it is `tip` (the newest status commit at that time) or older. Nothing else is: a
status commit that came later, or saw something else of what was kept, is as suspect as ever.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from homeostat.core.canonical_json import JsonValue
from homeostat.core.ids import ActorId, CommitId
from homeostat.model.ledger import EntryDraft, LedgerEntry

RESTORED = "ledger.restored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """One restoration: entries `kept` + 1 to `lost_to` of the ledger before it are lost, and accepted as lost."""

    kept: int
    lost_to: int
    tip: CommitId | None
    """The newest status commit when it was restored; None when there was none."""

    @property
    def lost(self) -> int:
        return max(self.lost_to - self.kept, 0)


def restoration_entry(restoration: Restoration, *, made_at: str, by: ActorId) -> EntryDraft:
    """Return the entry that records it; it must be the first after what was kept."""
    body: dict[str, JsonValue] = {
        "kept": restoration.kept,
        "lost_to": restoration.lost_to,
        "tip": restoration.tip or "",
        "made_at": made_at,
    }
    return EntryDraft(kind=RESTORED, actor=by, subject="", body=body)


def restorations(entries: Iterable[LedgerEntry]) -> tuple[Restoration, ...]:
    """Read the restorations out of a ledger. One that stands in another place than it says explains nothing."""
    found = []
    for entry in entries:
        if entry.kind != RESTORED:
            continue
        kept, lost_to, tip = (entry.body.get(name) for name in ("kept", "lost_to", "tip"))
        if isinstance(kept, int) and isinstance(lost_to, int) and isinstance(tip, str) and entry.seq == kept + 1:
            found.append(Restoration(kept=kept, lost_to=lost_to, tip=CommitId(tip) if tip else None))
    return tuple(found)


class Explained:
    """Tells of each status commit, newest first, whether a restoration explains that it saw what is not there."""

    def __init__(self, known: Sequence[Restoration]) -> None:
        self._known = known
        self._passed: set[CommitId] = set()

    def explains(self, commit: CommitId, seen: int) -> bool:
        """To be asked of every commit in Git's order, from the newest to the oldest."""
        self._passed |= {item.tip for item in self._known if item.tip == commit}
        return any(item.tip in self._passed and item.kept < seen <= item.lost_to for item in self._known)
