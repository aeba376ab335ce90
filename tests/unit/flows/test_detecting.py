"""Detectors over the whole service take a change back whose harm its own judge cannot see."""

from dataclasses import replace
from datetime import timedelta

import pytest

from homeostat.flows.applying import request_apply
from homeostat.flows.detecting import steps_of
from homeostat.flows.observing import accept, look, oldest_vitals_needed
from homeostat.flows.observing import observe as observe_one
from homeostat.flows.proposing import Submission, submit
from homeostat.model.proposal import ProposalState
from homeostat.model.settings import CanarySettings, DetectorSettings, PrometheusQuery
from homeostat.model.verdict import Denied
from homeostat.rollout.detectors import Fired, Holding, NoEvidence, Quiet
from homeostat.rollout.observation import Hold
from homeostat.testing.world import BOT, DIFF, OWNER, PROCESS, SOURCE, WORLD_SETTINGS, World, file

S = ProposalState
SETTINGS = replace(
    WORLD_SETTINGS,
    observation=replace(WORLD_SETTINGS.observation, window_s=300.0),
    detectors=DetectorSettings(grace_s=30.0, baseline_s=120.0),
)
TRYING = replace(SETTINGS, canary=CanarySettings(steps=(10, 50), step_s=60.0))

OTHER = "def tax():\n    return 1\n"
SECOND_DIFF = "--- a/other.py\n+++ b/other.py\n@@ -1,2 +1,2 @@\n def tax():\n-    return 1\n+    return 2\n"


def applied(settings):
    """A service that fares well, and a change that was just applied to it."""
    world = World(settings=settings)
    world.serve(seconds=300, requests=50, errors=0)
    return propose_and_apply(world)


def propose_and_apply(world, diff=DIFF):
    proposal = submit(world.deps, Submission(title="Mend", rationale="why", diff=diff), actor=BOT)
    world.run()
    asked = request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    assert not isinstance(asked, Denied), asked.reasons
    world.run()
    return world


def with_another_module():
    world = World(settings=SETTINGS)
    head = world.repository.user_commit({"other.py": file(OTHER)}, at=world.clock.now())
    world.live.attach(world.process(commit=head), loaded={"shop.py": SOURCE, "other.py": OTHER})
    world.serve(seconds=300, requests=50, errors=0)
    return world


def row(world):
    return world.deps.proposals.find()[0]


def observe(world):
    for proposal in world.deps.proposals.find():
        observe_one(world.deps, proposal.id)
    world.run()


