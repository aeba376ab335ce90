"""The processes of the program: they start, serve, err as their code does, crash, lose the hub and find it again."""

import random
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from homeostat_agent.canary.report import CanaryReport
from homeostat_agent.capture.frames import Frame
from homeostat_agent.capture.occurrence import Occurrence
from homeostat_agent.capture.traffic import Series
from homeostat_agent.context import HostContext
from homeostat_agent.otlp import encode_logs, encode_metrics

from homeostat.core.ids import CommitId, ProcessId
from homeostat.model.canary import Share
from homeostat.model.process import HostProcess, LiveResult
from homeostat.model.vitals import LATENCY_BOUNDS_MS
from homeostat.ports.live import LiveChange
from homeostat.testing.fake_live import FakeLive, Routed
from homeostat.testing.memory_repository import MemoryRepository
from homeostat.testing.simulation.arms import Arms
from homeostat.testing.simulation.program import STUCK, reply, sources_at
from homeostat.testing.simulation.timeline import Timeline
from homeostat.testing.simulation.trace import Trace

TICK_S = 10.0
LEASE_S = 15.0
SILENCE_S = 30.0
"""After so long without a word the hub takes a connection for lost."""

_KEPT_BODIES = 60
_LOGGED_EACH = 5
"""Occurrences of one error that a process tells of one interval, as the agent's budget has it."""

_NOISE = 0.001
_NO_BUCKETS = (0,) * (len(LATENCY_BOUNDS_MS) + 1)

Deliver = Callable[[str, Mapping[str, Any], ProcessId], None]


