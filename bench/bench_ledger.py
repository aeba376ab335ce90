"""How fast the ledger is: durable appends, and verification.

Run: ``python -m bench ledger``. Appends go through the real store, each with its own commit,
fsync and head file. Verification is measured apart for the chain of hashes and for the signatures,
because one signature costs as much as some thirty hashes.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.figures import Figure, number
from homeostat.adapters.keys import Ed25519Signer
from homeostat.adapters.store import SqlStore
from homeostat.audit.chain import EMPTY_HEAD, ChainIntact, append, head_of, verify_integrity
from homeostat.model.ledger import LedgerEntry
from homeostat.model.proposal import ProposalState
from homeostat.testing.example_rows import START, SteppingClock, example_proposal, move_entry

_DURABLE = 1_000
_HASHED = 100_000
_SIGNED = 5_000
_ROUNDS = 3
_DRAFT = move_entry(example_proposal(), "approved", ProposalState.APPROVED, change_seen="sha256:" + "0" * 64)


def main() -> dict[str, float]:
    """Measure, print a table, and return entries a second by name."""
    signer = Ed25519Signer.generate()
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = SqlStore.open(
            folder / "h.sqlite", signer=signer, clock=SteppingClock(), head_path=folder / "ledger-head.json"
        )
        results["durable appends, one by one"] = _rate(_DURABLE, lambda: _append_all(store))
        results["read from the database"] = _rate(_DURABLE, lambda: store.ledger.entries(limit=_DURABLE))
        store.close()
    entries = _chain(_HASHED)
    results["hash chain verified, no signature"] = _best(
        _HASHED, lambda: _verified(entries, lambda _message, _signature: True, every_signature=False)
    )
    signed = _chain(_SIGNED, sign=signer.sign)
    results["chain and signatures verified"] = _best(_SIGNED, lambda: _verified(signed, signer.verify))
    print(f"{'ledger':<34}{'entries/s':>12}")
    for what, rate in results.items():
        print(f"{what:<34}{rate:>12,.0f}")
    return results


def _append_all(store: SqlStore) -> None:
    for _ in range(_DURABLE):
        store.ledger.append(_DRAFT)


def _chain(count: int, *, sign: Callable[[bytes], str] = lambda _message: "") -> list[LedgerEntry]:
    entries, head = [], EMPTY_HEAD
    for _ in range(count):
        entries.append(append(head, _DRAFT, at=START, sign=sign))
        head = head_of(entries[-1])
    return entries


def _verified(
    entries: list[LedgerEntry], verify: Callable[[bytes, str], bool], *, every_signature: bool = True
) -> None:
    report = verify_integrity(entries, verify=verify, every_signature=every_signature)
    assert isinstance(report, ChainIntact)
    assert report.checked == len(entries)


def _best(count: int, work: Callable[[], object]) -> float:
    return max(_rate(count, work) for _ in range(_ROUNDS))


def _rate(count: int, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


FOUND = ""


def figures(results: dict[str, float]) -> list[Figure]:
    """Hold the results against their aims."""
    chain = results["hash chain verified, no signature"]
    return [
        Figure(
            what="durable appends, one by one", measured=number(results["durable appends, one by one"], "entries/s")
        ),
        Figure(
            what="chain verified", measured=number(chain, "entries/s"), aim="200,000 entries/s", met=chain >= 200_000
        ),
        Figure(
            what="chain and every signature verified",
            measured=number(results["chain and signatures verified"], "entries/s"),
            beside=f"chain alone: {number(chain, 'entries/s')}",
        ),
    ]


if __name__ == "__main__":
    main()
