"""What may go wrong at any call of a port: it takes its time, fails, lies about its failure, or is the hub's last.

Calls that the flows make while they hold a lock (records, the index, a look at rows) fail and die like
the others, but take no time: see `timeline`.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from homeostat.core.errors import OutcomeUnknown, Unavailable
from homeostat.core.ids import ProcessId
from homeostat.testing.fake_live import FakeLive, Misbehaviour
from homeostat.testing.memory_repository import Faults, SimulatedDeath
from homeostat.testing.simulation.timeline import Timeline
from homeostat.testing.simulation.trace import Trace

EFFECTS: Mapping[str, frozenset[str]] = {
    "proposals": frozenset({"insert", "save"}),
    "records": frozenset({"mark_recorded"}),
    "ledger": frozenset({"append"}),
    "findings": frozenset({"record", "put_findings"}),
    "vitals": frozenset({"record_ticks", "prune"}),
    "canaries": frozenset({"record", "prune"}),
    "commits": frozenset(),
    "candidates": frozenset({"commit", "delete"}),
    "record_branch": frozenset({"publish"}),
    "deployed": frozenset({"prepare", "advance", "retreat"}),
    "backups": frozenset({"save"}),
    "prover": frozenset({"prove"}),
    "live": frozenset({"prepare", "swap", "rollback"}),
    "restarter": frozenset({"begin"}),
    "start": frozenset({"submitted", "apply_asked", "revert_asked"}),
}
"""Every port that a hub of the simulation gets, with those of its methods that change something."""

_UNDER_LOCK = frozenset({"records", "record_branch", "start"})
_UNDER_LOCK_CALLS = frozenset(
    {
        "ledger.head",
        "ledger.checkpoint",
        "proposals.insert",
        "proposals.get",
        "proposals.find",
        "proposals.find_by_diff",
        "canaries.ticks",
    }
)
_CANNOT_FAIL = frozenset({"live.processes", "live.wait_until_connected", "live.wait_until_gathered"})
_MISBEHAVIOURS = (
    Misbehaviour.REFUSE,
    Misbehaviour.FAIL,
    Misbehaviour.NOT_ROUTABLE,
    Misbehaviour.LOSE_ANSWER,
    Misbehaviour.LATE,
)

_LATE_OR_LOST = (Misbehaviour.LOSE_ANSWER, Misbehaviour.LATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How likely each thing is, at each call."""

    pause: float = 0.15
    fail: float = 0.01
    lie: float = 0.01
    die: float = 0.004
    misbehave: float = 0.08


CALM = Weather(pause=0.15, fail=0, lie=0, die=0, misbehave=0)


class Hazards(Faults):
    """The weather over one world. As `Faults` of the repository it also comes between the steps of a move."""

    def __init__(self, timeline: Timeline, rng: random.Random, trace: Trace, weather: Weather) -> None:
        super().__init__()
        self.weather = weather
        self.moving = 0
        """Moves of the deployed tree that are under way."""

        self.half_moved: Callable[[], bool] = lambda: False
        self._timeline = timeline
        self._rng = rng
        self._trace = trace

    @property
    def git_is_locked(self) -> bool:
        """Whether Git's own lock keeps the user's git out: a move is under way, or one was left half done."""
        return self.moving > 0 or self.half_moved()

    def happens(self, chance: float) -> bool:
        return self._rng.random() < chance

    def latency(self) -> None:
        self._timeline.pause(self._rng.choice((0.01, 0.1, 0.5, 3.0)))

    def step(self) -> None:
        if self.happens(self.weather.pause):
            self.latency()
        self._perhaps_die("within a move", in_task=self._timeline.current is not None)

    @contextmanager
    def around(self, call: str) -> Iterator[None]:
        yield  # whole calls go wrong at the ports; see `around_call`

    def around_call(self, call: str, do: Callable[[], Any], *, effect: bool) -> Any:
        """Make one call of a port, in this weather."""
        port = call.partition(".")[0]
        may_wait = port not in _UNDER_LOCK and call not in _UNDER_LOCK_CALLS
        in_task = self._timeline.current is not None
        if may_wait and self.happens(self.weather.pause):
            self.latency()
        self._perhaps_die(f"before {call}", in_task=in_task)
        if call == "prover.prove":
            self._timeline.pause(self._rng.uniform(1, 20))
        if port not in ("live", "start") and self.happens(self.weather.fail * (1 if effect else 0.2)):
            self._trace.line("fault", f"{call} fails")
            raise Unavailable("injected", f"{call} did nothing")
        self.moving += port == "deployed"
        try:
            result = do()
        finally:
            self.moving -= port == "deployed"
        if effect and port not in ("live", "start", "prover") and self.happens(self.weather.lie):
            self._trace.line("fault", f"{call} was done and says it failed")
            raise OutcomeUnknown("injected", f"{call} was done all the same")
        self._perhaps_die(f"after {call}", in_task=in_task)
        if may_wait and effect and self.happens(self.weather.pause):
            self.latency()
        return result

    def misbehave(self, live: FakeLive, method: str, process_id: ProcessId, about: Any) -> None:
        """Let a process do the wrong thing with the command that it is about to get."""
        # What routes a share already was found fit for it; only answers get lost then.
        routes = method == "swap" and any(
            item.id == process_id and about.id in item.changes for item in live.processes()
        )
        how = self._rng.choice(_LATE_OR_LOST if routes else _MISBEHAVIOURS)
        if any(item.id == process_id and item.connected for item in live.processes()):
            self._trace.line("fault", f"{method} in process {process_id[-3:]}: {how.value}")
            live.misbehave(process_id, method, how)

    def _perhaps_die(self, when: str, *, in_task: bool) -> None:
        if in_task and self.happens(self.weather.die):
            self._trace.line("fault", f"the hub dies {when}")
            raise SimulatedDeath


class HazardousPort:
    """A port as one hub sees it: through the weather, and only while that hub lives."""

    def __init__(self, name: str, port: Any, hazards: Hazards, alive: Callable[[], bool]) -> None:
        self._name = name
        self._port = port
        self._hazards = hazards
        self._alive = alive

    def __getattr__(self, method: str) -> Any:
        real = getattr(self._port, method)
        call = f"{self._name}.{method}"
        effect = method in EFFECTS[self._name]

        def through_weather(*args: Any, **options: Any) -> Any:
            if not self._alive():
                raise SimulatedDeath
            if call in _CANNOT_FAIL:
                return real(*args, **options)
            if self._name == "live" and self._hazards.happens(self._hazards.weather.misbehave):
                self._hazards.misbehave(self._port, method, *args[:2])
            result = self._hazards.around_call(call, lambda: real(*args, **options), effect=effect)
            if not self._alive():
                raise SimulatedDeath
            return result

        return through_weather
