"""Host processes in memory, which can be told to misbehave. Passes the same contract suite as the gateway."""

import ast
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from homeostat_agent.reload.plan import plan_module

from homeostat.core.ids import ProcessId
from homeostat.model.canary import Share
from homeostat.model.process import HostProcess, LiveOutcome, LiveResult, LoadedFiles, RunningSource
from homeostat.ports.live import LiveChange, ModuleChange


class Misbehaviour(StrEnum):
    """What goes wrong with the next command of a kind."""

    REFUSE = "refuse"
    """The planner would not: restart required, nothing changed."""

    NOT_ROUTABLE = "not_routable"
    """A swap would do, a share of the calls would not: nothing changed. Only where a share is asked for."""

    FAIL = "fail"
    """It was tried and put back."""

    UNREACHABLE = "unreachable"
    """The command does not get there: nothing changed, no answer."""

    LOSE_ANSWER = "lose_answer"
    """It is carried out, and the answer is lost."""

    LATE = "late"
    """It is carried out after the caller gave up waiting: before the next command to this process, at the latest."""

    DIE = "die"
    """The process dies on the way: no answer, and it is not connected any more."""

    END = "end"
    """The process ends on the way, and it is seen to have ended: no answer, and it is not listed any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """A change that a share of the calls runs in a process."""

    share: Share
    modules: tuple[ModuleChange, ...]
    until_s: float
    """When its lease ends, by the process's own clock."""


@dataclass(slots=True)
class _Process:
    shown: HostProcess
    loaded: dict[str, str]
    undo: dict[str, tuple[ModuleChange, ...]] = field(default_factory=dict)
    routed: dict[str, Routed] = field(default_factory=dict)
    """Changes that a share of the calls runs; `loaded` is what the others run."""

    parent: ProcessId | None = None
    covered: set[str] = field(default_factory=set)
    """Changes in force that a settled one was made upon."""

    stopped: bool = False
    script: dict[str, deque[Misbehaviour]] = field(default_factory=dict)
    late: list[Callable[[], object]] = field(default_factory=list)
    listed: bool = True


