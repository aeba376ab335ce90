"""How fast the ledger's Merkle tree grows, how soon a proof is made, and how fast evidence is signed and checked.

Run: ``python -m bench merkle``. The tree alone appends leaves in memory; its peer is SHA-256 alone, over as many
blocks of the same lengths. Proofs are made from the stored nodes of a database of ten million entries, all five
million rows of them; the leaves are numbers, but for those of the entries that proofs are asked for, which are entries.
Evidence is an envelope of a proof of two runs with 200 tests each; its peer is Ed25519 alone over as many bytes.

Times are of the processor: nothing here waits for a disk that has been read once.

Limits: at least 100,000 appends/s; an inclusion proof under 1 ms.
"""

import hashlib
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.figures import Figure, number
from homeostat.adapters.keys import Ed25519Signer
from homeostat.adapters.store.database import Database
from homeostat.adapters.store.tree import StoredTree
from homeostat.audit.checkpoint import entry_leaf
from homeostat.audit.evidence import open_envelope, sign_envelope, statement, worker_key
from homeostat.audit.merkle import GrowingTree, consistency_proof, inclusion_proof, verify_inclusion
from homeostat.model.proof import ProofSubject
from homeostat.testing.fake_prover import test_run

_LEAVES = 200_000
_AMONG = 10_000_000
_PROOFS = 2_000
_SIGNED = 300
_LIMIT_APPENDS, _LIMIT_MS = 100_000, 1.0


def main() -> dict[str, float]:
    """Measure, print a table, and return figures by name."""
    hashes = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(_LEAVES)]
    results = {
        "appends/s, the tree alone": _LEAVES / _best_s(lambda: _append(hashes)),
        "SHA-256 alone, blocks/s": _LEAVES / _best_s(lambda: _hash(hashes)),
        **_proofs(),
        **_evidence(),
    }
    print(f"{'merkle':<44}{'':>12}")
    for what, value in results.items():
        print(f"{what:<44}{value:>12,.3f}")
    return results


def _append(hashes: list[str]) -> None:
    tree = GrowingTree()
    for one in hashes:
        tree.append(entry_leaf(one))


def _hash(hashes: list[str]) -> None:
    """Hash one leaf and one node for each entry: a tree over n leaves has n - 1 nodes."""
    pair = b"\x01" + bytes(64)
    for one in hashes:
        hashlib.sha256(b"\x00" + bytes.fromhex(one)).digest()
        hashlib.sha256(pair).digest()


def _proofs() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "tree.sqlite")
        chosen = random.Random(10).sample(range(_AMONG), _PROOFS)
        root = _fill(path, frozenset(index >> 1 for index in chosen))
        database = Database(path, busy_timeout_s=5, read_only=True)
        included, consistent, verified = [], [], []
        for index in chosen:
            with database.reading() as connection:
                stored = StoredTree(connection)
                start_s = time.process_time()
                proof = inclusion_proof(index, _AMONG, stored.complete)
                included.append(time.process_time() - start_s)
                start_s = time.process_time()
                consistency_proof(index + 1, _AMONG, stored.complete)
                consistent.append(time.process_time() - start_s)
            start_s = time.process_time()
            verify_inclusion(index, _AMONG, entry_leaf(_hash_of(index)), proof, root)
            verified.append(time.process_time() - start_s)
        database.close()
    return {
        f"{what}, {word} (ms)": 1000 * sorted(times)[int(share * (len(times) - 1))]
        for what, times in (("inclusion", included), ("consistency", consistent), ("verification", verified))
        for word, share in (("p50", 0.5), ("p99", 0.99))
    }


def _hash_of(index: int) -> str:
    return hashlib.sha256(b"%d" % index).hexdigest()