def serve(world, *, seconds, **served):
    for _ in range(seconds // 10):
        world.serve(seconds=10, requests=50, **{"errors": 0, **served})
        observe(world)


def try_out(world, *, seconds, **served):
    """Let the service and both arms of a canary be busy in the same seconds."""
    for _ in range(seconds):
        world.serve(seconds=1, requests=50, **{"errors": 0, **served})
        world.clock.move(timedelta(seconds=-1))
        world.try_out(row(world).id, seconds=1, calls=500)


def said(world, identity=None):
    seen = look(world.deps, world.deps.proposals.get(identity) if identity else row(world))
    return {item.name: item.result for item in seen.service.detections}


def entry(world, kind):
    return next(item for item in world.deps.ledger.entries(subject=row(world).id) if item.kind == f"proposal.{kind}")


def test_harm_to_both_arms_of_a_canary_takes_it_back_and_the_ledger_names_the_detector():
    world = applied(TRYING)
    assert row(world).state is S.CANARY
    serve(world, seconds=200, errors=20)
    assert row(world).state is S.REVERTED
    assert row(world).application.revert_reason.startswith("health: health 0.6")
    assert world.live.source(PROCESS, "shop.py") == SOURCE
    seen = entry(world, "canary_ended").body["detector"]
    assert seen["name"] == "health" and seen["figures"]["limit"] == "0.9"
    assert world.violations() == ()


def test_a_live_change_that_makes_the_service_slow_is_taken_back():
    """Its own judge counts failures only."""
    world = applied(SETTINGS)
    assert row(world).state is S.OBSERVING
    serve(world, seconds=200, slow=20)
    assert row(world).state is S.REVERTED
    assert entry(world, "revert_started").body["detector"]["name"] in ("health", "health-drop")
    assert world.live.source(PROCESS, "shop.py") == SOURCE
    assert world.violations() == ()


def test_a_change_that_harms_nobody_is_implemented():
    world = applied(SETTINGS)
    serve(world, seconds=320)
    assert row(world).state is S.IMPLEMENTED


def test_switched_off_nobody_looks_at_the_service():
    world = applied(replace(SETTINGS, detectors=DetectorSettings(enabled=False)))
    serve(world, seconds=320, slow=20)
    assert row(world).state is S.IMPLEMENTED


def test_since_when_is_known_to_a_hub_that_starts_in_between():
    world = applied(SETTINGS)
    world.serve(seconds=45, requests=50, errors=0, slow=20)
    since = said(world)["health"].since
    assert isinstance(said(world)["health"], Holding)
    world.restart()
    world.serve(seconds=40, requests=50, errors=0, slow=20)
    found = said(world)["health"]
    assert isinstance(found, Fired) and found.since == since


def test_a_window_that_ends_in_a_bad_spell_is_held_until_it_is_known():
    world = applied(replace(SETTINGS, detectors=replace(SETTINGS.detectors, grace_s=600.0)))
    serve(world, seconds=320, slow=20)
    seen = look(world.deps, row(world))
    assert isinstance(seen.judgement, Hold) and seen.judgement.reason.startswith("health: ")
    assert row(world).state is S.OBSERVING
    serve(world, seconds=90)
    assert row(world).state is S.IMPLEMENTED


def test_a_person_may_accept_what_is_held():
    world = applied(replace(SETTINGS, detectors=replace(SETTINGS.detectors, grace_s=600.0)))
    serve(world, seconds=320, slow=20)
    done = accept(world.deps, row(world).id, actor=OWNER, reason="a known job runs")
    assert done.state is S.IMPLEMENTED


def test_a_canary_is_not_widened_in_a_bad_spell():
    world = applied(replace(TRYING, detectors=replace(TRYING.detectors, grace_s=600.0)))
    world.serve(seconds=60, requests=50, errors=0, slow=20)
    for _ in range(30):
        world.try_out(row(world).id, seconds=1, calls=500)
    assert row(world).application.canary.percent == 10
    observe(world)
    assert row(world).application.canary.percent == 10
    assert row(world).state is S.CANARY


def test_of_two_changes_that_may_both_have_done_it_the_last_one_goes_first():
    world = with_another_module()
    propose_and_apply(world)
    first = row(world)
    serve(world, seconds=60)
    propose_and_apply(world, SECOND_DIFF)
    second = row(world)
    for _ in range(20):
        if world.deps.proposals.get(second.id).state is S.REVERTED:
            break
        serve(world, seconds=10, slow=20)
    assert world.deps.proposals.get(second.id).state is S.REVERTED
    assert world.deps.proposals.get(first.id).state is S.OBSERVING
    serve(world, seconds=60)
    assert isinstance(said(world, first.id)["health"], Quiet), "the time of the other is not laid to its account"

    entries = world.deps.ledger.entries(subject=second.id)
    seen = next(item.body["detector"] for item in entries if item.kind == "proposal.revert_started")
    assert seen["name"] in ("health", "health-drop"), "on record with the one that answers"


def test_what_is_still_a_bad_spell_when_its_time_ends_is_for_a_person_to_call_well():
    world = applied(replace(SETTINGS, detectors=replace(SETTINGS.detectors, grace_s=3600.0)))
    serve(world, seconds=320, slow=20)
    assert isinstance(said(world)["health"], Holding)
    world.clock.move(timedelta(hours=2, minutes=2))
    serve(world, seconds=60, slow=20)
    found = said(world)["health"]
    assert isinstance(found, NoEvidence) and found.asks and "bad before; still so when its time" in found.reason
    assert row(world).state is S.OBSERVING
    done = accept(world.deps, row(world).id, actor=OWNER, reason="a known job runs")
    assert done.state is S.IMPLEMENTED


def test_of_a_change_that_is_held_for_weeks_only_its_own_time_is_looked_at():
    world = applied(replace(SETTINGS, observation=replace(SETTINGS.observation, min_requests=1_000_000)))
    serve(world, seconds=320)
    before = said(world)
    assert before.keys() == {"health", "health-drop", "slo", "error-rate"}
    world.clock.move(timedelta(hours=3))
    serve(world, seconds=240, slow=40)
    assert row(world).state is S.OBSERVING, "what begins then is not its doing"
    assert not any(isinstance(item, Fired | Holding) for item in said(world).values())


def test_where_taking_the_last_one_back_does_not_help_the_other_follows():
    world = with_another_module()
    propose_and_apply(world)
    serve(world, seconds=60)
    propose_and_apply(world, SECOND_DIFF)
    serve(world, seconds=240, slow=20)
    assert {item.state for item in world.deps.proposals.find()} == {S.REVERTED}


def test_harm_that_began_before_the_second_change_is_the_firsts():
    world = with_another_module()
    propose_and_apply(world)
    first = row(world)
    world.serve(seconds=50, requests=50, errors=0, slow=20)
    propose_and_apply(world, SECOND_DIFF)
    second = row(world)
    world.clock.move(timedelta(seconds=1))
    serve(world, seconds=60, slow=20)
    assert world.deps.proposals.get(first.id).state is not S.OBSERVING
    assert world.deps.proposals.get(second.id).state is S.OBSERVING


def test_what_is_needed_of_the_day_before_is_kept_while_a_change_is_watched():
    world = applied(SETTINGS)
    assert oldest_vitals_needed(world.deps) <= row(world).application.at - timedelta(hours=24)


@pytest.mark.parametrize("state", ["canary", "observing"])
def test_a_silent_service_is_neither_health_nor_harm(state):
    world = applied(TRYING if state == "canary" else SETTINGS)
    serve(world, seconds=30)
    world.clock.move(timedelta(minutes=10))
    observe(world)
    assert row(world).state.value == state


QUEUE = PrometheusQuery(name="queue", query="q", above=10, for_s=30)
ASKING = replace(
    SETTINGS,
    detectors=replace(SETTINGS.detectors, prometheus_url="http://127.0.0.1:9090", prometheus=(QUEUE,)),
)


def test_a_query_to_prometheus_takes_a_change_back():
    world = applied(ASKING)
    world.measures.put("q", world.clock.now() - timedelta(minutes=10), 3.0)
    world.clock.move(timedelta(seconds=6))
    world.measures.put("q", world.clock.now(), 12.5)
    serve(world, seconds=60)
    assert row(world).state is S.REVERTED
    seen = entry(world, "revert_started").body["detector"]
    assert seen["name"] == "prometheus:queue" and seen["figures"]["value"] == "12.5"


def test_a_query_to_prometheus_takes_a_canary_back():
    world = applied(replace(ASKING, canary=TRYING.canary))
    world.measures.put("q", world.clock.now() - timedelta(minutes=10), 3.0)
    world.clock.move(timedelta(seconds=6))
    world.measures.put("q", world.clock.now(), 12.5)
    serve(world, seconds=60)
    assert row(world).state is S.REVERTED
    assert entry(world, "canary_ended").body["detector"]["name"] == "prometheus:queue"


def test_a_prometheus_that_does_not_answer_lets_no_change_pass_and_takes_none_back():
    world = applied(ASKING)
    world.measures.fall_silent("it is gone")
    serve(world, seconds=320)
    seen = look(world.deps, row(world))
    assert isinstance(seen.judgement, Hold) and "prometheus:queue: it is gone" in seen.judgement.reason
    world.measures.fall_silent("")
    world.measures.put("q", world.clock.now() - timedelta(minutes=20), 3.0)
    observe(world)
    assert row(world).state is S.IMPLEMENTED


def test_harm_may_begin_with_every_share_of_a_canary():
    world = applied(replace(SETTINGS, canary=CanarySettings(steps=(10, 30, 50, 70), step_s=60.0)))
    for _ in range(20):
        if row(world).state is not S.CANARY:
            break
        try_out(world, seconds=20)
        observe(world)
    assert row(world).state is S.OBSERVING
    application = row(world).application
    shares = [
        item.at
        for item in world.deps.ledger.entries(subject=row(world).id)
        if item.kind in ("proposal.canary_started", "proposal.canary_widened")
    ]
    steps = list(steps_of(application))
    assert len(steps) == 5 and steps[-1] == application.observed_from
    assert all(abs(step - at) < timedelta(milliseconds=10) for step, at in zip(steps, shares, strict=False))


def test_a_prometheus_that_is_gone_for_hours_lets_no_change_pass_after_them_either():
    world = applied(ASKING)
    world.measures.fall_silent("it is gone")
    serve(world, seconds=320)
    world.clock.move(timedelta(hours=2, minutes=2))
    serve(world, seconds=30)
    assert row(world).state is S.OBSERVING
    seen = look(world.deps, row(world))
    assert isinstance(seen.judgement, Hold) and "prometheus:queue: it is gone" in seen.judgement.reason


def test_a_canary_that_nobody_vouched_for_in_its_time_is_not_widened_after_it():
    world = applied(replace(ASKING, canary=TRYING.canary))
    world.measures.fall_silent("it is gone")
    try_out(world, seconds=90)
    world.clock.move(timedelta(hours=2, minutes=2))
    observe(world)
    assert row(world).state is S.CANARY and row(world).application.canary.percent == 10
    done = accept(world.deps, row(world).id, actor=OWNER, reason="it is being upgraded")
    assert not isinstance(done, Denied), done.reasons


def test_a_canary_whose_time_ends_in_a_bad_spell_is_for_a_person_to_pass():
    world = applied(replace(TRYING, detectors=replace(TRYING.detectors, grace_s=3600.0)))
    try_out(world, seconds=90, slow=20)
    assert row(world).application.canary.percent == 10
    world.clock.move(timedelta(hours=2, minutes=2))
    observe(world)
    assert row(world).state is S.CANARY and row(world).application.canary.percent == 10
    done = accept(world.deps, row(world).id, actor=OWNER, reason="a known job runs")
    assert not isinstance(done, Denied), done.reasons


def test_a_canary_that_prometheus_says_nothing_of_is_for_a_person_to_pass():
    world = applied(replace(ASKING, canary=TRYING.canary))
    world.measures.fall_silent("it is gone")
    try_out(world, seconds=90)
    observe(world)
    assert row(world).application.canary.percent == 10
    done = accept(world.deps, row(world).id, actor=OWNER, reason="it is being upgraded")
    assert not isinstance(done, Denied), done.reasons
