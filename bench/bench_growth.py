"""What 1,000, 10,000 and 100,000 proposals cost: listing, applying, a status commit, verifying.

Run: ``python -m bench growth``, or ``HOMEOSTAT_BENCH_PROPOSALS=1000,10000 python -m bench growth``. The
proposals are made through the real store (rows, signed ledger entries, records), a thousand to a
transaction instead of one, and their Markdown with one `git fast-import` instead of a commit each; they
are spread over three years. Applying is the whole flow on the real store and record branch; the deployed
tree and the program are those of `homeostat.testing.world`, which do not grow.

Limit: listing and applying at the largest number take at most 1.5 times what they take at the smallest, and
verifying at most 1.5 times the memory.
"""

import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import insert

from bench.figures import Figure, number
from homeostat.adapters.git.records import BRANCH, GitRecordBranch
from homeostat.adapters.git.repository import open_repository
from homeostat.adapters.keys import load_or_create_keys
from homeostat.adapters.store import SqlStore
from homeostat.adapters.store.documents import encode_proposal
from homeostat.adapters.store.records import add_to_tally, want_record
from homeostat.adapters.store.row_digest import ROW_DIGEST, row_digest
from homeostat.adapters.store.tables import proposals, records
from homeostat.audit.head import TRAILER_KEY
from homeostat.core.ids import ProposalId
from homeostat.flows.applying import request_apply
from homeostat.flows.proposing import Submission, submit
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.proposals.markdown import record_path, render
from homeostat.testing.example_rows import START, example_proposal, move_entry
from homeostat.testing.world import BOT, OWNER, World

FOUND = """
Verifying reads entries and rows piece by piece, and so takes the same memory however many there are; what it keeps of
all is one line of Git's log for each status commit. Taken at load 5, beside other programs that kept both cores busy:
the times of applying and of a commit differ from run to run by more than from column to column (a run before had 67,
90 and 153 ms for a status commit). What does grow is the folder of a month, whose list each status commit rewrites.
"""

_SIZES = [int(size) for size in os.environ.get("HOMEOSTAT_BENCH_PROPOSALS", "1000,10000,100000").split(",")]
_BATCH = 1_000
_SPAN = timedelta(days=3 * 365)
_ROUNDS = 9
_RATIO = 1.5
_STATES = [
    ProposalState.REJECTED,
    ProposalState.REJECTED,
    ProposalState.BLOCKED,
    ProposalState.EXPIRED,
    ProposalState.DEFERRED,
]


def main() -> dict[str, float]:
    """Measure, print a table, and return milliseconds (and MB) by what and number."""
    results: dict[str, float] = {}
    for size in _SIZES:
        with tempfile.TemporaryDirectory(prefix="homeostat-bench-") as name, _grown(Path(name), size) as (world, repo):
            results |= {f"{what} @{size}": value for what, value in _listing(world).items()}
            results |= {f"{what} @{size}": value for what, value in _working(world).items()}
            world.store.close()
            results |= {f"{what} @{size}": value for what, value in _verifying(repo, Path(name, "state")).items()}
        gc.collect()
    whats = list(dict.fromkeys(key.partition(" @")[0] for key in results))
    print(f"{'growth':<36}" + "".join(f"{size:>12,}" for size in _SIZES))
    for what in whats:
        print(f"{what:<36}" + "".join(f"{results[f'{what} @{size}']:>12,.2f}" for size in _SIZES))
    return results


def figures(results: dict[str, float]) -> list[Figure]:
    """Hold what may not grow against its limit, and state what grows."""
    small, large = _SIZES[0], _SIZES[-1]
    found = []
    for what in dict.fromkeys(key.partition(" @")[0] for key in results):
        values = [results[f"{what} @{size}"] for size in _SIZES]
        unit = "MB" if what.endswith("memory") else "ms"
        measured = ", ".join(f"{number(value, unit)} at {size:,}" for size, value in zip(_SIZES, values, strict=True))
        constant = what != "verify"
        ratio = values[-1] / values[0]
        found.append(
            Figure(
                what=what,
                measured=measured,
                beside=f"{number(ratio)} times from {small:,} to {large:,}",
                aim=f"at most {_RATIO} times" if constant else "linear",
                met=ratio <= _RATIO if constant else ratio <= 1.5 * large / small,
            )
        )
    return found


@contextmanager
def _grown(folder: Path, size: int) -> Iterator[tuple[World, Path]]:
    repo, state = folder / "repo", folder / "state"
    (state / "keys").mkdir(parents=True, mode=0o700)
    state.chmod(0o700)
    for command in (["init", "-q", "-b", "main", str(repo)], ["-C", str(repo), "config", "user.name", "Bench"]):
        subprocess.run(["git", *command], check=True)
    subprocess.run(["git", "-C", str(repo), "config", "user.email", "bench@localhost"], check=True)
    (repo / "shop.py").write_text("x = 1\n")
    subprocess.run(["git", "-C", str(repo), "add", "-A"], check=True)
    subprocess.run(["git", "-C", str(repo), "commit", "-qm", "start"], check=True)
    base = subprocess.run(["git", "-C", str(repo), "rev-parse", "HEAD"], capture_output=True, check=True).stdout
    world = World()
    world.clock.move(_SPAN)
    store = SqlStore.open(
        state / "homeostat.sqlite",
        signer=load_or_create_keys(state).signer,
        clock=world.clock,
        head_path=state / "ledger-head.json",
    )
    world.store = store  # type: ignore[assignment]
    git = open_repository(repo)
    nouns = ("proposals", "records", "ledger", "findings", "vitals", "actors")
    world.deps = replace(
        world.deps, record_branch=GitRecordBranch(git), **{noun: getattr(store, noun) for noun in nouns}
    )
    rows = [_row(number, size, base.decode().strip()) for number in range(size)]
    _fill_store(store, rows)
    _fill_branch(repo, rows, trailer=store.ledger.head().trailer())
    del rows
    yield world, repo


