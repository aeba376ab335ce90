"""Several changes that are watched at the same time: which of them answers for what is seen."""

from dataclasses import replace
from datetime import timedelta

from otlp_samples import RECORD, logs

from homeostat.flows.applying import request_apply
from homeostat.flows.ingesting import ingest_logs
from homeostat.flows.observing import look, observe
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.reverting import request_revert
from homeostat.model.finding import AGENTS
from homeostat.model.proposal import ProposalState
from homeostat.model.settings import CanarySettings, DetectorSettings
from homeostat.rollout.observation import Continue
from homeostat.testing.world import BOT, DIFF, OWNER, PROCESS, WORLD_SETTINGS, World, file

S = ProposalState
TAX = "def tax(price):\n    return price\n"
DOUBLED = TAX.replace("return price", "return price * 2")
TAX_DIFF = "--- a/tax.py\n+++ b/tax.py\n@@ -1,2 +1,2 @@\n def tax(price):\n-    return price\n+    return price * 2\n"


def two_modules(**settings):
    world = World(settings=replace(WORLD_SETTINGS, **settings))
    world.repository.user_commit({"tax.py": file(TAX)}, at=world.clock.now())
    world.live.load(PROCESS, "tax.py", TAX)
    return world


def apply(world, diff, *, finding_id=""):
    wanted = Submission(title=f"Change {diff[6:12]}", rationale="why", diff=diff, finding_id=finding_id)
    proposal = submit(world.deps, wanted, actor=BOT)
    world.run()
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.run()
    return proposal.id


def beat(world, *proposals):
    for proposal in proposals:
        observe(world.deps, proposal)
    world.run()


def states(world, *proposals):
    return [world.deps.proposals.get(item).state for item in proposals]


def serve(world, *proposals, seconds, errors=0, harmful="", path="tax.py"):
    """Let requests be served, and the hub look after each second; ten fail while the `harmful` source runs."""
    for _ in range(seconds):
        harm = 10 if harmful and world.live.source(PROCESS, path) == harmful else 0
        world.serve(seconds=1, requests=50, errors=errors + harm)
        beat(world, *proposals)


def fail(world, *, seconds):
    """Let one request fail in each second, and its agent tell of it."""
    for _ in range(seconds):
        world.serve(seconds=1, requests=50, errors=1)
        at_ns = int((world.clock.now().timestamp() - 0.5) * 1e9)
        ingest_logs(world.deps, logs(RECORD | {"timeUnixNano": str(at_ns)}), source=AGENTS)


def test_harm_that_came_with_the_later_one_is_its_own_and_the_earlier_one_stays():
    world = two_modules()
    world.serve(seconds=30, requests=50, errors=0)
    first = apply(world, DIFF)
    serve(world, first, seconds=30)
    second = apply(world, TAX_DIFF)
    serve(world, first, second, seconds=5, harmful=DOUBLED)
    assert states(world, first, second) == [S.OBSERVING, S.REVERTED]
    serve(world, first, second, seconds=60)
    assert states(world, first, second) == [S.IMPLEMENTED, S.REVERTED]


def test_the_time_of_a_change_that_was_taken_back_counts_for_nothing_but_itself():
    """Its failures would have taken the other one back, and its seconds would have made up that one's window."""
    world = two_modules()
    world.serve(seconds=30, requests=50, errors=0)
    first = apply(world, DIFF)
    serve(world, first, seconds=20, errors=0)
    second = apply(world, TAX_DIFF)
    world.serve(seconds=30, requests=50, errors=0)
    request_revert(world.deps, second, actor=OWNER, reason="not today")
    world.run()
    serve(world, first, seconds=20, errors=0)
    assert states(world, first, second) == [S.OBSERVING, S.REVERTED]
    seen = look(world.deps, world.deps.proposals.get(first))
    assert "were watched" in seen.judgement.reason
    assert round(seen.after.seconds) == 40


def test_a_symptom_that_showed_while_another_change_ran_says_nothing_of_this_one():
    """Else what the other one caused would count as still there; or hide failures that have taken its place."""
    world = two_modules()
    fail(world, seconds=30)
    (finding,) = world.deps.findings.findings()
    first = apply(world, DIFF, finding_id=finding.id)
    world.serve(seconds=20, requests=50, errors=0)
    second = apply(world, TAX_DIFF)
    fail(world, seconds=20)
    request_revert(world.deps, second, actor=OWNER, reason="not today")
    world.run()
    world.serve(seconds=50, requests=50, errors=0)
    seen = look(world.deps, world.deps.proposals.get(first))
    assert (seen.symptom.baseline_occurrences, seen.symptom.after_occurrences) == (30, 0)
    assert seen.symptom.after == seen.after
    beat(world, first)
    assert states(world, first, second) == [S.IMPLEMENTED, S.REVERTED]


def test_harm_that_only_both_together_show_takes_the_last_one_back_and_then_the_other_if_it_goes_on():
    """The later one has no time of its own to be compared with: it came right after the first."""
    world = two_modules()
    world.serve(seconds=30, requests=50, errors=0)
    first = apply(world, DIFF)
    second = apply(world, TAX_DIFF)
    world.serve(seconds=5, requests=50, errors=10)
    seen = look(world.deps, world.deps.proposals.get(first))
    assert isinstance(seen.judgement, Continue)
    assert (seen.first.change_id, "the last one goes first" in seen.judgement.reason) == (second, True)
    observe(world.deps, first)
    assert states(world, first, second) == [S.OBSERVING, S.REVERTING]
    waiting = look(world.deps, world.deps.proposals.get(first))
    assert waiting.first is None and "is taken back first" in waiting.judgement.reason
    world.run()
    taken_back = world.deps.proposals.get(second)
    assert taken_back.state is S.REVERTED and taken_back.application.automatic_revert
    assert first in taken_back.application.revert_reason
    serve(world, first, seconds=5, errors=10)
    assert states(world, first, second) == [S.REVERTED, S.REVERTED]
    assert world.violations() == ()


