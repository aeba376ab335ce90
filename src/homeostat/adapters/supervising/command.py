"""Restarting by a configured command: ``systemctl restart shop``, ``docker restart shop``.

Whatever runs the program elsewhere does the restart; nothing is handed over. The command is bounded in
time, and that it ended well says only that: whether the program came back as new is seen by its
processes (`homeostat.flows.observing`).
"""

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from homeostat_agent.redact import clean_text

from homeostat.core.errors import Conflict, NotFound
from homeostat.model.restart import RestartableProgram, RestartPhase, RestartPlan, RestartReport

PROGRAM_ID = "restart-command"
_LAST_CHARS = 2_000


class CommandRestarter:
    """Implements `homeostat.ports.restarting.Restarter` by running one command in `folder`."""

    def __init__(self, command: Sequence[str], *, folder: Path) -> None:
        self._command = tuple(command)
        self._folder = folder
        self._lock = threading.Lock()
        self._report: RestartReport | None = None

    def programs(self) -> Sequence[RestartableProgram]:
        return (self._program(),)

    def begin(self, program_id: str, request_id: str, plan: RestartPlan) -> RestartableProgram:
        if program_id != PROGRAM_ID:
            raise NotFound("no-such-program", f"{program_id[:60]!r} is not what the restart command restarts")
        with self._lock:
            report = self._report
            if report is not None and report.request_id == request_id:
                return self._program()
            if report is not None and not report.phase.is_over:
                raise Conflict("restart-under-way", "the restart command is being run already")
            self._report = RestartReport(request_id=request_id, phase=RestartPhase.STARTING)
        thread = threading.Thread(target=self._run, args=(request_id, plan.timeout_s), name="restart-command")
        thread.daemon = True
        thread.start()
        return self._program()

    def _program(self) -> RestartableProgram:
        return RestartableProgram(id=PROGRAM_ID, command=Path(self._command[0]).name, pid=None, report=self._report)

    def _run(self, request_id: str, timeout_s: float) -> None:
        began_s = time.monotonic()
        reason, said = "", b""
        try:
            done = subprocess.run(
                self._command,
                cwd=self._folder,
                env=os.environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=timeout_s,
                check=False,
            )
            said = done.stderr
            if done.returncode:
                reason = f"the restart command ended with code {done.returncode}"
        except subprocess.TimeoutExpired as error:
            said = error.stderr or b""
            reason = f"the restart command did not end within {timeout_s:g} s"
        except OSError as error:
            reason = f"the restart command cannot be run: {error.strerror}"
        told = said.decode("utf-8", "replace")[-_LAST_CHARS:] if reason else ""
        self._report = RestartReport(
            request_id=request_id,
            phase=RestartPhase.FAILED if reason else RestartPhase.DONE,
            reason=reason,
            last_words=clean_text(told, repository=str(self._folder), max_chars=_LAST_CHARS),
            took_s=round(time.monotonic() - began_s, 3),
        )
