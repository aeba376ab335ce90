"""The program dies, or hangs, amid a swap: a real process with the real agent, through the real gateway.

Store and repository are the fakes; what is asked is that row, checkout and process end at the same code.
"""

import os
import signal
import sys
from contextlib import ExitStack
from dataclasses import replace

import pytest
from agents_harness import PROGRAM, Place, SystemClock, asked, clean_environment, connected, host, wait_for

from homeostat.core.errors import Unavailable
from homeostat.flows.applying import request_apply
from homeostat.flows.observing import observe
from homeostat.flows.proposing import Submission, submit
from homeostat.model.proposal import ProposalState
from homeostat.model.settings import HmrSettings
from homeostat.testing.world import BOT, DIFF, MENDED, OWNER, SOURCE, WORLD_SETTINGS, World

S = ProposalState
UNSETTLED = frozenset({S.APPROVED, S.APPLYING, S.AWAITING_RESTART, S.REVERTING})


class Interposed:
    """The gateway, with something that happens at the first swap."""

    def __init__(self, gateway, before, after):
        self._gateway = gateway
        self._before, self._after = before, after

    def __getattr__(self, name):
        return getattr(self._gateway, name)

    def swap(self, process_id, change, *, timeout_s):
        before, self._before = self._before, lambda: None
        after, self._after = self._after, lambda: None
        before()
        answer = self._gateway.swap(process_id, change, timeout_s=timeout_s)
        after()
        return answer


def nothing():
    pass


@pytest.mark.parametrize("how", ["killed before", "killed after", "hangs before"])
def test_a_program_that_is_gone_amid_a_swap_leaves_row_checkout_and_process_at_one_code(tmp_path, how):
    settings = replace(WORLD_SETTINGS, hmr=HmrSettings(enabled=True, timeout_s=1.0))
    world = World(settings=settings, hub_clock=SystemClock())
    place = Place(tmp_path)
    place.write("shop.py", SOURCE)
    place.write("app.py", PROGRAM)
    environment = place.launch().environment(clean_environment())

    with ExitStack() as ends:
        gateway = ends.enter_context(place.hub())
        program = ends.enter_context(host(sys.executable, "app.py", env=environment, cwd=place.repository))
        connected(gateway)
        assert asked(program) == "KeyError"

        def kill():
            os.kill(program.pid, signal.SIGKILL)
            program.wait()

        def hang():
            os.kill(program.pid, signal.SIGSTOP)

        before = {"killed before": kill, "hangs before": hang}.get(how, nothing)
        live = Interposed(gateway, before, kill if how == "killed after" else nothing)
        world.deps = replace(world.deps, live=live)
        proposal = submit(world.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
        world.run()
        request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
        try:
            world.run()
        except Unavailable as error:
            assert error.code == "not-put-back"
        assert world.deps.proposals.get(proposal.id).state is not S.FAILED or how != "hangs before"

        place.write("shop.py", world.repository.disk["shop.py"].content.decode())
        if how == "hangs before":
            os.kill(program.pid, signal.SIGCONT)
        else:  # as a supervisor would
            program = ends.enter_context(host(sys.executable, "app.py", env=environment, cwd=place.repository))

        def settled():
            try:
                world.restart()
                observe(world.deps, proposal.id)
            except Unavailable:
                return False
            return world.deps.proposals.get(proposal.id).state not in UNSETTLED

        wait_for(settled, what="the change to be settled", timeout_s=90)
        state = world.deps.proposals.get(proposal.id).state
        disk = world.repository.disk["shop.py"].content.decode()
        assert (state, disk) in ((S.OBSERVING, MENDED), (S.FAILED, SOURCE))
        wait_for(lambda: asked(program) == ("0" if disk == MENDED else "KeyError"), what="the process to run it")
        assert [item for item in world.violations() if item.level == "fail"] == []
