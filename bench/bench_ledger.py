"""How fast the ledger is: durable appends, one by one and in batches, and verification.

Run: ``python -m bench ledger``. An append goes through the real store: hashed, signed, committed with
fsync, and followed by the head file; a batch is one transaction. Its peer is SQLite with the same
pragmas inserting rows of the same size and nothing else. Verification is that of a whole ledger as
`homeostat verify` does it: every hash and link, and the signatures that vouch for them; its peer is
SHA-256 over the same bytes. "From the database" includes reading the rows, some at a time.

Limit: at least 200,000 entries/s verified.
"""

import hashlib
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from bench.figures import Figure, number
from homeostat.adapters.keys import Ed25519Signer
from homeostat.adapters.store import SqlStore
from homeostat.audit.chain import ChainIntact, entry_bytes, verify_integrity
from homeostat.model.ledger import LedgerEntry
from homeostat.model.proposal import ProposalState
from homeostat.testing.example_rows import SteppingClock, example_proposal, move_entry

_SINGLE = 300
_BATCHES = (10, 100, 1000)
_BATCHED = 3_000
_ENTRIES = 50_000
_ROUNDS = 5
_DRAFT = move_entry(example_proposal(), "approved", ProposalState.APPROVED, change_seen="sha256:" + "0" * 64)
_LIMIT = 200_000


def main() -> dict[str, float]:
    """Measure, print a table, and return entries a second by name."""
    signer = Ed25519Signer.generate()
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        store = SqlStore.open(
            Path(name, "h.sqlite"), signer=signer, clock=SteppingClock(), head_path=Path(name, "ledger-head.json")
        )
        peer = _Peer(Path(name, "peer.sqlite"))
        results["durable appends, one by one"] = _rate(_SINGLE, lambda: _append(store, _SINGLE, batch=1))
        results["SQLite alone, one by one"] = _rate(_SINGLE, lambda: peer.insert(_SINGLE, batch=1))
        for batch in _BATCHES:
            results[f"durable appends, {batch} at once"] = _rate(_BATCHED, lambda: _append(store, _BATCHED, batch))  # noqa: B023 - called at once
            results[f"SQLite alone, {batch} at once"] = _rate(_BATCHED, lambda: peer.insert(_BATCHED, batch))  # noqa: B023
        _append(store, _ENTRIES - store.ledger.head().size, batch=1000)
        results |= _verification(store, signer)
        store.close()
        peer.close()
    print(f"{'ledger':<44}{'entries/s':>12}")
    for what, rate in results.items():
        print(f"{what:<44}{rate:>12,.0f}")
    print(f"{'limit for verification':<44}{_LIMIT:>12,.0f}")
    return results


def _verification(store: SqlStore, signer: Ed25519Signer) -> dict[str, float]:
    entries = list(store.ledger.entries(limit=_ENTRIES))
    leaves = [entry_bytes(entry, entry.signature) for entry in entries]
    return {
        "verified: hashes, links, signatures": _best(lambda: _verify(entries, signer)),
        "verified from the database": _best(lambda: _verify_stored(store, signer)),
        "read from the database": _best(lambda: store.ledger.entries(limit=_ENTRIES)),
        "SHA-256 of the same bytes alone": _best(lambda: [hashlib.sha256(leaf).hexdigest() for leaf in leaves]),
    }


def _append(store: SqlStore, count: int, batch: int) -> None:
    for start in range(0, count, batch):
        with store.ledger.transaction() as current:
            for _ in range(min(batch, count - start)):
                current.append(_DRAFT)


class _Peer:
    """SQLite with the pragmas of the store, and rows as large as an entry."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute("CREATE TABLE rows (seq INTEGER PRIMARY KEY, text TEXT)")

    def insert(self, count: int, batch: int) -> None:
        for _ in range(0, count, batch):
            self._database.execute("BEGIN IMMEDIATE")
            for _ in range(batch):
                self._database.execute("INSERT INTO rows (text) VALUES (?)", ("x" * 700,))
            self._database.execute("COMMIT")

    def close(self) -> None:
        self._database.close()


def _verify_stored(store: SqlStore, signer: Ed25519Signer) -> None:
    with store.snapshot() as seen:
        _verify(seen.entries(), signer)


def _verify(entries: Iterable[LedgerEntry], signer: Ed25519Signer) -> None:
    report = verify_integrity(entries, verify=signer.verify)
    assert isinstance(report, ChainIntact)
    assert report.checked == _ENTRIES


def _best(work: Callable[[], object]) -> float:
    """Return entries a second of processor time, the best of some rounds: nothing here waits for a disk."""
    best_s = float("inf")
    for _ in range(_ROUNDS):
        start_s = time.process_time()
        work()
        best_s = min(best_s, time.process_time() - start_s)
    return _ENTRIES / best_s


def _rate(count: int, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


FOUND = """\
One by one, an append syncs twice, the database and then the head file, where SQLite alone syncs once; the head file is
written in place since replacing it took three times as long as the commit. The rest is Python: signing (50 µs), and
SQLAlchemy's beginning and ending of a transaction. Of an entry's verification from the database two fifths are
SQLite's handing over of nine columns, a tenth is the check that each is of its type, and the rest is that of entries in
memory: the canonical bytes, their hash, and the walk. A hundred rows at a time instead of a thousand, which stay in the
processor's cache, took a sixth less. Slower were columns joined by SQLite (half as much again for the reading) and
groups of rows joined there; leaves made by formatting instead of encoding were no faster.
"""


def figures(results: dict[str, float]) -> list[Figure]:
    """Hold the results against their aims."""
    made = []
    for batch in (1, *_BATCHES):
        words = "one by one" if batch == 1 else f"{batch} at once"
        alone = number(results[f"SQLite alone, {words}"], "rows/s")
        made.append(
            Figure(
                what=f"durable appends, {words}",
                measured=number(results[f"durable appends, {words}"], "entries/s"),
                beside=f"SQLite alone: {alone}",
            )
        )
    sha = f"SHA-256 of the same bytes alone: {number(results['SHA-256 of the same bytes alone'], 'entries/s')}"
    for what in ("verified: hashes, links, signatures", "verified from the database"):
        rate = results[what]
        made.append(
            Figure(
                what=what,
                measured=number(rate, "entries/s of one core"),
                beside=sha,
                aim=f"{number(_LIMIT)} entries/s",
                met=rate >= _LIMIT,
            )
        )
    return made


if __name__ == "__main__":
    main()