class SimulatedLive(FakeLive):
    """The fake, in simulated time."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(monotonic_s=timeline.elapsed_s)
        self._timeline = timeline

    def prepare(self, process_id: ProcessId, change: LiveChange, *, timeout_s: float) -> LiveResult:
        self._await_answer(process_id, timeout_s)
        return super().prepare(process_id, change, timeout_s=timeout_s)

    def swap(
        self, process_id: ProcessId, change: LiveChange, *, share: Share | None = None, timeout_s: float
    ) -> LiveResult:
        self._await_answer(process_id, timeout_s)
        return super().swap(process_id, change, share=share, timeout_s=timeout_s)

    def rollback(self, process_id: ProcessId, change_id: str, *, timeout_s: float) -> LiveResult:
        self._await_answer(process_id, timeout_s)
        return super().rollback(process_id, change_id, timeout_s=timeout_s)

    def _await_answer(self, process_id: ProcessId, timeout_s: float) -> None:
        """Let the time pass in which a process that hangs does not answer."""
        connected = any(item.id == process_id and item.connected for item in self.processes())
        if connected and self.is_stopped(process_id):
            self._timeline.pause(timeout_s)

    def _wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        return self._timeline.wait_until(condition, timeout_s=timeout_s)


@dataclass(slots=True, kw_only=True)
class SimulatedProcess:
    id: ProcessId
    pid: int
    started_at: datetime
    read: dict[str, str]
    """What it read of the program's files at its start."""

    commit: CommitId | None
    last_tick: datetime
    known: bool = False
    """Whether it ever reached a hub: from then on the fake has what it runs."""

    connected: bool = False
    connected_at: datetime | None = None
    cut_off: bool = False
    alive: bool = True
    stuck: bool = False
    """It serves nobody any more; its agent lives."""

    hangs: bool = False
    """All of it is stopped."""

    ahead: timedelta = timedelta(0)
    """By how much its clock is ahead of the hub's."""

    losses: int = 0
    outbox: deque[tuple[str, Mapping[str, Any]]] = field(default_factory=lambda: deque(maxlen=_KEPT_BODIES))

    def connected_for_s(self, now: datetime) -> float:
        """Return for how long it has been connected, if it is."""
        return (now - self.connected_at).total_seconds() if self.connected_at is not None else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What one process really did in one interval (by its own clock), whether anybody was told or not."""

    process_id: ProcessId
    start: datetime
    end: datetime
    requests: int
    errors: int
    new: Mapping[str, tuple[int, int]]
    """By change under canary: units that ran the new code, and how many of them failed."""

    compared: Mapping[str, Counter[str]]
    """By change that ran on copies: what was found of how many calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How likely a process is to do something unasked, at each tick."""

    crash: float = 0.006
    cut_off: float = 0.008
    restart: float = 0.004
    hang: float = 0.004


class Fleet:
    """All processes of the program, under a supervisor that starts another one for each that ended."""

    def __init__(
        self,
        *,
        timeline: Timeline,
        rng: random.Random,
        trace: Trace,
        live: FakeLive,
        repository: MemoryRepository,
        requests_per_tick: int,
        manners: Manners,
    ) -> None:
        self.processes: dict[ProcessId, SimulatedProcess] = {}
        self.served: list[Served] = []
        self.manners = manners
        self.storm = 0.0
        """Share of requests that fail whatever the code: a service behind it is down."""

        self.has_customers = True

        self._timeline = timeline
        self._rng = rng
        self._trace = trace
        self._live = live
        self._repository = repository
        self._requests_per_tick = requests_per_tick
        self._deliver: Deliver | None = None
        self._changed: Callable[[], None] = lambda: None
        self._started = 0

    # The hub's door

    def open_door(self, deliver: Deliver, changed: Callable[[], None]) -> None:
        """A hub listens: every process dials in, within seconds."""
        self._deliver, self._changed = deliver, changed
        for process in self.processes.values():
            self._dial_soon(process)

    def shut_door(self) -> None:
        """The hub is gone, and with it every connection."""
        self._deliver = None
        for process in self.processes.values():
            process.connected = False

    def sources(self, process: SimulatedProcess) -> Mapping[str, str]:
        """Return what a process runs now."""
        return self._live.sources(process.id) if process.known else process.read

    def routed(self, process: SimulatedProcess) -> Mapping[str, Routed]:
        """Return the changes that a share of its calls runs now."""
        return self._live.routed(process.id) if process.known else {}

    def requests_since(self, since: datetime) -> int:
        return sum(item.requests for item in self.served if item.start >= since)

    # What processes do

    def start(self) -> None:
        """Start one more process: it reads what lies on disk now, and dials in when it is up."""
        self._started += 1
        now = self._timeline.now()
        process = SimulatedProcess(
            id=ProcessId(f"00000000-0000-4000-9000-{self._started:012x}"),
            pid=1000 + self._started,
            started_at=now,
            read=sources_at(self._repository.disk),
            commit=self._repository.branches[self._repository.deployed],
            last_tick=now,
            ahead=timedelta(seconds=self._rng.choice((0, 0, 0, -2, 2))),
        )
        self.processes[process.id] = process
        self._trace.line("program", f"process {process.id[-3:]} starts")
        self._timeline.after(self._rng.uniform(0.2, 3.0), lambda: self._dial(process))
        self._timeline.after(self._rng.uniform(0.1, TICK_S), lambda: self._tick(process))

    def restart(self, process: SimulatedProcess) -> None:
        """End a process in order and start another in its place."""
        if process.alive:
            self._trace.line("program", f"process {process.id[-3:]} is restarted")
            self.retire(process)
            self._timeline.after(self._rng.uniform(0.1, 5.0), self.start)

    def retire(self, process: SimulatedProcess) -> None:
        """End a process in order."""
        if process.alive:
            self._end(process)
            if process.known:
                self._live.end(process.id)
                self._changed()

    def crash(self, process: SimulatedProcess) -> None:
        self._trace.line("program", f"process {process.id[-3:]} crashes")
        was_connected = process.connected
        self._end(process)
        if process.known:
            if was_connected:
                self._live.lose(process.id)
                self._changed()
            self._timeline.after(LEASE_S, lambda: self._forget(process))
        self._timeline.after(self._rng.uniform(0.5, 20.0), self.start)

    def restart_all(self) -> None:
        for process in list(self.processes.values()):
            self.restart(process)

    def _end(self, process: SimulatedProcess) -> None:
        process.alive = process.connected = False
        process.losses += 1
        del self.processes[process.id]

    def _forget(self, process: SimulatedProcess) -> None:
        self._live.end(process.id)
        self._changed()

    def _cut_off(self, process: SimulatedProcess) -> None:
        """Cut a process off from the hub for a while, perhaps for longer than its lease."""
        seconds = self._rng.choice((2.0, 8.0, 40.0))
        self._trace.line("program", f"process {process.id[-3:]} loses the hub for {seconds:.0f} s")
        process.cut_off = True
        if process.connected:
            process.connected = False
            process.losses += 1
            loss = process.losses
            self._live.lose(process.id)
            self._changed()
            self._timeline.after(LEASE_S, lambda: self._expire(process, loss))
        self._timeline.after(seconds, lambda: self._find_again(process))

    def _expire(self, process: SimulatedProcess, loss: int) -> None:
        listed = any(item.id == process.id for item in self._live.processes())
        if process.alive and process.losses == loss and listed and not process.connected:
            self._live.expire(process.id)
            self._changed()

    def _hang(self, process: SimulatedProcess) -> None:
        """Stop a process for a while, perhaps for longer than anybody waits for it."""
        seconds = self._rng.choice((3.0, 20.0, 90.0))
        self._trace.line("program", f"process {process.id[-3:]} hangs for {seconds:.0f} s")
        process.hangs = True
        self._live.stop(process.id)
        process.losses += 1
        loss = process.losses
        self._timeline.after(SILENCE_S, lambda: self._go_silent(process, loss))
        self._timeline.after(seconds, lambda: self._go_on(process))

    def _go_silent(self, process: SimulatedProcess, loss: int) -> None:
        if process.alive and process.hangs and process.connected and process.losses == loss:
            process.connected = False
            self._live.lose(process.id)
            self._changed()
            self._timeline.after(LEASE_S, lambda: self._expire(process, loss))

    def _go_on(self, process: SimulatedProcess) -> None:
        process.hangs = False
        if process.alive:
            self._trace.line("program", f"process {process.id[-3:]} goes on")
            self._live.go_on(process.id)
            self._timeline.after(0, lambda: self._tick(process))
            if not process.connected:
                self._dial_soon(process)

    def _find_again(self, process: SimulatedProcess) -> None:
        process.cut_off = False
        self._dial_soon(process)

    def _dial_soon(self, process: SimulatedProcess) -> None:
        self._timeline.after(self._rng.uniform(0.1, 5.0), lambda: self._dial(process))

    def _dial(self, process: SimulatedProcess) -> None:
        if self._deliver is None or not process.alive or process.cut_off or process.connected or process.hangs:
            return
        process.connected = True
        process.connected_at = self._timeline.now()
        process.losses += 1
        if process.known:
            self._live.let_late_ones_arrive(process.id)
            self._live.reconnect(process.id)
        else:
            process.known = True
            self._live.attach(_shown(process), loaded=process.read)
        self._trace.line("program", f"process {process.id[-3:]} is connected")
        self._changed()

    def _tick(self, process: SimulatedProcess) -> None:
        if not process.alive or process.hangs:
            return
        if process.known:
            self._live.let_late_ones_arrive(process.id)
        self._serve(process)
        while process.outbox and process.connected and self._deliver is not None:
            self._deliver(*process.outbox.popleft(), process.id)
        self._timeline.after(TICK_S * self._rng.uniform(0.9, 1.1), lambda: self._tick(process))
        self._misbehave(process)

    def _misbehave(self, process: SimulatedProcess) -> None:
        manners, dice = self.manners, self._rng.random()
        if dice < manners.crash:
            self.crash(process)
        elif dice < manners.crash + manners.cut_off:
            if not process.cut_off:
                self._cut_off(process)
        elif dice < manners.crash + manners.cut_off + manners.restart:
            self.restart(process)
        elif dice < manners.crash + manners.cut_off + manners.restart + manners.hang and process.known:
            self._hang(process)

    def _serve(self, process: SimulatedProcess) -> None:
        sources = self.sources(process)
        now = self._timeline.now()
        arms = Arms(sources, self.routed(process), self._rng)
        count = self._rng.randint(self._requests_per_tick // 2, self._requests_per_tick * 3 // 2)
        asked = arms.split(count) if self.has_customers and not process.stuck else Counter()
        answers: dict[tuple[str, str], int] = {}
        occurrences: list[Occurrence] = []
        at_ns = int((now + process.ahead).timestamp() * 1e9)
        for (path, kind, change), times in sorted(asked.items()):
            outcome = reply(arms.source(path, change), path, kind)
            if outcome.value == STUCK:
                self._get_stuck(process)
                break
            failed = times if outcome.error else sum(self._rng.random() < _NOISE + self.storm for _ in range(times))
            error = outcome.error or ("TimeoutError" if failed else "")
            _add(answers, (f"/{path[5:-3]}", ""), times - failed)
            _add(answers, (f"/{path[5:-3]}", error), failed)
            arms.count(path, change, times=times, failed=failed, error=error)
            arms.compare(path, kind, times=times)
            told = _occurrence(path, outcome.line, error, at_ns)
            occurrences += [told] * min(failed, _LOGGED_EACH)
        errors = sum(times for (_, error), times in answers.items() if error)
        requests = sum(answers.values())
        context = HostContext(repository="/srv/shop", commit=process.commit, service_name="shop", process_id=process.id)
        if occurrences:
            process.outbox.append(("logs", encode_logs(occurrences, context)))
        snapshot = _snapshot(process, now, answers, errors, arms.reports())
        process.outbox.append(("metrics", encode_metrics(snapshot, context)))
        self.served.append(
            Served(
                process_id=process.id,
                start=process.last_tick + process.ahead,
                end=now + process.ahead,
                requests=requests,
                errors=errors,
                new=arms.new(),
                compared=arms.compared(),
            )
        )
        process.last_tick = now

    def _get_stuck(self, process: SimulatedProcess) -> None:
        self._trace.line("program", f"process {process.id[-3:]} is stuck")
        process.stuck = True
        self._timeline.after(self._rng.uniform(20, 120), lambda: self.restart(process))


def _add(answers: dict[tuple[str, str], int], key: tuple[str, str], times: int) -> None:
    if times:
        answers[key] = answers.get(key, 0) + times


def _occurrence(path: str, line: int, error: str, at_ns: int) -> Occurrence:
    frame = Frame(path, line, "answer")
    return Occurrence(at_ns, 17, "ERROR", "shop", "request failed", error, "", frame, (frame,), f"/{path[5:-3]}")


def _snapshot(
    process: SimulatedProcess,
    now: datetime,
    answers: Mapping[tuple[str, str], int],
    errors: int,
    canaries: Sequence[CanaryReport],
) -> dict[str, Any]:
    return {
        "start_unix_ns": int((process.last_tick + process.ahead).timestamp() * 1e6) * 1000,
        "end_unix_ns": int((now + process.ahead).timestamp() * 1e6) * 1000,
        "canaries": canaries,
        "requests": {key: Series(times * 0.004, _buckets(times)) for key, times in answers.items()},
        "errors_logged": errors,
        "serves": 1,
    }


def _buckets(times: int) -> tuple[int, ...]:
    return (*_NO_BUCKETS[:2], times, *_NO_BUCKETS[3:])


def _shown(process: SimulatedProcess) -> HostProcess:
    return HostProcess(
        id=process.id,
        pid=process.pid,
        started_at=process.started_at,
        python="3.11.7",
        command="shop",
        commit=process.commit,
        hmr_enabled=True,
        generation=0,
        changes=(),
        connected=True,
    )