def _fill(path: Path, pairs: frozenset[int]) -> bytes:
    """Make the tables that proofs read, with entries where these pairs of leaves are, and return the root."""
    tree = GrowingTree()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("CREATE TABLE ledger (seq INTEGER NOT NULL PRIMARY KEY, entry_hash TEXT NOT NULL)")
    connection.execute("CREATE TABLE ledger_nodes (seq INTEGER NOT NULL PRIMARY KEY, hashes BLOB NOT NULL)")
    made: list[bytes] = []

    def note(level: int, index: int, hashed: bytes) -> None:
        made.append(hashed)

    def nodes() -> Iterator[tuple[int, bytes]]:
        for index in range(_AMONG):
            leaf = entry_leaf(_hash_of(index)) if index >> 1 in pairs else index.to_bytes(32, "big")
            if index & 1:
                made.clear()
                tree.append(leaf, note)
                yield index + 1, b"".join(made[1:])
            else:
                tree.append(leaf)

    with connection:
        connection.executemany("INSERT INTO ledger_nodes VALUES (?, ?)", nodes())
        entries = ((2 * pair + side, _hash_of(2 * pair + side)) for pair in pairs for side in (0, 1))
        connection.executemany(
            "INSERT INTO ledger VALUES (?, ?)", ((index + 1, entry_hash) for index, entry_hash in entries)
        )
    connection.close()
    return tree.root


def _evidence() -> dict[str, float]:
    signer = Ed25519Signer.generate()
    key = worker_key(signer.public_key())
    runs = test_run({f"tests/test_it.py::test_{number}": "passed" for number in range(200)})
    digest = "sha256:" + "0" * 64
    subject = ProofSubject(
        diff_digest=digest, change_digest=digest, policy_digest=digest, base="a" * 40, candidate="b" * 40
    )

    def made() -> str:
        said = statement(subject, trees=("c" * 40, "d" * 40), base=runs, candidate=runs, environment={}, timings={})
        return sign_envelope(said, public_key=signer.public_key(), sign=signer.sign)

    envelope = made()
    message = b"x" * len(envelope)
    signature = signer.sign(message)
    works: dict[str, Callable[[], object]] = {
        "envelopes signed/s": made,
        "Ed25519 signatures/s": lambda: signer.sign(message),
        "envelopes checked/s": lambda: open_envelope(envelope, key),
        "Ed25519 verifications/s": lambda: signer.verify(message, signature),
    }
    return {what: _SIGNED / _best_s(lambda: [work() for _ in range(_SIGNED)]) for what, work in works.items()}  # noqa: B023 - called at once


def _best_s(work: Callable[[], object]) -> float:
    """Return the least processor time of some rounds."""
    best_s = float("inf")
    for _ in range(3):
        start_s = time.process_time()
        work()
        best_s = min(best_s, time.process_time() - start_s)
    return best_s


FOUND = """\
A leaf and a node for each append: the tree costs little more than its two hashes. A proof among ten million reads some
two dozen rows, each found by its number; the times are of the processor, and a cold file's pages are waited for. An
envelope's cost beyond its signature is the digest of the outcomes, and JSON.
"""


def figures(results: dict[str, float]) -> list[Figure]:
    """Hold the results against their aims."""
    appends = results["appends/s, the tree alone"]
    proof_ms = results["inclusion, p99 (ms)"]
    return [
        Figure(
            what="Merkle appends, the tree alone",
            measured=number(appends, "entries/s of one core"),
            beside=f"SHA-256 alone: {number(results['SHA-256 alone, blocks/s'], 'entries/s')}",
            aim=f"{number(_LIMIT_APPENDS)} entries/s",
            met=appends >= _LIMIT_APPENDS,
        ),
        Figure(
            what="an inclusion proof among 10,000,000 entries",
            measured=f"p50 {results['inclusion, p50 (ms)']:.3f} ms, p99 {proof_ms:.3f} ms",
            beside=f"its verification: p50 {results['verification, p50 (ms)']:.3f} ms",
            aim=f"{_LIMIT_MS:g} ms",
            met=proof_ms < _LIMIT_MS,
        ),
        Figure(
            what="a consistency proof among them",
            measured=f"p50 {results['consistency, p50 (ms)']:.3f} ms, p99 {results['consistency, p99 (ms)']:.3f} ms",
        ),
        Figure(
            what="evidence signed",
            measured=number(results["envelopes signed/s"], "envelopes/s"),
            beside=f"Ed25519 alone: {number(results['Ed25519 signatures/s'], 'signatures/s')}",
        ),
        Figure(
            what="evidence checked",
            measured=number(results["envelopes checked/s"], "envelopes/s"),
            beside=f"Ed25519 alone: {number(results['Ed25519 verifications/s'], 'verifications/s')}",
        ),
    ]


if __name__ == "__main__":
    main()
