"""The supervisor of one program: its parent, which starts, watches, restarts and stops it.

Used by `homeostat up -- CMD` and `homeostat run --supervise -- CMD` alike. Whoever wants a restart
asks at the door (`homeostat.adapters.supervising.client`); the supervisor carries it out by itself, so
that a hub that ends meanwhile changes nothing. One that is killed leaves the program running, and the
next one that is started with the same command takes it over (`slot`).
"""

import os
import shlex
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from homeostat_agent.handover.retiring import PARKED_PREFIX

from homeostat.adapters.agents.launch import Launch
from homeostat.adapters.supervising.members import Member, Members
from homeostat.adapters.supervising.messages import encode_program, read_plan
from homeostat.adapters.supervising.offers import Offers
from homeostat.adapters.supervising.process import LastWords, ProgramProcess, start_process
from homeostat.adapters.supervising.reception import Reception
from homeostat.adapters.supervising.slot import Record, Slot, orphans, shown_name, take_slot
from homeostat.adapters.supervising.trial import Trial
from homeostat.core.errors import Conflict
from homeostat.model.restart import RestartableProgram, RestartPlan, RestartReport

STOP_S = 10.0
"""How long a program may take to end when its supervisor is stopped."""

_LAST_WORDS_S = 0.5
_TAKE_BACK_S = 60.0
"""How long a worker that did not come up again is left to the hub, which takes its change back."""


