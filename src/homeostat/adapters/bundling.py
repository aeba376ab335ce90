"""Putting a change's whole story into one file, from the store and the repository, while a hub may be at work."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from homeostat.adapters.clock import SystemClock
from homeostat.adapters.git.reader import read_commits
from homeostat.adapters.git.repository import open_repository
from homeostat.adapters.keys import DATABASE, PRIVATE_KEY, load_signer
from homeostat.adapters.store.ledger import SqlLedger
from homeostat.adapters.store.store import SqlStore
from homeostat.audit.bundle import encode_bundle, named_commits
from homeostat.audit.checkpoint import ledger_key
from homeostat.core.errors import Conflict, NotFound
from homeostat.core.ids import parse_commit_id
from homeostat.model.ledger import LedgerEntry

_PAGE = 1000


@contextmanager
def open_for_proofs(state_dir: Path) -> Iterator[tuple[SqlStore, str]]:
    """Give the store, read only, and the ledger's public key as a verifier key; its private key signs checkpoints.

    `NotFound` where there is no state.
    """
    if not (state_dir / DATABASE).is_file():
        raise NotFound(
            "no-state",
            f"there is no state at {state_dir}",
            hint="name the place with --state-dir DIR or HOMEOSTAT_STATE_DIR, the repository with --repo DIR",
        )
    signer = load_signer(state_dir / "keys" / PRIVATE_KEY)
    store = SqlStore.open(
        state_dir / DATABASE,
        signer=signer,
        clock=SystemClock(),
        head_path=state_dir / "ledger-head.json",
        read_only=True,
    )
    try:
        yield store, str(ledger_key(signer.public_key()))
    finally:
        store.close()


def make_bundle(store: SqlStore, repository: Path, proposal: str) -> bytes:
    """Return the bundle of the proposal whose id begins so. `NotFound`, `Conflict` (``ambiguous-id``).

    `Conflict` (``stale-row``) when the proposal moves on all the while.
    """
    found = store.proposals.find(prefix=proposal, limit=2)
    if not found:
        raise NotFound("no-such-proposal", f"proposal_id '{proposal}' does not exist", hint="homeostat proposals list")
    if len(found) > 1:
        raise Conflict("ambiguous-id", f"more than one proposal begins with {proposal}", hint="give more of the id")
    (row,) = found
    before = store.proposals.columns(row.id)
    own = _entries(store.ledger, row.id)
    if store.proposals.columns(row.id) != before:
        raise Conflict("stale-row", f"proposal {row.id} was changed meanwhile", hint="ask again")
    others = {entry.actor for entry in own if entry.kind == "proposal.approved"} | {row.finding_id}
    entries = sorted(
        [*own, *(entry for other in others if other for entry in _entries(store.ledger, other))],
        key=lambda entry: entry.seq,
    )
    note = store.ledger.checkpoint()  # after all entries, which are then in it
    size = int(note.split("\n")[1])
    wanted = named_commits([entry.body for entry in own if "to" in entry.body])
    return encode_bundle(
        proposal=row.id,
        checkpoint=note,
        entries=[
            (entry.seq, store.ledger.leaf_text(entry.seq), store.ledger.inclusion_proof(entry.seq, size))
            for entry in entries
        ],
        row=before,
        commits=read_commits(open_repository(repository), [parse_commit_id(name) for name in sorted(wanted)]),
    )


def _entries(ledger: SqlLedger, subject: str) -> list[LedgerEntry]:
    found: list[LedgerEntry] = []
    while page := ledger.entries(after=found[-1].seq if found else 0, limit=_PAGE, subject=subject):
        found += page
    return found
