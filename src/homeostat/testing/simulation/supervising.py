"""The supervisor of the simulated program: it lives beside the hubs, and carries a restart out by itself."""

import random
from collections.abc import Sequence

from homeostat.model.restart import RestartableProgram, RestartPhase, RestartPlan
from homeostat.testing.fake_restarter import FakeRestarter
from homeostat.testing.simulation.fleet import Fleet
from homeostat.testing.simulation.timeline import Timeline
from homeostat.testing.simulation.trace import Trace

PROGRAM = "shop"
_FAILS = 0.2
"""Share of restarts whose new process does not come up; the old ones stay then."""


class SimulatedSupervisor:
    """`homeostat.ports.restarting.Restarter` over the fake, in simulated time."""

    def __init__(self, *, timeline: Timeline, rng: random.Random, trace: Trace, fleet: Fleet, supervises: bool) -> None:
        self._timeline = timeline
        self._rng = rng
        self._trace = trace
        self._fleet = fleet
        self._fake = FakeRestarter()
        self.may_fail = True
        if supervises:
            self._fake.supervise(PROGRAM)

    @property
    def supervises(self) -> bool:
        return bool(self._fake.programs())

    # `homeostat.ports.restarting.Restarter`

    def programs(self) -> Sequence[RestartableProgram]:
        return self._fake.programs()

    def begin(self, program_id: str, request_id: str, plan: RestartPlan) -> RestartableProgram:
        begun = len(self._fake.calls)
        program = self._fake.begin(program_id, request_id, plan)
        if len(self._fake.calls) > begun:
            self._trace.line("program", "its supervisor begins to restart it")
            fails = self.may_fail and self._rng.random() < _FAILS
            self._timeline.after(self._rng.uniform(1, 8), self._fail if fails else self._exchange)
        return program

    def _fail(self) -> None:
        self._trace.line("program", "its new process does not come up, the old ones stay")
        self._fake.end(PROGRAM, RestartPhase.FAILED, reason="the new process ended with 1")

    def _exchange(self) -> None:
        """Start one new process for each old one, and end the old ones; it is done when the new ones are settled."""
        old = list(self._fleet.processes.values())
        for _ in old:
            self._fleet.start()
        for process in old:
            self._fleet.retire(process)
        self._timeline.after(self._rng.uniform(1, 5), lambda: self._fake.end(PROGRAM, RestartPhase.DONE))
