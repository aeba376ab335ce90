"""How long a harmful change runs on its share of the calls, from its first failure until everything is back.

Run: ``python -m bench takeback``. A FastAPI service with two uvicorn workers and a real hub, which is asked over
HTTP; only the proofs are left out, since nothing of them is measured. 200 requests/s come from a process of its own.
Of 1 % of them the code makes an error; a change that makes it of 30 % is applied, on 10 % of the calls first. The time
runs from the first error of the new code until its last answer, and until the proposal's row says *reverted*. Each
round is a change of its own, since what was taken back is locked out.

Limit: 3 s, p95.
"""

import contextlib
import socket
import sqlite3
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from bench.figures import Figure, number
from bench.hub import percentile
from bench.project import project, wait_for
from bench.steady import Steady, steady
from homeostat.audit.chain import parse_utc_text

_ROUNDS = 20
_RATE = 200.0
_WORKERS = 2
_MOST_S = 3.0
_APP = """
import pricing
from fastapi import FastAPI, HTTPException

app = FastAPI()


@app.get("/price")
async def price(quantity: int = 1):
    try:
        return pricing.price(quantity)
    except pricing.Overloaded as error:
        raise HTTPException(503, str(error))
"""
_PRICING = """import random


class Overloaded(Exception):
    pass


def price(quantity):
    if random.random() < 0.01:
        raise Overloaded("old")
    return {"code": "old", "cents": 450 * quantity}
"""
_DIFF = """--- a/pricing.py
+++ b/pricing.py
@@ -8,4 +8,4 @@
 def price(quantity):
-    if random.random() < 0.01:
-        raise Overloaded("old")
-    return {"code": "old", "cents": 450 * quantity}
+    if random.random() < 0.30:  # ROUND
+        raise Overloaded("new")
+    return {"code": "new", "cents": 450 * quantity}
"""
_SETTINGS = """
[host]
test_command = ["true"]

[hmr]
enabled = true

[canary]
steps = [10]
step_s = 60
"""
_PROPOSALS = "/api/selfimprove/proposals"
_AFTER_S = 0.5


def main() -> dict[str, float]:
    """Measure, print a table, and return seconds by name."""
    files = {"app.py": _APP, "pricing.py": _PRICING}
    with project(files, settings=_SETTINGS) as made, steady() as load:
        client = made.start_hub("-m", "bench.unproved_hub", str(made.root))
        port = made.free_port()
        words = ("-m", "uvicorn", "app:app", "--port", str(port), "--workers", str(_WORKERS), "--log-level", "error")
        made.start_program(*words, "--no-access-log", agent=True)
        wait_for(lambda: _attached(client) == _WORKERS + 1, "the workers")
        wait_for(lambda: _listens(port), "the service")
        base = made.git("rev-parse", "HEAD")
        database = made.root / ".homeostat" / "homeostat.sqlite"
        rounds = [_round(client, load, port, database, base, index) for index in range(_ROUNDS)]
        client.close()
    found: dict[str, float] = {}
    for what in rounds[0]:
        values = [item[what] for item in rounds]
        found |= {f"{what}, p50": statistics.median(values), f"{what}, p95": percentile(values, 0.95)}
        print(f"{what:<56}{found[f'{what}, p50']:>10.2f}{found[f'{what}, p95']:>10.2f}")
    return found


def _attached(client: httpx.Client) -> int:
    return sum(bool(item["connected"]) for item in client.get("/api/processes").json()["processes"])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _round(client: httpx.Client, load: Steady, port: int, database: Path, base: str, index: int) -> dict[str, float]:
    asked = {"title": f"Refuse more {index}", "rationale": "a figure", "diff": _DIFF.replace("ROUND", str(index))}
    answer = client.post(_PROPOSALS, json={**asked, "base_commit": base})
    answer.raise_for_status()
    identity = answer.json()["proposal_id"]
    wait_for(lambda: _row(client, identity)["state"] == "awaiting_approval", "the proof", pause_s=0.02)
    load.begin(port, "/price?quantity=3", rate=_RATE)
    try:
        digest = _row(client, identity)["change_digest"]
        body = {"proposal_id": identity, "change_digest": digest}
        client.post("/api/selfimprove/apply", json=body).raise_for_status()

        def is_reverted() -> bool:
            row = _row(client, identity)
            assert row["state"] in ("approved", "applying", "canary", "reverting", "reverted"), row
            return row["state"] == "reverted"

        wait_for(is_reverted, "the row that says reverted", pause_s=0.02)
        time.sleep(_AFTER_S)
    finally:
        answered = load.end()
    first_s = answered.first_s["503 new"]
    moved_s = moves_s(database, identity)
    last_s = max(answered.last_s["503 new"], answered.last_s["200 new"])
    return {
        "until the last answer of the new code (s)": last_s - first_s,
        "until the row says reverted (s)": moved_s["proposal.reverted"] - first_s,
        "of it, until it is judged (s)": moved_s["proposal.canary_ended"] - first_s,
        "answers of the new code": float(answered.counts["503 new"] + answered.counts["200 new"]),
        "errors of the new code": float(answered.counts["503 new"]),
        "latency p99 (ms)": answered.latency_ms["p99"],
    }


def moves_s(database: Path, identity: str) -> dict[str, float]:
    """Return when a proposal first moved, by kind of entry in the ledger; as times of `time.monotonic`.

    No poll is quick enough to see every state: the next one may follow at once.
    """
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
        rows = opened.execute("SELECT kind, at FROM ledger WHERE subject = ? ORDER BY seq DESC", (identity,)).fetchall()
    behind_s = time.time() - time.monotonic()
    return {kind: parse_utc_text(at).timestamp() - behind_s for kind, at in rows}


def _row(client: httpx.Client, identity: str) -> Mapping[str, str]:
    row: Mapping[str, str] = client.get(f"{_PROPOSALS}/{identity}").json()
    return row


FOUND = """Most of it is the judge's: so many calls it takes until chance cannot have made the errors. Each process
tells of its canary four times a second, the hub looks when it has heard, and takes back before it writes a commit.
With vitals once a second, a look at each beat and the commit first it took 2.9 s, and 5.2 s in the slowest of four."""


def figures(results: dict[str, float]) -> list[Figure]:
    """Hold the times against their limit."""

    def pair(what: str, unit: str = "s") -> str:
        return f"{number(results[f'{what}, p95'], unit)} (p50 {number(results[f'{what}, p50'], unit)})"

    calls, errors = results["answers of the new code, p50"], results["errors of the new code, p50"]
    last, row = "until the last answer of the new code (s)", "until the row says reverted (s)"
    return [
        Figure(
            what="errors from 1 % to 30 %, 10 % of 200 requests/s: first error to the last call of the new code, p95",
            measured=pair(last),
            beside=f"of it until it is judged {pair('of it, until it is judged (s)')}; {errors:.0f} of {calls:.0f} "
            "calls of the new code failed",
            aim=f"{_MOST_S:g} s",
            met=results[f"{last}, p95"] < _MOST_S,
        ),
        Figure(
            what="the same, to the row that says reverted, p95",
            measured=pair(row),
            beside=f"a request meanwhile, p99 {number(results['latency p99 (ms), p50'], 'ms')}",
            aim=f"{_MOST_S:g} s",
            met=results[f"{row}, p95"] < _MOST_S,
        ),
    ]


if __name__ == "__main__":
    main()