def _row(index: int, size: int, base: str) -> Proposal:
    made = START + _SPAN * index / size
    row = example_proposal(index + 1, created_at=made, updated_at=made, title=f"Change number {index}")
    change = replace(row.change, base_commit=base)
    identity = ProposalId(f"{index:08x}-0000-4000-8000-00000000beef")
    return replace(row, id=identity, change=change, state=_STATES[index % len(_STATES)], state_reason="decided")


def _fill_store(store: SqlStore, rows: list[Proposal]) -> None:
    for batch in (rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)):
        with store.ledger.transaction() as current:
            for row in batch:
                columns = encode_proposal(row)
                current.connection.execute(insert(proposals), columns)
                entry = move_entry(row, "submitted", row.state)
                written = current.append(replace(entry, body={**entry.body, ROW_DIGEST: row_digest(columns)}))
                add_to_tally(current.connection, row, state=row.state.value, by=1)
                want_record(current.connection, row.id, version=row.version, seq=written.seq)
            current.connection.execute(records.update().values(made_version=records.c.wanted_version))


def _fill_branch(repo: Path, rows: list[Proposal], *, trailer: str) -> None:
    message = f"as made\n\n{TRAILER_KEY}: {trailer}\n".encode()
    with subprocess.Popen(["git", "-C", str(repo), "fast-import", "--quiet"], stdin=subprocess.PIPE) as importing:
        assert importing.stdin is not None
        write = importing.stdin.write
        write(b"commit refs/heads/%s\ncommitter Homeostat <homeostat@localhost> 0 +0000\n" % BRANCH.encode())
        write(b"data %d\n%s\n" % (len(message), message))
        for path, content in [(record_path(row), render(row)) for row in rows]:
            write(b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(content), content))
        importing.stdin.close()
    assert importing.returncode == 0


def _listing(world: World) -> dict[str, float]:
    from starlette.testclient import TestClient

    from homeostat.core.digests import digest_bytes
    from homeostat.flows.troubles import Troubles
    from homeostat.hub.app import create_app
    from homeostat.hub.context import HubContext
    from homeostat.hub.metrics import HubMetrics
    from homeostat.telemetry.otlp import CumulativeReader

    world.deps.actors.create(actor=OWNER, token_digest=digest_bytes(b"token"))
    context = HubContext(
        deps=world.deps,
        metrics=HubMetrics(),
        reader=CumulativeReader(),
        state_dir=Path("/nonexistent"),
        troubles=Troubles(),
        version="0",
        started_at=START,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = TestClient(create_app(context), base_url="http://127.0.0.1", headers={"Authorization": "Bearer token"})

    def get(query: str) -> Callable[[], object]:
        return lambda: client.get(f"/api/selfimprove/proposals?limit=100{query}").raise_for_status()

    return {
        "list, first page over HTTP": _median_ms(get("")),
        "list, one status": _median_ms(get("&status=deferred")),
        "list, a status of two states": _median_ms(get("&status=rejected")),
        "list, a status that nobody has": _median_ms(get("&status=implemented")),
    }


def _working(world: World) -> dict[str, float]:
    applying, recording, handing_in = [], [], []
    for index in range(_ROUNDS):
        path = f"new_{index}.py"
        diff = f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+value = {index}\n"
        started_s = time.perf_counter()
        outcome = submit(world.deps, Submission(title=f"Add {path}", rationale="Wanted.", diff=diff), actor=BOT)
        handing_in.append(time.perf_counter() - started_s)
        assert isinstance(outcome, Proposal), outcome
        world.run()
        started_s = time.perf_counter()
        asked = request_apply(world.deps, outcome.id, actor=OWNER, seen=None)
        world.run()
        applying.append(time.perf_counter() - started_s)
        assert isinstance(asked, Proposal), asked
        row = world.deps.proposals.get(outcome.id)
        assert row is not None and row.state is ProposalState.OBSERVING, row
        started_s = time.perf_counter()
        world.deps.record_branch.publish(
            files={record_path(row): render(row) + b"\n"}, subject="x", trailers={"X": "y"}, at=row.updated_at
        )
        recording.append(time.perf_counter() - started_s)
    return {
        "hand in": statistics.median(handing_in) * 1000,
        "apply, with its status commits": statistics.median(applying) * 1000,
        "a status commit alone": statistics.median(recording) * 1000,
    }


def _verifying(repo: Path, state: Path) -> dict[str, float]:
    """Verify in a process of its own, whose memory is then known."""
    script = (
        "import re,sys,time\nfrom pathlib import Path\n"
        "from homeostat.adapters.story import check_story\n"
        "def peak(): return int(re.search('VmHWM:\\\\s+([0-9]+)', Path('/proc/self/status').read_text())[1])\n"
        "idle=peak()\nstart=time.perf_counter()\n"
        "checks=check_story(Path(sys.argv[1]),Path(sys.argv[2]))\n"
        "print(time.perf_counter()-start,peak()-idle)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(repo), str(state)], capture_output=True, check=True)
    seconds, kilobytes = done.stdout.split()
    return {"verify": float(seconds) * 1000, "verify, memory": float(kilobytes) / 1024}


def _median_ms(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(_ROUNDS):
        started_s = time.perf_counter()
        work()
        times.append(time.perf_counter() - started_s)
    return statistics.median(times) * 1000
