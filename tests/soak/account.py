"""The account: what was accepted against what is there, and every failed request against what was killed."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from e2e.support.load import get
from e2e.support.processes import wait_for

from soak.service import PRICES_PATH
from soak.stage import Kill, Stage
from soak.stream import Entry, Stream

AROUND_KILL_S = 3.0
"""A request that was on its way when its process was killed may have begun so long before, or be noticed so late."""


def lost(stage: Stage, stream: Stream) -> list[str]:
    """Return what was accepted and is not there. Asked while the hub is up and nothing is in motion."""
    missing = []
    for entry in stream.journal.entries.values():
        answer = stream.ask("GET", f"/api/selfimprove/proposals/{entry.id}", token=stream.owner)
        if answer.status_code != 200:
            missing.append(f"{entry.kind} {entry.number}: the proposal is lost ({answer.status_code})")
            continue
        missing += _lost_of(entry, answer.json())
    return missing + _half_applied(stage)


def _lost_of(entry: Entry, row: Mapping[str, Any]) -> list[str]:
    name = f"{entry.kind} {entry.number}"
    log = " ".join(row["log"])
    wrong = []
    if entry.applied and " approved: " not in log:
        wrong.append(f"{name}: its approval is lost")
    if entry.applied and row["state"] not in ("implemented", "reverted", "failed", "observing"):
        wrong.append(f"{name}: was applied and is {row['state']}: {row['state_reason']}")
    if entry.rejected and row["state"] != "rejected":
        wrong.append(f"{name}: was rejected and is {row['state']}")
    if entry.kind == "harmful" and row["state"] in ("implemented", "observing"):
        wrong.append(f"{name}: is harmful and {row['state']}: {row['state_reason']}")
    if entry.kind == "wrong" and row["state"] not in ("blocked", "awaiting_approval"):
        wrong.append(f"{name}: breaks the tests and is {row['state']}")
    return wrong


def _half_applied(stage: Stage) -> list[str]:
    """Return where head, checkout and running workers differ."""
    wrong = []
    if stage.shop.git("status", "--porcelain"):
        wrong.append(f"the checkout is not clean: {stage.shop.git('status', '--porcelain')}")
    text = stage.shop.git("show", f"HEAD:{PRICES_PATH}")
    seen: dict[int, Any] = {}
    for _ in range(60):
        answer = get(stage.url, "/number")[1]
        if isinstance(answer, dict):
            seen[answer["pid"]] = answer
    for pid, answer in seen.items():
        if f"return {answer['number']}\n" not in text or f"ROUND = {answer['round']}\n" not in text:
            wrong.append(f"worker {pid} runs version {answer['number']}, which is not what HEAD has")
    if len(seen) != 2:
        wrong.append(f"{len(seen)} workers answer")
    return wrong


def wait_until_at_rest(stream: Stream) -> list[str]:
    """Wait until nothing is in motion; return what still is."""

    def moving() -> list[str]:
        rows = stream.ask("GET", "/api/selfimprove/proposals?limit=1000", token=stream.owner).json()["proposals"]
        at_work = ("pending", "validating", "approved", "applying", "canary", "observing")
        at_work += ("awaiting_restart", "reverting")
        return [f"{row['title']} is {row['state']}: {row['state_reason']}" for row in rows if row["state"] in at_work]

    try:
        wait_for(lambda: not moving(), what="everything to be at rest", within_s=180, pause_s=1)
    except AssertionError:
        return moving()
    return []


def requests(stage: Stage, entries: Sequence[Entry]) -> tuple[Counter[str], list[str]]:
    """Return the answers by kind, and the failed requests that nothing explains."""
    counts: Counter[str] = Counter()
    unexplained: list[str] = []
    harmful = [(item.asked_at, item.settled_at) for item in entries if item.kind == "harmful" and item.asked_at]
    for line in stage.load_file.read_text().splitlines():
        second = json.loads(line)
        counts.update(second["counts"])
        unexplained += [
            f"{bad['kind']} answered {bad['status']} at {bad['began']:.1f} to {bad['ended']:.1f}"
            for bad in second["bad"]
            if not _explained(bad, stage.kills, harmful)
        ]
    return counts, unexplained


def _explained(bad: Mapping[str, Any], kills: Sequence[Kill], harmful: Sequence[tuple[float, float]]) -> bool:
    began, ended = bad["began"], bad["ended"]
    if bad["status"] == 0:
        return any(
            kill.until and began <= kill.until + AROUND_KILL_S and ended >= kill.at - AROUND_KILL_S for kill in kills
        )
    in_force = any(start <= ended and (not end or began <= end + AROUND_KILL_S) for start, end in harmful)
    return bad["kind"] == "many" and bad["status"] == 500 and in_force
