"""The hub's way to the supervisors of a state directory: one short call at a door for each question."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from homeostat_agent.handover.wire import HandoverError, close_all, connect, receive, send

from homeostat.adapters.supervising.messages import encode_plan, read_program
from homeostat.adapters.supervising.slot import door_path, records
from homeostat.core.errors import Conflict, HomeostatError, NotFound, OutcomeUnknown, Unavailable
from homeostat.model.restart import RestartableProgram, RestartPlan

_ANSWER_S = 5.0


class SupervisorRestarter:
    """Implements `homeostat.ports.restarting.Restarter` over whatever supervisors run."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    def programs(self) -> Sequence[RestartableProgram]:
        found = []
        for name, _ in records(self._state_dir):
            try:
                found.append(self._ask(name, {"do": "describe"}))
            except HomeostatError:
                continue  # its supervisor is gone: the program goes on alone, and nobody can restart it
        return found

    def begin(self, program_id: str, request_id: str, plan: RestartPlan) -> RestartableProgram:
        if program_id not in {name for name, _ in records(self._state_dir)}:
            raise NotFound("no-such-program", f"no supervisor of {program_id[:60]!r} is there any more")
        return self._ask(program_id, {"do": "restart", "request_id": request_id, "plan": encode_plan(plan)})

    def _ask(self, name: str, question: Mapping[str, Any]) -> RestartableProgram:
        try:
            door = connect(str(door_path(self._state_dir, name)))
        except HandoverError as error:
            raise NotFound("no-such-program", f"the supervisor of {name} is gone: {error}") from error
        try:
            send(door, {"role": "hub", **question})
        except HandoverError as error:
            door.close()
            raise Unavailable("supervisor-silent", f"the supervisor of {name} cannot be asked: {error}") from error
        try:
            answer, given = receive(door, timeout_s=_ANSWER_S)
        except HandoverError as error:
            raise OutcomeUnknown(
                "supervisor-silent", f"the supervisor of {name} was asked, and did not answer: {error}"
            ) from error
        finally:
            door.close()
        close_all(given)
        if "error" in answer:
            raise Conflict("restart-refused", str(answer.get("message", ""))[:500])
        try:
            return read_program(answer)
        except ValueError as error:
            raise OutcomeUnknown(
                "supervisor-silent", f"the supervisor of {name} answered what it should not"
            ) from error
