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
from homeostat.rollout.foresight import Way
from homeostat.testing.world import BOT, DIFF, OWNER, PROCESS, SOURCE, WORLD_SETTINGS, World

S = ProposalState
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
