"""`homeostat status`: what runs, and what is under way."""

import json
from datetime import timedelta

import pytest

from homeostat.cli.output import span
from homeostat.flows.reloading import Reloading
from homeostat.model.reload import ReloadOutcome, ReloadReport
from homeostat.model.restart import RestartPhase
from homeostat.testing.memory_files import MemoryEditedFiles

DIFF = (
    "--- a/shop.py\n+++ b/shop.py\n@@ -2,4 +2,4 @@\n     return PRICES[coupon]\n \n \n"
    "-PRICES = {'A': 1}\n+PRICES = {'A': 2}\n"
)


@pytest.fixture
def waiting(hub):
    hub.world.restarter.supervise("web", command="uvicorn")
    identity = hub.submit(DIFF)
    assert hub.client().post("/api/selfimprove/apply", json={"proposal_id": identity}).json()["restart_required"]
    return identity


def test_it_shows_hub_programs_processes_and_what_waits(hub, typed, waiting):
    answer = typed("status")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0].startswith("hub\thttp://127.0.0.1:") and "\twell, up for " in lines[0]
    assert "program\tuvicorn\tprocess 4711" in lines
    assert any(line.startswith("process\t") and "connected, commit " in line for line in lines)
    assert any(line.startswith(f"awaiting restart\t{waiting[:8]}\tMend: ") for line in lines)


def test_a_restart_that_failed_and_a_process_that_was_lost_are_shown_as_what_they_are(hub, typed, waiting):
    hub.client().post("/api/restart", json={})
    hub.world.restarter.end("web", RestartPhase.FAILED, reason="it ended with code 3", pid=None)
    hub.world.live.end(next(iter(hub.world.live.processes())).id)
    answer = typed("status")
    assert "program\tuvicorn\tdoes not run, or elsewhere, last restart failed: it ended with code 3" in answer.out
    assert "no process has called" in answer.err


def test_troubles_in_the_background_are_named(hub, typed):
    hub.context.troubles.note("recovering", "git is locked")
    answer = typed("status")
    assert answer.code == 0
    assert "\tin trouble, up for " in answer.out and "trouble\trecovering\tgit is locked" in answer.out


def test_its_json_is_versioned_and_whole(hub, typed, waiting):
    body = json.loads(typed("status", "--json").out)
    assert body["schema"] == 1 and set(body) >= {
        "hub",
        "programs",
        "processes",
        "changes",
        "under_way",
        "findings_open",
    }
    assert [item["proposal_id"] for item in body["changes"]] == [waiting]
    assert body["under_way"] == {"reverting": 0, "approved": 1, "pending": 0} and body["hub"]["troubles"] == {}
    assert body["processes"][0]["connected"] is True


def test_without_a_hub_it_is_a_4_with_the_way_out(repository, typed):
    answer = typed("status")
    assert answer.code == 4 and "homeostat up" in answer.err


@pytest.mark.parametrize(
    ("seconds", "words"), [(5.9, "5 s"), (61, "1 min 1 s"), (7322, "2 h 2 min"), (90_000, "1 d 1 h")]
)
def test_times_are_shown_in_their_two_largest_units(seconds, words):
    assert span(seconds) == words


def test_it_says_whether_saves_go_live_and_what_became_of_the_last(hub, typed):
    assert "auto-reload" not in typed("status").out
    told = []
    files = MemoryEditedFiles(hub.world.clock.now)
    reloading = Reloading(hub.world.deps, hub.world.live, files, tell=told.append)
    object.__setattr__(hub.context, "reloading", reloading)
    assert "auto-reload\ton\tnothing was saved yet" in typed("status").out
    at = hub.world.clock.now()
    reloading.last = ReloadReport(
        at=at, outcome=ReloadOutcome.RELOADED, files=("shop.py",), functions=("shop:price",), processes=2, took_ms=14.2
    )
    assert "reloaded shop.py: price in 2 processes, 14 ms" in typed("status").out
    last = json.loads(typed("status", "--json").out)["hub"]["auto_reload"]["last"]
    assert (last["outcome"], last["files"], last["processes"]) == ("reloaded", ["shop.py"], 2)


def test_it_says_how_requests_fare_and_what_may_have_stayed_of_a_change_that_was_taken_back(hub, typed):
    assert "requests\t" not in typed("status").out
    identity = hub.submit()
    assert hub.client().post("/api/selfimprove/apply", json={"proposal_id": identity}).json()["ok"]
    assert f", live: {identity[:8]}\n" in typed("status").out
    assert typed("revert", identity).code == 0
    hub.world.serve(seconds=60, requests=10, errors=1)
    quiet = typed("status")
    assert "requests\t10/s\t10.00% of 600 in the last minute failed\n" in quiet.out and "though" not in quiet.err
    hub.world.serve(seconds=60, requests=10, errors=9)
    told = typed("status")
    assert "90.00% of 600 in the last minute failed" in told.out
    assert f"though a change was taken back ({identity[:8]})" in told.err and "homeostat restart" in told.err
    hub.world.clock.move(timedelta(hours=2))
    hub.world.serve(seconds=60, requests=10, errors=9)
    assert "though" not in typed("status").err
