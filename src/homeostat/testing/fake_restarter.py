"""Programs that can be restarted, in memory. Passes the same contract suite as the adapters."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from homeostat.core.errors import Conflict, NotFound
from homeostat.model.restart import RestartableProgram, RestartPhase, RestartPlan, RestartReport


class FakeRestarter:
    """Implements `homeostat.ports.restarting.Restarter`. Thread safe.

    A restart that was begun stays under way until the test says how it ends. `calls` lists every
    restart that was really begun, in order.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self._programs: dict[str, RestartableProgram] = {}

    # What a test arranges

    def supervise(self, program_id: str, *, pid: int | None = 4711, command: str = "python3") -> None:
        """Let there be a supervised program."""
        with self._lock:
            self._programs[program_id] = RestartableProgram(id=program_id, command=command, pid=pid)

    def lose(self, program_id: str) -> None:
        """Let its supervisor be gone."""
        with self._lock:
            del self._programs[program_id]

    def end(
        self,
        program_id: str,
        phase: RestartPhase,
        *,
        reason: str = "",
        last_words: str = "",
        pid: int | None = 4712,
        then: Callable[[], object] = lambda: None,
    ) -> None:
        """Let the restart that is under way end so; `then` makes the world look like it."""
        with self._lock:
            program = self._programs[program_id]
            assert program.report is not None and not program.report.phase.is_over
            report = replace(program.report, phase=phase, reason=reason, last_words=last_words, took_s=1.5)
            self._programs[program_id] = replace(program, report=report, pid=pid)
        then()

    # Restarter

    def programs(self) -> Sequence[RestartableProgram]:
        with self._lock:
            return tuple(self._programs.values())

    def begin(self, program_id: str, request_id: str, plan: RestartPlan) -> RestartableProgram:
        with self._lock:
            program = self._programs.get(program_id)
            if program is None:
                raise NotFound("no-such-program", f"no supervisor of {program_id} is there any more")
            report = program.report
            if report is not None and report.request_id == request_id:
                return program
            if report is not None and not report.phase.is_over:
                raise Conflict("restart-under-way", "this program is being restarted already")
            self.calls.append((program_id, request_id))
            begun = RestartReport(request_id=request_id, phase=RestartPhase.STARTING)
            self._programs[program_id] = replace(program, report=begun)
            return self._programs[program_id]
