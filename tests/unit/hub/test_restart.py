"""Restarting over HTTP: who may, what is answered, and what waits."""

import pytest
from hub_harness import BOT_TOKEN, UNKNOWN

from homeostat.model.restart import RestartPhase

RESTART = "/api/restart"
APPLY = "/api/selfimprove/apply"
DIFF = (
    "--- a/shop.py\n+++ b/shop.py\n@@ -2,4 +2,4 @@\n     return PRICES[coupon]\n \n \n"
    "-PRICES = {'A': 1}\n+PRICES = {'A': 2}\n"
)


@pytest.fixture
def waiting(served):
    """Return the id of a change that waits for a restart."""
    identity = served.submit(DIFF)
    answer = served.client().post(APPLY, json={"proposal_id": identity}).json()
    assert answer["ok"] and answer["restart_required"], answer
    return identity


def test_what_waits_is_shown_with_the_command_to_type(served, waiting):
    served.world.restarter.supervise("web")
    body = served.client().get(RESTART).json()
    assert body["command"] == "homeostat restart" and body["automatic"] is False
    assert [item["proposal_id"] for item in body["waiting"]] == [waiting]
    assert body["waiting"][0]["waits_s"] >= 0 and body["waiting"][0]["request_id"] is None
    assert body["programs"][0]["id"] == "web" and body["programs"][0]["phase"] is None
    shown = served.client().get(f"/api/selfimprove/proposals/{waiting}").json()
    assert shown["restart_command"] == "homeostat restart"
    status = served.client().get("/api/maintenance/status").json()
    assert status["self_improvement"]["status"]["awaiting_restart"] == 1


def test_a_restart_is_accepted_and_can_be_followed(served, waiting):
    served.world.restarter.supervise("web")
    answer = served.client().post(RESTART, json={"proposal_id": waiting[:8]})
    assert answer.status_code == 202
    request_id = answer.json()["request_id"]
    assert answer.json()["waiting"][0]["request_id"] == request_id
    assert served.client().post(RESTART, json={}).json()["request_id"] == request_id
    served.world.restarter.end("web", RestartPhase.FAILED, reason="no", last_words="boom", pid=4711)
    (program,) = served.client().get(RESTART).json()["programs"]
    assert (program["request_id"], program["phase"], program["reason"], program["last_words"]) == (
        request_id,
        "failed",
        "no",
        "boom",
    )


def test_where_nothing_can_be_restarted_it_is_a_404_with_a_way_out(served, waiting):
    answer = served.client().post(RESTART, json={})
    assert answer.status_code == 404
    assert answer.json()["title"] == "nothing-to-restart" and "--supervise" in answer.json()["hint"]


def test_a_bot_cannot_restart(served, waiting):
    served.world.restarter.supervise("web")
    assert served.client(BOT_TOKEN).post(RESTART, json={}).status_code == 403
    assert served.world.restarter.calls == []
    assert served.client(BOT_TOKEN).get(RESTART).status_code == 200


def test_a_change_that_does_not_wait_or_is_not_there_is_refused(served):
    served.world.restarter.supervise("web")
    identity = served.submit()
    answer = served.client().post(RESTART, json={"proposal_id": identity})
    assert (answer.status_code, answer.json()["title"]) == (400, "no-restart-needed")
    assert served.client().post(RESTART, json={"proposal_id": UNKNOWN}).status_code == 404
    assert served.client().post(RESTART, json={"more": 1}).status_code == 400
    assert served.world.restarter.calls == []