class FakeLive:
    """Implements `homeostat.ports.live.LiveProcesses` and `EditedProcesses`. Thread safe.

    A process has loaded some sources; a swap is refused where neither of its sources is the loaded one,
    as the reloader would. `calls` lists every command that was made, in order. A wait takes no longer
    than `longest_wait_s`, whatever it was asked for: a world on a fake clock has no time to lose. The leases
    of shares run out by `monotonic_s`, where there is one.
    """

    def __init__(self, *, longest_wait_s: float | None = None, monotonic_s: Callable[[], float] = lambda: 0.0) -> None:
        self.calls: list[tuple[str, ProcessId, str]] = []
        self._lock = threading.Condition()
        self._longest_wait_s = longest_wait_s
        self._monotonic_s = monotonic_s
        self._processes: dict[ProcessId, _Process] = {}
        self._gone: set[str] = set()
        self._gathered = True

    # What a test arranges

    def gather(self, *, done: bool) -> None:
        """Be a hub that started a moment ago (not `done`), or one that has heard of everyone since."""
        with self._lock:
            self._gathered = done
            self._lock.notify_all()

    def attach(
        self, process: HostProcess, *, loaded: dict[str, str] | None = None, parent: ProcessId | None = None
    ) -> None:
        """Add a process that has loaded these sources (path → text), or let one that was lost come back."""
        with self._lock:
            self._processes[process.id] = _Process(shown=process, loaded=dict(loaded or {}), parent=parent)
            self._gone.discard(process.id)
            self._lock.notify_all()

    def misbehave(self, process_id: ProcessId, command: str, *how: Misbehaviour) -> None:
        """Script the next commands of a kind (``prepare``, ``swap``, ``rollback``) to this process, one each."""
        with self._lock:
            self._processes[process_id].script.setdefault(command, deque()).extend(how)

    def load(self, process_id: ProcessId, path: str, source: str) -> None:
        """Let a process import a file now: what it reads is what lies on the disk at this moment."""
        with self._lock:
            self._processes[process_id].loaded[path] = source

    def lose(self, process_id: ProcessId) -> None:
        """Cut the connection: the process stays listed and goes on running what it runs."""
        self._connect(process_id, connected=False)

    def expire(self, process_id: ProcessId) -> None:
        """Let the lease of a lost process run out: it is off the list, and goes on running what it runs."""
        with self._lock:
            self._processes[process_id].listed = False
            self._lock.notify_all()

    def restart_hub(self) -> None:
        """Be a hub that has just started: nobody is listed, and nobody known to be gone, until they dial in."""
        with self._lock:
            for process in self._processes.values():
                process.listed = False
            self._gone.clear()
            self._gathered = False

    def reconnect(self, process_id: ProcessId) -> None:
        """Let a lost process dial in again, with what is in force in it."""
        with self._lock:
            process = self._processes[process_id]
            self._notice_lapses(process)
            process.listed = True
            self._gone.discard(process_id)
        self._connect(process_id, connected=True)

    def let_late_ones_arrive(self, process_id: ProcessId) -> None:
        """Carry out the commands to this process whose callers have given up."""
        with self._lock:
            self._settle_late(self._processes[process_id])

    def end(self, process_id: ProcessId) -> None:
        """Let the process end: it is no longer listed. A hub that never heard of it does not hear of its end."""
        with self._lock:
            if self._processes.pop(process_id).listed:
                self._gone.add(process_id)
            self._lock.notify_all()

    def stop(self, process_id: ProcessId) -> None:
        """Let the process hang: it stays connected, and neither answers nor does anything until it goes on."""
        self._processes[process_id].stopped = True

    def go_on(self, process_id: ProcessId) -> None:
        """Let a process that was stopped go on; what it was sent meanwhile is out of date, and is not done."""
        self._processes[process_id].stopped = False

    def is_stopped(self, process_id: ProcessId) -> bool:
        """Tell whether the process hangs."""
        process = self._processes.get(process_id)
        return process is not None and process.stopped

    def end_leases(self, process_id: ProcessId) -> None:
        """Let the process not have heard of the hub for so long that it gives its canaries up."""
        with self._lock:
            process = self._processes[process_id]
            process.routed.clear()
            self._count(process)

    def share(self, process_id: ProcessId, change_id: str) -> int:
        """Return the percentage of the calls that run this change: 100 where it was swapped, 0 where it is unknown."""
        routed = self.routed(process_id)
        whole = 100 if change_id in self._processes[process_id].undo else 0
        return routed[change_id].share.percent if change_id in routed else whole

    def routed(self, process_id: ProcessId) -> Mapping[str, Routed]:
        """Return the changes that a share of the calls runs in a process now, listed or not."""
        with self._lock:
            process = self._processes[process_id]
            self._give_back_lapsed(process)
            return dict(process.routed)

    def source(self, process_id: ProcessId, path: str) -> str:
        """Return what the process runs of a file."""
        return self.sources(process_id)[path]

    def sources(self, process_id: ProcessId) -> Mapping[str, str]:
        """Return everything that the process runs, listed or not, by path."""
        with self._lock:
            return self._processes[process_id].loaded

    # LiveProcesses

    def processes(self) -> Sequence[HostProcess]:
        with self._lock:
            listed = (item.shown for item in self._processes.values() if item.listed)
            return sorted(listed, key=lambda item: item.started_at)

    def prepare(self, process_id: ProcessId, change: LiveChange, *, timeout_s: float) -> LiveResult:
        return self._command("prepare", process_id, change.id, change)

    def swap(
        self, process_id: ProcessId, change: LiveChange, *, share: Share | None = None, timeout_s: float
    ) -> LiveResult:
        return self._command("swap", process_id, change.id, change, share)

    def rollback(self, process_id: ProcessId, change_id: str, *, timeout_s: float) -> LiveResult:
        return self._command("rollback", process_id, change_id, None)

    def loaded(self, process_id: ProcessId, *, timeout_s: float) -> LoadedFiles | None:
        with self._lock:
            process = self._answering(process_id)
            return None if process is None else LoadedFiles(files=frozenset(process.loaded), parent=process.parent)

    def settle(self, process_id: ProcessId, change_id: str, *, timeout_s: float) -> bool:
        with self._lock:
            process = self._answering(process_id)
            if process is None or change_id in process.routed:
                return False
            settled = process.undo.get(change_id, ())
            earlier = list(process.undo)[: list(process.undo).index(change_id)] if settled else []
            paths = {item.path for item in settled}
            process.covered |= {name for name in earlier if paths & {item.path for item in process.undo[name]}}
            if process.undo.pop(change_id, None) is not None:
                process.shown = replace(process.shown, changes=(*process.undo, *process.routed))
            return True

    def _answering(self, process_id: ProcessId) -> _Process | None:
        process = self._processes.get(process_id)
        there = process is not None and process.listed and process.shown.connected and not process.stopped
        return process if there else None

    def wait_until_connected(self, process_ids: Sequence[str], *, timeout_s: float) -> bool:
        return self._wait(lambda: all(map(self._settled, process_ids)), timeout_s)

    def wait_until_gathered(self, *, timeout_s: float) -> bool:
        return self._wait(lambda: self._gathered, timeout_s)

    def _wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait in real time; a simulator, whose time is its own, does it differently."""
        bounded_s = timeout_s if self._longest_wait_s is None else min(timeout_s, self._longest_wait_s)
        with self._lock:
            return self._lock.wait_for(condition, timeout=bounded_s)

    def _settled(self, process_id: str) -> bool:
        process = self._processes.get(ProcessId(process_id))
        return process.shown.connected if process is not None and process.listed else process_id in self._gone

    def _connect(self, process_id: ProcessId, *, connected: bool) -> None:
        with self._lock:
            process = self._processes[process_id]
            process.shown = replace(process.shown, connected=connected)
            self._lock.notify_all()

    def _command(
        self,
        kind: str,
        process_id: ProcessId,
        change_id: str,
        change: LiveChange | None,
        share: Share | None = None,
    ) -> LiveResult:
        with self._lock:
            self.calls.append((kind, process_id, change_id))
            process = self._processes.get(process_id)
            if process is None or not process.listed or not process.shown.connected:
                return _result(process_id, LiveOutcome.UNREACHABLE, "it is not connected; nothing was sent")
            if process.stopped:
                return _result(process_id, LiveOutcome.UNREACHABLE, "no answer in time")
            self._settle_late(process)
            script = process.script.get(kind)
            how = script.popleft() if script else None
            match how:
                case Misbehaviour.NOT_ROUTABLE if share is not None:
                    return _result(process_id, LiveOutcome.NOT_ROUTABLE, "scripted: it cannot be tried on a share")
                case Misbehaviour.REFUSE:
                    return _result(process_id, LiveOutcome.RESTART_REQUIRED, "scripted: the planner would not")
                case Misbehaviour.FAIL:
                    return _result(process_id, LiveOutcome.FAILED, "scripted: tried and put back")
                case Misbehaviour.UNREACHABLE:
                    return _result(process_id, LiveOutcome.UNREACHABLE, "scripted: no answer in time")
                case Misbehaviour.LATE:
                    process.late.append(lambda: self._carry_out(process, kind, change_id, change, share))
                    return _result(process_id, LiveOutcome.UNREACHABLE, "scripted: no answer in time")
                case Misbehaviour.DIE:
                    process.shown = replace(process.shown, connected=False)
                    self._lock.notify_all()
                    return _result(process_id, LiveOutcome.UNREACHABLE, "scripted: the connection was lost")
                case Misbehaviour.END:
                    self.end(process_id)
                    return _result(process_id, LiveOutcome.UNREACHABLE, "scripted: the connection was lost")
            result = self._carry_out(process, kind, change_id, change, share)
            if how is Misbehaviour.LOSE_ANSWER:
                return _result(process_id, LiveOutcome.UNREACHABLE, "scripted: the answer was lost")
            return result

    @staticmethod
    def _settle_late(process: _Process) -> None:
        late, process.late = process.late, []
        for command in late:
            command()

    def _carry_out(
        self, process: _Process, kind: str, change_id: str, change: LiveChange | None, share: Share | None
    ) -> LiveResult:
        process_id = process.shown.id
        self._notice_lapses(process)
        if change is None:
            return self._roll_back(process, change_id)
        if not process.shown.hmr_enabled:
            return _result(process_id, LiveOutcome.RESTART_REQUIRED, "hot module reload is disabled for this process")
        loaded = [item for item in change.modules if item.path in process.loaded]
        runs = _running_source(process, loaded) if kind == "prepare" else None
        reasons = [reason for item in loaded for reason in _restart_reasons(item, change.mode)]
        if reasons:
            return _result(process_id, LiveOutcome.RESTART_REQUIRED, "; ".join(reasons), runs)
        refused = _in_the_way(process, change) or _unlike(process, loaded)
        if refused:
            return _result(process_id, LiveOutcome.FAILED, refused, runs)
        left = tuple(item for item in loaded if process.loaded[item.path] == item.old_source)
        if kind == "swap" and share is not None and change_id not in process.undo:
            obstacles = [name for item in left for name in _cached(item)]
            detail = f"{', '.join(obstacles)}: a cache would mix results of both arms" if obstacles else ""
            detail = detail or "; ".join(_risked(item, change.mode) for item in left).strip("; ")
            if detail:
                return _result(process_id, LiveOutcome.NOT_ROUTABLE, detail)
            until_s = self._monotonic_s() + share.lease_s
            process.routed[change_id] = Routed(share=share, modules=change.modules, until_s=until_s)
            self._count(process)
        elif kind == "swap" and (left or change_id not in process.undo):
            process.routed.pop(change_id, None)
            process.loaded |= {item.path: item.new_source for item in left}
            process.undo[change_id] = change.modules
            self._count(process)
        return LiveResult(
            process_id=process_id,
            outcome=LiveOutcome.SWAPPED,
            detail="",
            swap_us=10 if kind == "swap" else None,
            functions=tuple(item.path for item in left),
            runs=runs,
        )

    def _roll_back(self, process: _Process, change_id: str) -> LiveResult:
        process_id = process.shown.id
        if process.routed.pop(change_id, None) is not None:
            self._count(process)
            return LiveResult(process_id=process_id, outcome=LiveOutcome.SWAPPED, detail="", swap_us=10)
        if change_id not in process.undo:
            return _result(process_id, LiveOutcome.SWAPPED, "this change is not in force here")
        if change_id in process.covered and _unlike(process, process.undo[change_id]):
            return _result(
                process_id, LiveOutcome.RESTART_REQUIRED, "a later change touched the same files, and stands"
            )
        process.covered.discard(change_id)
        modules = process.undo.pop(change_id)
        # Whether it was swapped or imported since: what runs the new source gets the old.
        process.loaded |= {
            item.path: item.old_source for item in modules if process.loaded.get(item.path) == item.new_source
        }
        self._count(process)
        return LiveResult(process_id=process_id, outcome=LiveOutcome.SWAPPED, detail="", swap_us=10)

    def _give_back_lapsed(self, process: _Process) -> None:
        lapsed = [name for name, item in process.routed.items() if item.until_s <= self._monotonic_s()]
        for change_id in lapsed:
            del process.routed[change_id]  # `shown` stands as it is: the hub hears of it with the next answer

    def _notice_lapses(self, process: _Process) -> None:
        self._give_back_lapsed(process)
        if process.shown.changes != (*process.undo, *process.routed):
            self._count(process)

    @staticmethod
    def _count(process: _Process) -> None:
        changes = (*process.undo, *process.routed)
        process.shown = replace(process.shown, generation=process.shown.generation + 1, changes=changes)


def _restart_reasons(item: ModuleChange, mode: str) -> tuple[str, ...]:
    """Decide as the process would (`homeostat_agent.reload.plan`), from the sources alone."""
    return plan_module(item.path, item.old_source, item.new_source, mode=mode).restart_reasons


def _in_the_way(process: _Process, change: LiveChange) -> str:
    paths = {item.path for item in change.modules}
    for other, routed in process.routed.items():
        if other != change.id and not paths.isdisjoint(item.path for item in routed.modules):
            return f"the change {other} of the same files is under canary: end that first"
    return ""


def _unlike(process: _Process, loaded: Sequence[ModuleChange]) -> str:
    unlike = [item.path for item in loaded if process.loaded[item.path] not in (item.old_source, item.new_source)]
    return f"{unlike[0]} is not what the change was made from" if unlike else ""


def _risked(item: ModuleChange, mode: str) -> str:
    """Say why no share of the calls can have what only an aggressive plan takes live."""
    plan = plan_module(item.path, item.old_source, item.new_source, mode=mode)
    return "; ".join(one.not_routable for one in plan.definitions if one.risk and one.not_routable)


def _cached(item: ModuleChange) -> list[str]:
    """Return the functions that change and stand behind a cache of `functools`, as the process would find them."""
    found = []
    for node in ast.walk(ast.parse(item.new_source)):
        decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else ()
        words = {word.id for decorator in decorators for word in ast.walk(decorator) if isinstance(word, ast.Name)}
        if isinstance(node, ast.FunctionDef) and words & {"lru_cache", "cache"}:
            changed = (ast.get_source_segment(item.new_source, node) or "") not in item.old_source
            found += [f"`{node.name}`"] * changed
    return found


def _running_source(process: _Process, loaded: Sequence[ModuleChange]) -> RunningSource:
    if not loaded:
        return RunningSource.NOT_LOADED
    routed = {item.path for change in process.routed.values() for item in change.modules}
    if any(item.path in routed for item in loaded):
        return RunningSource.CANARY
    texts = [(process.loaded[item.path], item) for item in loaded if item.old_source != item.new_source]
    if any(text == item.new_source for text, item in texts):
        return RunningSource.NEW
    if any(text != item.old_source for text, item in texts):
        return RunningSource.OTHER
    return RunningSource.OLD if texts else RunningSource.EITHER


def _result(process_id: ProcessId, outcome: LiveOutcome, detail: str, runs: RunningSource | None = None) -> LiveResult:
    return LiveResult(process_id=process_id, outcome=outcome, detail=detail, runs=runs)
