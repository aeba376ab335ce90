"""One restart, carried out: sees what is, asks `homeostat.rollout.restart` what to do, and does it."""

import signal
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from homeostat_agent.handover.wire import close_all

from homeostat.adapters.supervising.members import Listening, collect, looks, unserved
from homeostat.adapters.supervising.probe import probe
from homeostat.adapters.supervising.process import LastWords, ProgramProcess
from homeostat.core.errors import HomeostatError, Unavailable
from homeostat.model.restart import RestartPhase, RestartPlan, RestartReport
from homeostat.rollout import restart as steps
from homeostat.rollout.restart import Action, Leaving, NewSeen, Restart

if TYPE_CHECKING:
    from homeostat.adapters.supervising.supervisor import Supervisor

_BEAT_S = 0.05
_HURRY_S = 3.0
"""What is left of the time to drain when the supervisor itself is stopped."""

_LEFT_OVER_S = 2.0
"""How long processes of a program may outlive it; then they are killed."""

_CALL_S = 6.0
"""How long a program that was taken over may take to call its new supervisor; its pauses are at most 5 s."""


class Trial(threading.Thread):
    """A thread that restarts the program once. `left_it_down` is set when no process of it runs afterwards."""

    def __init__(self, supervisor: "Supervisor", request_id: str, plan: RestartPlan) -> None:
        super().__init__(name="supervisor-restart", daemon=True)
        self.left_it_down = False
        self.over_at_s = 0.0
        self._supervisor = supervisor
        self._plan = plan
        self._request_id = request_id
        self._began_s = time.monotonic()
        self._old = supervisor.program
        self._new: ProgramProcess | None = None
        self._words: LastWords | None = None
        self._wanted: tuple[Listening, ...] = ()
        self._sockets: dict[Listening, int] = {}
        self._disturbed_at_s: float | None = None
        self._graceful = True  # whether the process that is parked handles SIGTERM
        self._parked = False  # whether the old one is
        supervisor.tell(RestartReport(request_id=request_id, phase=RestartPhase.STARTING))

    def run(self) -> None:
        try:
            restart = self._carry_out()
        except HomeostatError as error:
            self._give_up(error.message)
        except Exception as error:  # a process edge: the old process stays, and it is said
            self._give_up(f"{type(error).__name__}: {error}")
            raise
        else:
            report = self._report(restart)
            self._clean_up(restart.phase)
            self._supervisor.tell(report)

    def _carry_out(self) -> Restart:
        overlap = self._prepare()
        restart, action = steps.begin(self._request_id, self._plan, overlap=overlap, now_s=time.monotonic())
        while True:
            self._do(action)
            if restart.phase.is_over:
                return restart
            self._supervisor.tell(self._report(restart))
            time.sleep(_BEAT_S)
            now_s = time.monotonic()
            if self._supervisor.is_stopping:
                if restart.phase in (RestartPhase.STARTING, RestartPhase.STOPPING):
                    restart, action = steps.fail(restart, "the supervisor was stopped", now_s=now_s)
                    continue
                restart = replace(restart, plan=replace(restart.plan, drain_s=min(restart.plan.drain_s, _HURRY_S)))
            restart, action = steps.decide(restart, new=self._new_seen(restart), old=self._old_seen(), now_s=now_s)

    def _prepare(self) -> bool:
        """Take the sockets of the old process; True when there are any, so that both can serve for a while."""
        old = self._old
        if old is None or not old.is_alive():
            return False
        deadline_s = time.monotonic() + _CALL_S
        while True:
            self._sockets, answered = collect(self._supervisor.members.of(old.known.launch_id))
            if answered or not old.is_alive():
                break
            if time.monotonic() > deadline_s:
                raise Unavailable(
                    "program-silent",
                    "the running program has no agent that answers, so its sockets cannot be handed over: "
                    "stop it and start it again",
                )
            time.sleep(_BEAT_S)
        self._wanted = tuple(self._sockets)
        return bool(self._sockets)

    def _do(self, action: Action) -> None:
        match action:
            case Action.START_NEW:
                self._words = self._supervisor.last_words()
                sockets, self._sockets = self._sockets, {}
                self._new = self._supervisor.start_successor(self._words, sockets)
            case Action.PARK_OLD:
                self._replace_old()
            case Action.TERMINATE_OLD:
                if self._old is not None:
                    self._old.signal(signal.SIGTERM)
            case Action.KILL_OLD:
                self._kill(self._old)
            case Action.PARK_NEW:
                if self._new is not None:
                    self._graceful = self._park(self._new)
            case Action.TERMINATE_NEW:
                if self._new is not None:
                    self._new.signal(signal.SIGTERM)
            case Action.KILL_NEW:
                self._kill(self._new)
            case Action.WAIT:
                pass

    def _new_seen(self, restart: Restart) -> NewSeen | None:
        new = self._new
        if new is None:
            return None
        if self._words is not None:
            self._words.show()
        if not new.is_alive():
            return NewSeen(alive=False, code=new.code())
        if restart.phase is RestartPhase.ENDING:
            return NewSeen(alive=True, unanswered=self._unanswered(new))
        if restart.phase is not RestartPhase.STARTING:
            return NewSeen(alive=True)
        members = self._supervisor.members
        seen = looks(members.of(new.known.launch_id))
        if members.take_disturbed(new.known.launch_id):
            self._disturbed_at_s = time.monotonic()
        attached = any(look.connected or not self._supervisor.hub_is_up() for look in seen)
        missing = unserved(self._wanted, seen)
        asked: str | None = ""
        if self._plan.health_path and attached and not missing and restart.well_since_s is not None:
            asked = probe(self._plan.health_path, self._wanted, members.of(new.known.launch_id)) if self._wanted else ""
        elif self._plan.health_path and self._wanted:
            asked = None
        return NewSeen(
            alive=True, attached=attached, unserved=missing, disturbed_at_s=self._disturbed_at_s, probe=asked
        )

    def _old_seen(self) -> Leaving:
        old = self._old
        if old is None or not old.is_alive():
            return Leaving(alive=False)
        return self._unanswered(old) if self._parked else Leaving(alive=True)

    def _unanswered(self, process: ProgramProcess) -> Leaving:
        """Return what a parked process has still to answer."""
        busy = unread = 0
        for member in self._supervisor.members.of(process.known.launch_id):
            answered = member.ask({"do": "connections"})
            if answered is not None:
                busy += int(answered[0].get("busy") or 0)
                unread += int(answered[0].get("unread") or 0)
        return Leaving(alive=True, busy_connections=busy, unread=unread, graceful=self._graceful)

    def _replace_old(self) -> None:
        """Let the new process be the program, and keep the old one from taking anything more."""
        assert self._old is not None and self._new is not None
        self._supervisor.promote()
        self._graceful = self._park(self._old)
        self._parked = True
        self._settle_new()

    def _park(self, process: ProgramProcess) -> bool:
        """Let a process accept nothing more; return whether it handles SIGTERM."""
        members = self._supervisor.members.of(process.known.launch_id)
        graceful = all(look.graceful for look in looks(members) if look.pid == process.pid)
        for member in members:
            member.ask({"do": "park"})
        return graceful

    def _settle_new(self) -> None:
        """Give the new process's stderr back to where ours goes; it is a program like any other now."""
        assert self._new is not None
        for member in self._supervisor.members.of(self._new.known.launch_id):
            member.ask({"do": "settle"}, (2,))

    def _kill(self, process: ProgramProcess | None) -> None:
        if process is None:
            return
        process.signal(signal.SIGKILL)
        for member in self._supervisor.members.of(process.known.launch_id):
            member.kill()

    def _clean_up(self, phase: RestartPhase) -> None:
        supervisor = self._supervisor
        close_all(list(self._sockets.values()))
        if phase is RestartPhase.DONE:
            if not self._parked:  # a worker: the old one was gone before
                supervisor.promote()
            if self._old is not None:
                self._end_left_over(self._old)
            self._settle_new()  # once more, for workers that were being forked the first time
        if self._words is not None:
            self._words.show()
            self._words.close()
        supervisor.drop_other()
        program = supervisor.program
        self.left_it_down = phase is RestartPhase.FAILED and (program is None or not program.is_alive())
        self.over_at_s = time.monotonic()

    def _end_left_over(self, process: ProgramProcess) -> None:
        """See that no process of a program outlives it: a worker on old code would go on unseen."""
        deadline_s = time.monotonic() + _LEFT_OVER_S
        while left := self._supervisor.members.of(process.known.launch_id):
            if time.monotonic() > deadline_s:
                for member in left:
                    member.kill()
                return
            time.sleep(_BEAT_S)

    def _give_up(self, reason: str) -> None:
        if self._new is not None and self._new is not self._supervisor.program:
            self._kill(self._new)
            self._new.wait(steps.END_NEW_S)
        took_s = round(time.monotonic() - self._began_s, 3)
        self._clean_up(RestartPhase.FAILED)
        self._supervisor.tell(
            RestartReport(request_id=self._request_id, phase=RestartPhase.FAILED, reason=reason, took_s=took_s)
        )

    def _report(self, restart: Restart) -> RestartReport:
        failed = restart.phase is RestartPhase.FAILED
        return RestartReport(
            request_id=self._request_id,
            phase=restart.phase,
            reason=restart.reason,
            last_words=self._words.read() if failed and self._words is not None else "",
            took_s=round(time.monotonic() - self._began_s, 3),
        )
