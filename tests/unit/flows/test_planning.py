"""What `homeostat plan` says, against what applying then does."""

from dataclasses import replace

import pytest

from homeostat.core.errors import Unavailable
from homeostat.core.ids import ProcessId
from homeostat.flows.applying import request_apply
from homeostat.flows.planning import look_ahead
from homeostat.flows.proposing import Submission, submit
from homeostat.model.proposal import ProposalState
from homeostat.model.settings import CanarySettings
from homeostat.model.verdict import Denied
from homeostat.rollout.foresight import Way
from homeostat.testing.world import BOT, DIFF, OWNER, PROCESS, SOURCE, WORLD_SETTINGS, World, file

S = ProposalState
OTHER = "--- a/shop.py\n+++ b/shop.py\n@@ -5 +5 @@\n-PRICES = {'A': 1}\n+PRICES = {'A': 2}\n"
BECOMES = {Way.SHARE: S.CANARY, Way.AT_ONCE: S.OBSERVING, Way.RESTART: S.AWAITING_RESTART}


@pytest.mark.parametrize("steps", [(), (10,)])
@pytest.mark.parametrize("others", ["alone", "another", "another-lost", "lost"])
def test_a_change_goes_the_way_that_was_foreseen(steps, others):
    world = World(settings=replace(WORLD_SETTINGS, canary=CanarySettings(steps=steps)))
    if others.startswith("another"):
        second = replace(world.process(identity="another"), pid=77)
        world.live.attach(second, loaded={"shop.py": SOURCE})
    if others != "alone" and others != "another":
        world.live.lose(ProcessId("another") if others == "another-lost" else PROCESS)
    proposal = submit(world.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
    world.run()
    seen = look_ahead(world.deps, proposal)
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    if (seen.way, others) == (Way.SHARE, "lost"):
        assert "waits until one of the processes answers" in seen.reason
        with pytest.raises(Unavailable, match="none of 1 running processes answers"):
            world.run()
        return
    world.run()
    assert world.deps.proposals.get(proposal.id).state is BECOMES[seen.way], seen.reason


def test_what_is_declared_pure_and_is_no_function_is_said():
    pure = ("shop.py:price", "shop.py:prise", "shop.py:*", "gone.py:f", "lib/*.py:f", "../x.py:f")
    world = World(settings=replace(WORLD_SETTINGS, canary=CanarySettings(steps=(10,), pure=pure)))
    proposal = submit(world.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
    seen = look_ahead(world.deps, proposal)
    assert seen.shadow.functions == ("shop.py:price",)
    assert seen.shadow.left_out == {
        "shop.py:prise": "no function of shop.py has this name",
        "gone.py:f": "there is no such file",
    }


def test_what_would_be_refused_is_said_with_its_reason():
    world = World(settings=replace(WORLD_SETTINGS, canary=CanarySettings(steps=(10,))))
    first = submit(world.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
    second = submit(world.deps, Submission(title="More", rationale="why", diff=OTHER), actor=BOT)
    assert look_ahead(world.deps, first).refused == "it is not proved yet"
    world.run()
    proved = world.deps.proposals.get(second.id)
    assert look_ahead(world.deps, proved).refused == ""
    request_apply(world.deps, first.id, actor=OWNER, seen=None)
    world.run()
    assert (
        look_ahead(world.deps, world.deps.proposals.get(first.id)).refused
        == "it is being tried on a share of the calls"
    )
    seen = look_ahead(world.deps, proved)
    assert seen.refused.endswith("(Mend) is being tried on a share of the calls")
    assert isinstance(request_apply(world.deps, second.id, actor=OWNER, seen=None), Denied)


def test_a_process_that_was_started_before_somebody_changed_the_file_is_named():
    world = World()
    before = world.deps.commits.head()
    world.repository.user_commit({"other.py": file("x = 1\n")}, at=world.clock.now())
    same = submit(world.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
    world.run()
    assert look_ahead(world.deps, world.deps.proposals.get(same.id)).stale == ()
    world.repository.user_commit({"shop.py": file(SOURCE + "# more\n")}, at=world.clock.now())
    moved = submit(world.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
    world.run()
    pid = world.deps.live.processes()[0].pid
    said = look_ahead(world.deps, world.deps.proposals.get(moved.id)).stale
    assert said == (f"process {pid} was started at {before[:12]}, and shop.py changed since",)
