"""Hubs that come and go over one world. What a hub leaves is store, repository, backups and started workflows."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from homeostat.core.errors import Conflict, HomeostatError
from homeostat.core.ids import ProcessId, ProposalId
from homeostat.flows.applying import apply
from homeostat.flows.beating import beat
from homeostat.flows.deps import Deps
from homeostat.flows.ingesting import ingest_logs, ingest_vitals
from homeostat.flows.judgings import Judgings
from homeostat.flows.recovering import recover
from homeostat.flows.reverting import revert
from homeostat.flows.routing import Routing
from homeostat.flows.troubles import Troubles
from homeostat.flows.validating import validate
from homeostat.model.finding import AGENTS
from homeostat.model.proposal import ProposalState
from homeostat.telemetry.own_word import OwnWord
from homeostat.testing.memory_repository import SimulatedDeath
from homeostat.testing.simulation.fleet import Fleet, SimulatedLive
from homeostat.testing.simulation.hazards import EFFECTS, HazardousPort, Hazards
from homeostat.testing.simulation.timeline import Task, Timeline, Turn
from homeostat.testing.simulation.trace import Trace

BEAT_S = 5.0
_BEATS_IN_ONE = 10
"""A hub beats every half second; a beat here stands for ten, so that what is due every 20th comes as often."""

CANARY_BEAT_S = 1.0
_CANARY_BEATS_IN_ONE = 2
"""While a canary runs leases must be kept: a beat stands for two."""

GATHER_S = 5.5
_MAX_WAITING_PROOFS = 8

T = TypeVar("T")
_HANDLERS: Mapping[str, Callable[[Deps, ProposalId], None]] = {
    "submitted": validate,
    "apply_asked": apply,
    "revert_asked": revert,
}


class OwnErrorsOnly(Troubles):
    """Troubles that a simulated hub may have: nothing but our own errors may come up."""

    def note_error(self, activity: str, error: Exception) -> bool:
        is_new = super().note_error(activity, error)
        if not isinstance(error, HomeostatError):
            raise error
        return is_new


@dataclass(slots=True)
class Workflows:
    """What is durable of started workflows: how many were started, and which of them have not ended."""

    started: int = 0
    open: dict[str, tuple[str, ProposalId]] = field(default_factory=dict)


class SimulatedStarter:
    """`homeostat.ports.starter.Starter` with the rules of `homeostat.adapters.durable`, in simulated time.

    A start is written down before it runs, an interrupted one runs again at the next hub's start; flows of one
    proposal exclude each other, and so do proofs, and moves of the deployed tree.
    """

    def __init__(self, workflows: Workflows, hub: "SimulatedHub", timeline: Timeline) -> None:
        self._workflows = workflows
        self._hub = hub
        self._timeline = timeline
        self._busy: defaultdict[ProposalId, Turn] = defaultdict(lambda: Turn(timeline))
        self._turns = {"submitted": Turn(timeline), "tree": Turn(timeline)}
        self._waiting_proofs = 0

    def launch(self) -> None:
        """Take up what an earlier hub had started."""
        for key, (name, proposal_id) in list(self._workflows.open.items()):
            self._spawn(key, name, proposal_id)

    def submitted(self, proposal_id: ProposalId, *, retry: bool = False) -> None:
        if self._waiting_proofs < _MAX_WAITING_PROOFS:
            self._start("submitted", proposal_id, retry)

    def apply_asked(self, proposal_id: ProposalId, *, retry: bool = False) -> None:
        self._start("apply_asked", proposal_id, retry)

    def revert_asked(self, proposal_id: ProposalId, *, retry: bool = False) -> None:
        self._start("revert_asked", proposal_id, retry)

    def _start(self, name: str, proposal_id: ProposalId, retry: bool) -> None:
        if retry and self._busy[proposal_id].taken:
            return
        self._workflows.started += 1
        key = f"{name}:{proposal_id}:{self._workflows.started}"
        self._workflows.open[key] = (name, proposal_id)
        self._spawn(key, name, proposal_id)

    def _spawn(self, key: str, name: str, proposal_id: ProposalId) -> None:
        self._hub.spawn(f"{name} {proposal_id[-3:]}", lambda: self._handle(key, name, proposal_id))

    def _handle(self, key: str, name: str, proposal_id: ProposalId) -> None:
        with self._busy[proposal_id]:
            self._waiting_proofs += name == "submitted"
            try:
                with self._turns[name if name == "submitted" else "tree"]:
                    _HANDLERS[name](self._hub.deps, proposal_id)
            except HomeostatError as error:
                if not (isinstance(error, Conflict) and error.code == "stale-row"):
                    self._hub.troubles.note_flow(name, proposal_id, error)
            else:
                self._hub.troubles.note_flow(name, proposal_id, None)
            finally:
                self._waiting_proofs -= name == "submitted"
        del self._workflows.open[key]


class SimulatedHub:
    """One hub from its start to its death."""

    def __init__(
        self,
        *,
        world: Deps,
        timeline: Timeline,
        trace: Trace,
        hazards: Hazards,
        live: SimulatedLive,
        workflows: Workflows,
        on_death: Callable[[], None],
    ) -> None:
        self.alive = True
        self.troubles = OwnErrorsOnly()
        self._world = world
        self._timeline = timeline
        self._trace = trace
        self._live = live
        self._on_death = on_death
        self._tasks: list[Task] = []
        self._woken = False
        self._words = OwnWord()
        starter = SimulatedStarter(workflows, self, timeline)
        ports: dict[str, Any] = {
            name: HazardousPort(name, starter if name == "start" else getattr(world, name), hazards, self.is_alive)
            for name in EFFECTS
        }
        self.deps = replace(world, **ports, judgings=Judgings(), routing=Routing())
        self._starter = starter

    def is_alive(self) -> bool:
        return self.alive

    def start(self, fleet: Fleet) -> None:
        """Open the agents' door, take up what is there, and begin to beat."""
        self._trace.line("hub", "starts")
        self._live.restart_hub()
        self._timeline.after(GATHER_S, lambda: self._live.gather(done=True) if self.alive else None)
        fleet.open_door(self._take, self._wake)
        self._starter.launch()
        self.spawn("take up", self._take_up)
        self.spawn("beat", self._beat)

    def spawn(self, name: str, work: Callable[[], None]) -> Task:
        """Let something run in this hub. When the hub dies amid it, everything else in the hub dies too."""

        def in_this_hub() -> None:
            try:
                work()
            except SimulatedDeath:
                self.die()
                raise

        self._tasks = [task for task in self._tasks if not task.done]
        task = self._timeline.spawn(name, in_this_hub)
        self._tasks.append(task)
        return task

    def ask(self, who: str, what: Callable[[Deps], T], then: Callable[[T], None]) -> None:
        """Let somebody ask over HTTP; `then` gets the answer, if there is one."""

        def request() -> None:
            try:
                answer = what(self.deps)
            except HomeostatError as error:
                self._trace.line(who, f"is told {error.code}")
                return
            if self.alive:
                then(answer)

        self.spawn(who, request)

    def die(self) -> None:
        if self.alive:
            self.alive = False
            self._trace.line("hub", "is dead")
            for task in self._tasks:
                if not task.done:
                    task.doom()
            self._on_death()

    def _take_up(self) -> None:
        try:
            recover(self.deps)
        except HomeostatError as error:
            self.troubles.note_error("recovering", error)

    def _beat(self) -> None:
        count = 0
        while True:
            trying = bool(self._world.proposals.find(states=frozenset({ProposalState.CANARY}), limit=1))
            beat_s = CANARY_BEAT_S if trying else BEAT_S
            self._timeline.wait_until(lambda: self._woken, timeout_s=beat_s, look_every_s=beat_s / 2)
            self._woken = False
            count += _CANARY_BEATS_IN_ONE if trying else _BEATS_IN_ONE - count % _BEATS_IN_ONE
            beat(self.deps, self.troubles, count, chores={})

    def _wake(self) -> None:
        self._woken = True

    def _take(self, kind: str, body: Mapping[str, Any], process_id: ProcessId) -> None:
        """Take what an agent tells. One body that cannot be stored is lost, and ends nothing."""
        try:
            if kind == "logs":
                ingest_logs(self.deps, body, source=AGENTS, process_id=process_id)
            else:
                ingest_vitals(self.deps, body, process_id=process_id, words=self._words)
        except (HomeostatError, SimulatedDeath) as error:
            self._trace.line("hub", f"loses telemetry: {getattr(error, 'code', 'dead')}")
