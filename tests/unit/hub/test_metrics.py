"""The Prometheus exposition: documented names, valid text, and nothing that is not known."""

from dataclasses import replace

from hub_harness import APPLY, BATCH, PROPOSALS, UNKNOWN
from prometheus_client.parser import text_string_to_metric_families

from homeostat.core.ids import ProposalId
from homeostat.flows.observing import observe
from homeostat.model.settings import CanarySettings
from homeostat.testing.fake_live import Misbehaviour
from homeostat.testing.world import PROCESS, WORLD_SETTINGS

LOGS = {
    "resourceLogs": [
        {
            "scopeLogs": [
                {
                    "logRecords": [
                        {"severityNumber": 17, "body": {"stringValue": "it broke"}},
                        {"severityNumber": 13, "body": {"stringValue": "it creaks"}},
                        {"severityNumber": 99},
                    ]
                }
            ]
        }
    ]
}


def scrape(client):
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def values(families):
    found = {}
    for family in families.values():
        for sample in family.samples:
            found[(sample.name, *sorted(sample.labels.items()))] = sample.value
    return found


def test_the_documented_names_are_there_before_anything_happened(owner):
    families = scrape(owner)
    kinds = {name: family.type for name, family in families.items()}
    assert kinds["aetherra_selfimprove_apply"] == "counter"
    assert kinds["aetherra_selfimprove_apply_duration_seconds"] == "histogram"
    assert kinds["aetherra_selfimprove_hmr_success"] == "counter"
    assert kinds["aetherra_selfimprove_hmr_error"] == "counter"
    assert kinds["aetherra_errors_detected"] == "counter"


def test_subsystems_that_are_not_there_are_left_out(owner):
    """A gauge that reads healthy because nobody looked would be worse than none."""
    assert not {"aetherra_system_health", "aetherra_fixes_successful"} & set(scrape(owner))


def test_every_apply_is_counted_with_its_outcome(served, owner):
    identity = served.submit()
    for _ in range(2):
        owner.post(APPLY, json={"proposal_id": identity})
    owner.post(BATCH, json={"proposal_ids": [UNKNOWN, "nonsense"]})
    seen = values(scrape(owner))
    label = "aetherra_selfimprove_apply_total"
    assert seen[(label, ("restart_required", "false"), ("status", "approved"))] == 2
    assert seen[(label, ("restart_required", "false"), ("status", "error"))] == 2
    assert seen[("aetherra_selfimprove_apply_duration_seconds_count",)] == 4
    assert seen[("aetherra_selfimprove_hmr_success_total",)] == 1
    assert seen[("aetherra_selfimprove_hmr_error_total",)] == 0


def test_a_failed_swap_is_counted_as_an_error_of_hmr(served, owner):
    identity = served.submit()
    served.world.live.misbehave(PROCESS, "swap", Misbehaviour.FAIL)
    owner.post(APPLY, json={"proposal_id": identity})
    seen = values(scrape(owner))
    assert seen[("aetherra_selfimprove_hmr_error_total",)] == 1
    assert seen[("aetherra_selfimprove_hmr_success_total",)] == 0
    assert seen[("aetherra_selfimprove_apply_total", ("restart_required", "true"), ("status", "error"))] == 1


def test_what_is_asked_of_processes_is_counted_by_what_was_asked(serve):
    with serve(replace(WORLD_SETTINGS, canary=CanarySettings(steps=(10,)))) as served:
        owner = served.client()
        identity = served.submit()
        owner.post(APPLY, json={"proposal_id": identity})
        for _ in range(3):
            observe(served.world.deps, ProposalId(identity))  # renews the lease, which is no attempt
        owner.post(f"{PROPOSALS}/{identity}/revert", json={})
        served.settle()
        seen = values(scrape(owner))
    share = ("target", "share")
    assert seen[("aetherra_hmr_attempts_total", share)] == 1
    assert seen[("aetherra_hmr_successes_total", share)] == 1
    assert seen[("aetherra_hmr_rollbacks_total", share)] == 1
    assert seen[("aetherra_hmr_swap_duration_ms_count", share)] == 1


def test_a_swap_that_is_refused_is_an_attempt_and_no_success(served, owner):
    identity = served.submit()
    served.world.live.misbehave(PROCESS, "swap", Misbehaviour.FAIL)
    owner.post(APPLY, json={"proposal_id": identity})
    seen = values(scrape(owner))
    assert seen[("aetherra_hmr_attempts_total", ("target", "all_calls"))] == 1
    assert ("aetherra_hmr_successes_total", ("target", "all_calls")) not in seen


def test_errors_of_the_host_are_counted_and_warnings_are_not(owner):
    assert owner.post("/v1/logs", json=LOGS).status_code == 200
    text = owner.get("/metrics").text
    assert "\n# TYPE aetherra_errors_detected counter\naetherra_errors_detected 1.0\n" in text
    seen = values(scrape(owner))
    assert seen[("homeostat_ingested_total", ("result", "accepted"), ("signal", "logs"))] == 2
    assert seen[("homeostat_ingested_total", ("result", "rejected"), ("signal", "logs"))] == 1


def test_a_state_that_nothing_is_in_any_more_counts_zero(served, owner):
    identity = served.submit()
    assert values(scrape(owner))[("homeostat_proposals", ("state", "awaiting_approval"))] == 1
    owner.post(f"{PROPOSALS}/{identity}/reject", json={"reason": "no"})
    seen = values(scrape(owner))
    assert seen[("homeostat_proposals", ("state", "awaiting_approval"))] == 0
    assert seen[("homeostat_proposals", ("state", "rejected"))] == 1
    assert seen[("homeostat_ledger_entries",)] == served.world.deps.ledger.head().size
    assert seen[("homeostat_host_processes",)] == 1


def test_without_its_store_a_hub_shows_what_it_counted_itself_and_nothing_else(served, owner):
    owner.post(APPLY, json={"proposal_id": "nonsense"})
    served.without_store("findings")
    seen = values(scrape(owner))
    assert seen[("aetherra_selfimprove_apply_total", ("restart_required", "false"), ("status", "error"))] == 1
    assert ("aetherra_errors_detected",) not in seen and ("homeostat_ledger_entries",) not in seen


def test_errors_of_the_hub_are_counted_by_family(served, owner):
    owner.get(f"{PROPOSALS}/{UNKNOWN}")
    assert served.metric("homeostat_errors_total", label="not_found") == 1
