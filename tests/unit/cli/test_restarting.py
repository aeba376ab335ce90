"""`homeostat restart`: what it says, and its exit codes."""

import json
import threading
from datetime import timedelta

import pytest
from agents_harness import wait_for

from homeostat.flows.observing import observe
from homeostat.flows.recovering import recover
from homeostat.flows.restarting import watch_restarts
from homeostat.model.proposal import REVERT_WAITS
from homeostat.model.restart import RestartPhase
from homeostat.testing.world import PROCESS, SOURCE

DIFF = (
    "--- a/shop.py\n+++ b/shop.py\n@@ -2,4 +2,4 @@\n     return PRICES[coupon]\n \n \n"
    "-PRICES = {'A': 1}\n+PRICES = {'A': 2}\n"
)


@pytest.fixture
def waiting(hub):
    hub.world.restarter.supervise("web")
    identity = hub.submit(DIFF)
    assert hub.client().post("/api/selfimprove/apply", json={"proposal_id": identity}).json()["restart_required"]
    return identity


def end_later(hub, phase, **how):
    """Let the restart end as soon as it was begun, and the hub see it."""

    def end():
        wait_for(lambda: hub.world.restarter.calls, what="a restart")
        hub.world.restarter.end("web", phase, **how)
        watch_restarts(hub.world.deps, look_anyway=True)

    thread = threading.Thread(target=end, daemon=True)
    thread.start()
    return thread


def test_a_restart_that_fails_is_a_1_that_names_reason_last_words_and_what_became_of_the_change(hub, typed, waiting):
    ending = end_later(hub, RestartPhase.FAILED, reason="it ended with code 3", last_words="NameError: x", pid=4711)
    answer = typed("restart", waiting[:8])
    ending.join(20)
    assert answer.code == 1
    assert "it ended with code 3" in answer.out and "NameError: x" in answer.out
    assert f"{waiting[:8]} Mend: reverted" in answer.out
    assert "failed" in answer.err and "waits since" in answer.err


def test_its_json_is_versioned_and_whole(hub, typed):
    hub.world.restarter.supervise("web")
    ending = end_later(hub, RestartPhase.DONE)
    answer = typed("restart", "--json")
    ending.join(20)
    body = json.loads(answer.out)
    assert answer.code == 0 and body["schema"] == 1 and body["ok"] is True and body["changes"] == []
    assert body["programs"][0]["phase"] == "done" and body["programs"][0]["request_id"] == body["request_id"]


def test_a_revert_that_the_restart_completes_is_said(hub, typed, waiting):
    world = hub.world
    world.clock.move(timedelta(seconds=1))
    start_anew(world, "2", SOURCE.replace("{'A': 1}", "{'A': 2}"))
    observe(world.deps, waiting)
    assert hub.client().post(f"/api/selfimprove/proposals/{waiting}/revert", json={}).status_code == 202
    wait_for(lambda: hub.row(waiting).state_reason.startswith(REVERT_WAITS), what="the files to be back")

    def end():
        wait_for(lambda: world.restarter.calls, what="a restart")
        start_anew(world, "3", SOURCE)
        world.restarter.end("web", RestartPhase.DONE)
        recover(world.deps)

    ending = threading.Thread(target=end, daemon=True)
    ending.start()
    answer = typed("restart", waiting[:8])
    ending.join(20)
    assert answer.code == 0 and f"{waiting[:8]} Mend: reverted" in answer.out
    assert "taken back on disk and runs still" in answer.err and "its revert is complete" in answer.err


def start_anew(world, number, source):
    """Let the program end, and be there again in a process that has read this source."""
    world.live.end(world.live.processes()[0].id)
    world.clock.move(timedelta(seconds=1))
    world.live.attach(world.process(identity=PROCESS[:-1] + number), loaded={"shop.py": source})
    world.clock.move(timedelta(seconds=1))


def test_nothing_to_restart_is_a_1_with_a_way_out(hub, typed):
    answer = typed("restart")
    assert answer.code == 1 and "error[nothing-to-restart]" in answer.err and "restart.command" in answer.err


def test_a_supervisor_that_is_gone_in_the_middle_is_a_6(hub, typed, waiting):
    def lose():
        wait_for(lambda: hub.world.restarter.calls, what="a restart")
        hub.world.restarter.lose("web")

    losing = threading.Thread(target=lose, daemon=True)
    losing.start()
    answer = typed("restart")
    losing.join(20)
    assert answer.code == 6 and "error[supervisor-silent]" in answer.err


def test_an_application_that_needs_a_restart_names_the_command(hub, typed):
    identity = hub.submit(DIFF)
    answer = typed("proposals", "apply", identity)
    assert answer.code == 0 and "next: homeostat restart" in answer.err
