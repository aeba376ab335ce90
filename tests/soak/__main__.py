"""Run the soak and print its report; exit code 1 when anything was lost."""

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soak import account
from soak.gauges import Gauges, growth
from soak.mayhem import Mayhem
from soak.stage import Stage
from soak.stream import Stream

QUIET_SHARE = 0.25
"""Of the time, at the end: the hub is left alone then, so that its growth can be seen."""

MAX_GROWTH_MB_PER_MIN = 2.0
LEAST_MIN = 5
"""A run of so many minutes must have seen a change through to its end, and says how the hub grows."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("SOAK_MINUTES") or 60))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SOAK_SEED") or 1))
    parser.add_argument("--report", type=Path, default=Path("soak-report.json"))
    parser.add_argument("--keep", action="store_true", help="keep the folder, with all logs")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="homeostat-soak-"))
    stage = Stage(folder)
    failed = True
    try:
        report = run(stage, minutes=options.minutes, seed=options.seed)
        options.report.write_text(json.dumps(report, indent=2) + "\n")
        failed = bool(report["wrong"])
        show(report)
    finally:
        stage.end()
        if options.keep or failed:
            print(f"logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


def run(stage: Stage, *, minutes: float, seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    stage.start_hub()
    stage.wait_for_hub()
    stage.start_service()
    stage.wait_for_service()
    stream, mayhem, gauges = Stream(stage, random.Random(seed + 1)), Mayhem(stage, rng), Gauges(stage)
    stage.start_load()
    for part in (gauges, stream, mayhem):
        part.start()
    began_s = time.monotonic()
    while (elapsed_s := time.monotonic() - began_s) < minutes * 60:
        if elapsed_s > minutes * 60 * (1 - QUIET_SHARE):
            mayhem.quiet_hub.set()
        time.sleep(min(15.0, max(minutes * 60 - elapsed_s, 0.1)))
        tell(stage, stream, elapsed_s)
        if stream.failure or mayhem.failure:
            break
    mayhem.close()
    stream.close()
    ends = (("stream", stream.failure), ("mayhem", mayhem.failure))
    wrong = [f"the {name} ended: {why}" for name, why in ends if why]
    return conclude(stage, stream, gauges, wrong, elapsed_s=time.monotonic() - began_s, seed=seed)


def conclude(
    stage: Stage, stream: Stream, gauges: Gauges, wrong: list[str], *, elapsed_s: float, seed: int
) -> dict[str, Any]:
    stage.wait_for_hub()
    stage.wait_for_service()
    wrong += account.wait_until_at_rest(stream)
    wrong += account.lost(stage, stream)
    wrong += [f"stuck: {item}" for item in stream.journal.stuck]
    wrong += [f"the hub failed to answer {item}" for item in stream.journal.bugs]
    if elapsed_s >= LEAST_MIN * 60 and all(item.state != "implemented" for item in stream.journal.entries.values()):
        wrong.append("no change was implemented")
    doctor = stage.homeostat("doctor", "--json")
    gauges.close()
    stage.stop(stage.load)
    counts, unexplained = account.requests(stage, list(stream.journal.entries.values()))
    wrong += unexplained[:20]
    assert stage.hub is not None and stage.service is not None
    stage.stop(stage.service)
    stage.stop(stage.hub)
    verify = stage.homeostat("verify")
    if verify.returncode != 0:
        wrong.append(f"homeostat verify: {verify.stdout} {verify.stderr}")
    wrong += broken(json.loads(doctor.stdout))
    hub_growth = growth(gauges.hub)
    if hub_growth.get("rss_mb_per_min", 0) > MAX_GROWTH_MB_PER_MIN and hub_growth["lived_min"] >= LEAST_MIN:
        wrong.append(f"the hub grows by {hub_growth['rss_mb_per_min']} MB a minute")
    latencies = sorted(stream.journal.latencies_s)
    return {
        "seed": seed,
        "minutes": round(elapsed_s / 60, 1),
        "wrong": wrong,
        "kills": Counter(kill.what for kill in stage.kills),
        "starts": stage.restarts,
        "proposals": Counter(f"{item.kind}: {item.state}" for item in stream.journal.entries.values()),
        "tried_on_a_share": Counter(
            f"{item.kind}: {item.state}" for item in stream.journal.entries.values() if item.id in stream.journal.tried
        ),
        "answers_of_the_hub": stream.journal.answers,
        "apply_s_median": round(statistics.median(latencies), 2) if latencies else None,
        "requests": counts,
        "requests_unexplained": len(unexplained),
        "hub": hub_growth,
        "service_worker": growth(gauges.workers),
        "state_mb": gauges.sizes_mb[-1] if gauges.sizes_mb else {},
        "wal_mb_max": max((item["homeostat.sqlite-wal"] for item in gauges.sizes_mb), default=0.0),
        "own_disk": stage.has_own_disk,
    }


def broken(doctor: Mapping[str, Any]) -> list[str]:
    """Return what `homeostat doctor` calls failed."""
    return [f"doctor: {item['name']}: {item['detail']}" for item in doctor["diagnoses"] if item["level"] == "fail"]


def tell(stage: Stage, stream: Stream, elapsed_s: float) -> None:
    states = Counter(item.state for item in stream.journal.entries.values())
    shown = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    print(f"{elapsed_s / 60:6.1f} min  {len(stage.kills)} kills  {stage.restarts['hub']} hubs  {shown}", flush=True)


def show(report: Mapping[str, Any]) -> None:
    for name, value in report.items():
        if name != "wrong":
            print(f"{name}: {dict(value) if isinstance(value, Mapping) else value}")
    print("lost, half applied or unexplained: " + ("; ".join(report["wrong"]) or "nothing"))


if __name__ == "__main__":
    sys.exit(main())