def test_one_that_cannot_be_taken_out_does_not_shield_the_earlier_one_for_ever():
    """Its process does not answer: harm that goes on after the time in which a change goes back ends with the first."""
    world = two_modules()
    world.serve(seconds=30, requests=50, errors=0)
    first = apply(world, DIFF)
    second = apply(world, TAX_DIFF)
    world.serve(seconds=5, requests=50, errors=10)
    observe(world.deps, first)
    world.serve(seconds=50, requests=50, errors=10)
    observe(world.deps, first)
    assert states(world, first, second) == [S.OBSERVING, S.REVERTING], "its revert was journalled, and never ran"
    world.serve(seconds=10, requests=50, errors=0)
    observe(world.deps, first)
    assert states(world, first, second) == [S.OBSERVING, S.REVERTING], "what was until then is still not its own"
    world.serve(seconds=10, requests=50, errors=10)
    observe(world.deps, first)
    assert states(world, first, second) == [S.REVERTING, S.REVERTING]


def test_behind_one_that_cannot_be_taken_out_a_change_that_does_well_is_called_so():
    world = two_modules()
    world.serve(seconds=30, requests=50, errors=0)
    first = apply(world, DIFF)
    second = apply(world, TAX_DIFF)
    world.serve(seconds=5, requests=50, errors=10)
    observe(world.deps, first)
    world.serve(seconds=125, requests=50, errors=0)
    observe(world.deps, first)
    assert states(world, first, second) == [S.IMPLEMENTED, S.REVERTING]


def test_harm_that_ends_with_the_last_one_leaves_the_first():
    world = two_modules()
    world.serve(seconds=30, requests=50, errors=0)
    first = apply(world, DIFF)
    second = apply(world, TAX_DIFF)
    serve(world, first, second, seconds=75, harmful=DOUBLED)
    assert states(world, first, second) == [S.IMPLEMENTED, S.REVERTED]


def test_a_change_on_a_share_of_the_calls_goes_before_one_that_is_watched():
    world = two_modules()
    world.serve(seconds=30, requests=50, errors=0)
    first = apply(world, DIFF)
    world.deps = replace(world.deps, settings=replace(world.deps.settings, canary=CanarySettings(steps=(10,))))
    second = apply(world, TAX_DIFF)
    assert states(world, first, second) == [S.OBSERVING, S.CANARY]
    serve(world, first, seconds=5, errors=10)
    assert states(world, first, second)[1] is S.REVERTED
    serve(world, first, seconds=5, errors=10)
    assert states(world, first, second) == [S.REVERTED, S.REVERTED]


def test_harm_of_its_own_time_is_not_excused_by_a_later_change():
    world = two_modules()
    world.serve(seconds=30, requests=50, errors=0)
    first = apply(world, DIFF)
    world.serve(seconds=5, requests=50, errors=10)
    second = apply(world, TAX_DIFF)
    serve(world, first, seconds=1, errors=0)
    assert states(world, first, second) == [S.REVERTED, S.OBSERVING]


def test_harm_of_its_own_is_not_excused_by_other_harm_that_may_be_a_later_ones():
    """The first one fails requests while it is the last one; all are slow only since the second came."""
    world = two_modules(
        observation=replace(WORLD_SETTINGS.observation, window_s=300.0),
        detectors=DetectorSettings(grace_s=30.0, baseline_s=120.0),
    )
    world.serve(seconds=300, requests=50, errors=0)
    first = apply(world, DIFF)
    world.serve(seconds=30, requests=50, errors=0)
    world.serve(seconds=5, requests=50, errors=10)
    world.clock.move(timedelta(seconds=20))
    second = apply(world, TAX_DIFF)
    world.serve(seconds=120, requests=50, errors=0, slow=20)
    seen = look(world.deps, world.deps.proposals.get(first))
    assert seen.service.first is not None and seen.service.first.change_id == second
    beat(world, first)
    assert states(world, first, second) == [S.REVERTED, S.OBSERVING]


def test_what_waits_for_a_restart_runs_nowhere_and_answers_for_nothing():
    world = two_modules()
    world.serve(seconds=30, requests=50, errors=0)
    first = apply(world, DIFF)
    runs_at_import = TAX_DIFF.replace("1,2 @@\n def", "1,3 @@\n def").replace("price * 2", "price * 2\n+print(tax(1))")
    second = apply(world, runs_at_import)
    assert states(world, first, second) == [S.OBSERVING, S.AWAITING_RESTART]
    serve(world, first, seconds=5, errors=10)
    assert states(world, first, second) == [S.REVERTED, S.AWAITING_RESTART]


def test_once_the_later_one_was_called_well_the_earlier_one_answers():
    world = two_modules()
    world.serve(seconds=30, requests=50, errors=0)
    first = apply(world, DIFF)
    world.serve(seconds=20, requests=50, errors=1)
    second = apply(world, TAX_DIFF)
    world.serve(seconds=70, requests=50, errors=1)
    beat(world, second)
    assert states(world, second) == [S.IMPLEMENTED]
    beat(world, first)
    assert states(world, first, second) == [S.REVERTED, S.IMPLEMENTED]
