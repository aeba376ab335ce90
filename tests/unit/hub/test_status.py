"""Health, statistics and the maintenance status: what they say, and what they say when nothing is known."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hub_harness import APPLY, PROPOSALS

from homeostat.model.settings import SelfImprovementSettings
from homeostat.ports.proving import ProofRuns
from homeostat.rollout.token import rollback_token
from homeostat.testing.fake_prover import test_run as run_of
from homeostat.testing.world import WORLD_SETTINGS

KPIS = {
    "system_health_score",
    "actions_executed",
    "proposals_generated",
    "proposals_executed",
    "proposals_accepted",
    "files_integrated",
    "files_quarantined",
    "last_rollback_token",
}
STORE = ("proposals", "records", "ledger", "findings", "vitals", "actors")


def assert_documented(body):
    assert set(body) == {"ok", "ts", "overall", "homeostasis", "self_improvement", "self_incorporation", "kpis"}
    assert set(body["overall"]) == {"runlevel", "health_percent", "critical_health_percent", "overall_running"}
    assert set(body["homeostasis"]) == {"available", "running", "orchestrator", "health", "si_health_contribution"}
    assert set(body["kpis"]) == KPIS
    assert datetime.fromisoformat(body["ts"]).tzinfo is not None
    # What is not there says so; it is never shown as healthy.
    assert body["overall"]["runlevel"] == "UNKNOWN" and body["overall"]["health_percent"] is None
    assert body["homeostasis"]["available"] is False and body["self_incorporation"]["available"] is False


def test_the_maintenance_status_has_every_documented_field(served, owner):
    identity = served.submit()
    owner.post(APPLY, json={"proposal_id": identity})
    answer = owner.get("/api/maintenance/status")
    body = answer.json()
    assert answer.status_code == 200
    assert_documented(body)
    assert body["ok"] is True and body["overall"]["overall_running"] is True
    service = body["self_improvement"].pop("service")
    assert (service["name"], service["status"]) == ("self_improvement_engine", "HEALTHY") and service["uptime_s"] >= 0
    assert body["self_improvement"] == {
        "available": True,
        "status": {
            "improvement_active": True,
            "total_proposals": 1,
            "hmr_enabled": True,
            "auto_reload": None,
            "awaiting_restart": 0,
            "host_processes": 1,
            "requests": None,
            "taken_back_lately": [],
            "troubles": {},
        },
    }
    counted = {name: body["kpis"][name] for name in ("proposals_generated", "proposals_executed", "proposals_accepted")}
    assert set(counted.values()) == {1}


def test_the_last_rollback_is_the_one_that_was_taken_back_last(served, owner):
    """Not the one whose proposal is the newest."""
    first = served.submit()
    owner.post(APPLY, json={"proposal_id": first})
    second = served.submit("--- /dev/null\n+++ b/other.py\n@@ -0,0 +1 @@\n+value = 1\n")
    assert owner.post(APPLY, json={"proposal_id": second}).json()["ok"]
    for identity in (second, first):
        served.world.clock.move(timedelta(seconds=10))
        owner.post(f"{PROPOSALS}/{identity}/revert", json={})
        served.settle()
    token = owner.get("/api/maintenance/status").json()["kpis"]["last_rollback_token"]
    assert token == rollback_token(served.row(first))
    assert owner.get(f"{PROPOSALS}/{token}").json()["rollback_token"] == token


@pytest.mark.parametrize("nouns", [("proposals",), STORE], ids=["rows", "everything"])
def test_the_maintenance_status_is_a_200_with_all_fields_also_when_the_store_fails(served, owner, nouns):
    served.without_store(*nouns)
    answer = owner.get("/api/maintenance/status")
    assert answer.status_code == 200
    assert_documented(answer.json())
    assert answer.json()["ok"] is False and answer.json()["self_improvement"]["available"] is False
    assert set(answer.json()["kpis"].values()) == {None}


def test_the_engine_says_how_long_it_has_been_up_and_that_it_is_degraded(served, owner):
    served.world.clock.move(timedelta(seconds=90))
    served.context.troubles.note("recording", "Git is locked")
    service = owner.get("/api/maintenance/status").json()["self_improvement"]["service"]
    assert service["status"] == "DEGRADED" and 90 <= service["uptime_s"] < 91


@pytest.mark.parametrize("nouns", [("proposals",), STORE], ids=["rows", "everything"])
def test_the_statistics_are_a_200_that_says_unavailable_when_the_store_fails(served, owner, nouns):
    served.without_store(*nouns)
    answer = owner.get("/api/stats")
    assert (answer.status_code, answer.json()) == (
        200,
        {"self_improvement_engine": {"enabled": True, "status": "unavailable", "proposals_pending": None}},
    )


def test_a_stranger_learns_nothing_from_them_while_the_store_fails(served):
    served.submit()
    served.context.troubles.note("recording", "secret trouble")
    served.without_store(*STORE)
    for path in ("/api/stats", "/api/maintenance/status"):
        told = served.client(None).get(path).text
        assert "secret" not in told and "lock" not in told
        assert served.client(None).post(path).status_code == 401


def test_the_statistics_count_what_waits_and_say_busy_while_a_flow_works(served, owner):
    def stats():
        return owner.get("/api/stats").json()["self_improvement_engine"]

    assert stats() == {"enabled": True, "status": "idle", "proposals_pending": 0}
    identity = served.submit()
    assert stats() == {"enabled": True, "status": "idle", "proposals_pending": 1}
    seen = []
    served.world.prover.script(lambda job: seen.append(stats()) or _passing())
    served.submit("--- /dev/null\n+++ b/other.py\n@@ -0,0 +1 @@\n+value = 1\n")
    assert seen == [{"enabled": True, "status": "busy", "proposals_pending": 2}]
    owner.post(f"{PROPOSALS}/{identity}/reject", json={"reason": "no"})
    assert stats()["proposals_pending"] == 1


def _passing():
    run = run_of({"tests/test_it.py::test_it": "passed"})
    return ProofRuns(sandbox="bubblewrap", base=run, candidate=run)


def test_switched_off_it_says_so(serve):
    with serve(replace(WORLD_SETTINGS, self_improvement=SelfImprovementSettings(enabled=False))) as served:
        assert served.client().get("/api/stats").json()["self_improvement_engine"]["enabled"] is False


def test_the_health_probes_need_no_token_and_tell_no_details(served):
    stranger = served.client(None)
    assert stranger.get("/health/live").json() == {"status": "ok"}
    assert stranger.get("/health/ready").json() == {"status": "ok", "problems": []}
    served.context.troubles.note("recording", "secret trouble")
    answer = stranger.get("/health/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "degraded", "problems": ["recording"]})
    served.context.troubles.clear("recording")
    served.without_store("ledger", "actors")
    answer = stranger.get("/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "degraded", "problems": ["store"]})
    assert stranger.get("/health/live").status_code == 200