class Supervisor:
    """Supervises one program. `start` and `stop` are called once; `on_exit` is called from a thread.

    `make_launch` prepares a launch for each process, given the path of the door.
    """

    def __init__(
        self,
        *,
        state_dir: Path,
        repository: Path,
        kind: str,
        command: Sequence[str],
        folder: Path | None,
        make_launch: Callable[[Path], Launch],
        on_exit: Callable[[], None],
        say: Callable[[str], None],
        hub_is_up: Callable[[], bool],
    ) -> None:
        self.command = list(command)
        self.folder = folder
        self.say = say
        self.hub_is_up = hub_is_up
        self.members = Members()
        self._state_dir = state_dir
        self._repository = repository
        self._kind = kind
        self._make_launch = make_launch
        self._on_exit = on_exit
        self._lock = threading.RLock()
        self._slot: Slot | None = None
        self._reception: Reception | None = None
        self._program: ProgramProcess | None = None
        self._other: ProgramProcess | None = None
        self._offers: Offers | None = None
        self._trial: Trial | None = None
        self._report: RestartReport | None = None
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._code = 0
        self._tries = 0

    # Life

    def start(self) -> None:
        """Start the program, or take over the one that an earlier supervisor left running.

        `Conflict` (``program-running``) when an earlier `homeostat up` left another program behind;
        `InvalidInput` (``command-not-started``) when there is no such program.
        """
        slot = take_slot(self._state_dir, self.command, self.folder or Path.cwd())
        try:
            if self._kind == "up":
                _refuse_another(self._state_dir, slot.name)
            self._slot = slot
            self._reception = Reception(
                slot.door, on_member=self._member_called, on_claim=self._claimed, on_hub=self._asked
            )
            self._take_over(slot.remembered())
            self._reception.start()
            if self._program is None:
                self._program = self.start_process(stderr=None)
                self.remember()
                self.say(f"started {shlex.join(self.command)} as process {self._program.pid}")
        except BaseException:
            if self._reception is not None:
                self._reception.close()
            slot.close()
            self._slot = None
            raise
        threading.Thread(target=self._watch, name="supervisor-watch", daemon=True).start()

    def stop(self) -> int:
        """Stop the program (it is given 10 s) and return its exit code; of one that was found running, 0."""
        self._stopping.set()
        trial = self._trial
        if trial is not None:
            trial.join()
        if self._slot is None:
            return self._code
        for process in (self._other, self._program):
            if process is not None and process.is_alive():
                self._end(process)
        if not self._ended.is_set() and self._program is not None:
            self._code = self._program.code() or 0
        self._leave()
        return self._code

    def forward(self, number: int) -> None:
        """Pass a signal on to the program."""
        with self._lock:
            if self._program is not None:
                self._program.signal(number)

    @property
    def has_ended(self) -> bool:
        """Whether the program has ended by itself."""
        return self._ended.is_set()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    # What a restart does

    @property
    def program(self) -> ProgramProcess | None:
        return self._program

    def start_process(self, *, stderr: int | None) -> ProgramProcess:
        """Start one more process of the program."""
        slot = self._slot
        assert slot is not None
        launch = self._make_launch(slot.door.path)
        return start_process(self.command, launch=launch, environ=os.environ, folder=self.folder, stderr=stderr)

    def start_successor(self, words: LastWords, sockets: Mapping[Any, int]) -> ProgramProcess:
        """Start the process that may take the program's place, and offer it these sockets."""
        slot = self._slot
        assert slot is not None
        with self._lock:  # its agent calls before this is over, and must find its offers
            launch = self._make_launch(slot.door.path)
            self._offers = Offers(launch.id, sockets)
            self._other = start_process(
                self.command, launch=launch, environ=os.environ, folder=self.folder, stderr=words.descriptor
            )
        self.remember()
        return self._other

    def promote(self) -> None:
        """Let the process on trial be the program; the one before it is on its way out."""
        with self._lock:
            self._program, self._other = self._other, self._program
        self.remember()

    def drop_other(self) -> None:
        """Forget the second process: it has ended."""
        with self._lock:
            if self._other is not None:
                self._other.forget()
            self._other = None
            if self._offers is not None:
                self._offers.close()
            self._offers = None
        if self._slot is not None:
            for file in self._slot.door.path.parent.glob(f"{PARKED_PREFIX}*"):
                file.unlink(missing_ok=True)
        self.remember()

    def last_words(self) -> LastWords:
        """Return a new place for what a process on trial says."""
        slot = self._slot
        assert slot is not None
        self._tries += 1
        place = self._state_dir / "run" / f"stderr-{slot.name}-{self._tries}"
        return LastWords(place, repository=self._repository)

    def tell(self, report: RestartReport) -> None:
        """Show how far the restart is."""
        before, self._report = self._report, report
        if before is None or before.phase is not report.phase or before.request_id != report.request_id:
            self.say(f"restart: {report.phase.value}" + (f": {report.reason}" if report.reason else ""))

    def remember(self) -> None:
        """Write down what runs."""
        slot = self._slot
        if slot is None:
            return
        with self._lock:
            program, other = self._program, self._other
            slot.remember(
                Record(
                    kind=self._kind,
                    command=shown_name(self.command),
                    program=program.known if program is not None else None,
                    other=other.known if other is not None else None,
                )
            )

    # Callers

    def _member_called(self, member: Member) -> Mapping[str, Any]:
        self.members.join(member)
        with self._lock:
            offers = self._offers
        if offers is None or offers.launch_id != member.launch_id:
            return {"successor": False}
        return {"successor": True, "keep": offers.paths()}

    def _claimed(self, asked: Mapping[str, Any]) -> int | None:
        with self._lock:
            offers = self._offers
            if offers is None or offers.launch_id != asked.get("launch"):
                return None
            return offers.duplicate(asked)

    def _asked(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        if asked["do"] == "restart":
            self.restart(str(asked["request_id"]), read_plan(asked["plan"]))
        return encode_program(self.describe())

    def describe(self) -> RestartableProgram:
        """Return what the program is, and how far its restart."""
        slot, program = self._slot, self._program
        alive = program is not None and program.is_alive()
        return RestartableProgram(
            id=slot.name if slot is not None else "",
            command=shown_name(self.command),
            pid=program.pid if alive and program is not None else None,
            report=self._report,
        )

    def restart(self, request_id: str, plan: RestartPlan) -> None:
        """Begin a restart; the same request again is the same restart. `Conflict` while another one is made."""
        with self._lock:
            if self._report is not None and self._report.request_id == request_id:
                return
            if self._trial is not None and self._report is not None and self._report.phase.is_over:
                self._trial.join()  # it has said so with its last breath
            if self._trial is not None and self._trial.is_alive():
                raise Conflict("restart-under-way", "this program is being restarted already", hint="wait for its end")
            if self._stopping.is_set():
                raise Conflict("supervisor-stopping", "this program is being stopped")
            self._trial = Trial(self, request_id, plan)
            self._trial.start()

    # The end

    def _watch(self) -> None:
        """Wait for the program's own end. While it is restarted, its end is the restart's business."""
        while not self._stopping.is_set():
            program, trial = self._program, self._trial
            if trial is not None and trial.is_alive():
                trial.join(1.0)
                continue
            if program is not None and not program.wait(1.0):
                continue
            if trial is not self._trial or program is not self._program:
                continue
            if self._is_left_to_the_hub(trial):
                continue
            if not self._stopping.is_set():
                self._ended_by_itself(program)
            return

    def _is_left_to_the_hub(self, trial: Trial | None) -> bool:
        if trial is None or not trial.left_it_down or trial.over_at_s + _TAKE_BACK_S < time.monotonic():
            return False
        self._stopping.wait(0.1)
        return True

    def _ended_by_itself(self, program: ProgramProcess | None) -> None:
        code = program.code() if program is not None else None
        self._code = code or 0
        self.say(f"the program ended with code {code}" if code is not None else "the program ended")
        # Its last words, a fatal exception above all, are on their way to the hub.
        time.sleep(_LAST_WORDS_S)
        self._ended.set()
        self._on_exit()

    def _end(self, process: ProgramProcess) -> None:
        process.signal(signal.SIGTERM)
        if not process.wait(STOP_S):
            self.say(f"the program did not stop within {STOP_S:.0f} s and was killed")
            process.signal(signal.SIGKILL)
            process.wait(STOP_S)

    def _leave(self) -> None:
        slot, self._slot = self._slot, None
        if slot is None:
            return
        if self._reception is not None:
            self._reception.close()
        for process in (self._other, self._program):
            if process is not None:
                process.forget()
        self.members.close()
        slot.forget()
        slot.close()

    def _take_over(self, found: Record | None) -> None:
        """Watch what an earlier supervisor left: the program goes on, a second process of it is ended."""
        if found is None:
            return
        for known in (found.other, found.program):
            if known is None:
                continue
            with suppress(ProcessLookupError, OSError):
                process = ProgramProcess(known)
                if known is found.program:
                    self._program = process
                    self.say(f"took over process {process.pid}, which an earlier supervisor had started")
                else:
                    self.say(f"process {process.pid} was left over from a restart that was cut off, and is ended")
                    self._end(process)
                    process.forget()


def _refuse_another(state_dir: Path, own: str) -> None:
    for name, record in orphans(state_dir):
        if name != own and record.kind == "up" and record.program is not None:
            pid = record.program.pid
            raise Conflict(
                "program-running",
                f"process {pid} ({record.command}), which an earlier `homeostat up` has started, still runs",
                hint=f"end it (kill {pid}), or start `homeostat up` with its command to take it over",
            )
