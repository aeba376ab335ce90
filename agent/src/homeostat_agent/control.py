"""Carries out the hub's commands in this process: checks each one, asks the reloader, answers.

Runs in the sender's thread. Whatever the reloader or the host's own code does, an answer comes back
and nothing is raised: an exception is the answer *failed*, and counted.
"""

from __future__ import annotations

from homeostat_agent.haste import Haste

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from homeostat_agent.commands import Command
    from homeostat_agent.reload import Change, Outcome, Reloader

    Answer = dict[str, str | int | None | list[str]]

SWAPPED = "swapped"
RESTART_REQUIRED = "restart_required"
FAILED = "failed"
REFUSED = "refused"
"""The command itself was not acceptable: nothing was tried. `code` says why."""

PONG = "pong"

_MAX_DETAIL_CHARS = 500
_MODES = ("safe", "aggressive")


class Control:
    """The commands' side of one process. A forked child is another process with the same changes in force."""

    def __init__(
        self,
        *,
        process_id: str,
        hmr_enabled: bool,
        hmr_mode: str,
        make_reloader: Callable[[Haste], Reloader],
    ) -> None:
        self.process_id = process_id
        self.faults = 0
        """Exceptions that came out of a command; each was answered as *failed*."""
        self.haste = Haste()
        """What commands are carried out in; for whoever receives and answers them, too."""
        self._hmr_mode = hmr_mode
        self._disabled = "" if hmr_enabled else "hot module reload is disabled for this process"
        self._busy = False
        self._make_reloader = make_reloader
        # Made on the first command that needs it: parsing Python is a heavy import, and a program
        # that is never changed shall not pay for it.
        self._reloader: Reloader | None = None

    @property
    def generation(self) -> int:
        """How many live changes this process has taken or given back."""
        return self._reloader.generation if self._reloader is not None else 0

    @property
    def changes(self) -> list[str]:
        """Ids of the live changes in force, oldest first."""
        return [str(change) for change in self._reloader.changes] if self._reloader is not None else []

    def execute(self, command: Command, *, hub_now_ms: int) -> Answer:
        """Carry out one command, or say why not. Never raises."""
        refusal = command.refusal(process_id=self.process_id, generation=self.generation, hub_now_ms=hub_now_ms)
        if refusal is not None:
            return self._answer(command, REFUSED, refusal[1], code=refusal[0])
        self._busy = True
        try:
            return self._carry_out(command)
        except BaseException as error:  # the edge to the host, whose annotations may run and raise anything
            self.faults += 1
            return self._answer(command, FAILED, f"{type(error).__name__} in the agent while it carried this out")
        finally:
            self._busy = False

    def become_forked_child(self, process_id: str) -> None:
        """Go on in a forked child. One that was copied in the middle of a change takes no more of them."""
        self.process_id = process_id
        self.haste.end()
        if self._busy:
            # The thread that was at it does not exist here: its locks stay shut and its work half done.
            self._busy = False
            self._disabled = "this process was forked in the middle of a change and must be restarted"

    def _carry_out(self, command: Command) -> Answer:
        if command.kind == "ping":
            return self._answer(command, PONG, "")
        if command.kind == "rollback":
            return self._roll_back(command)
        change = self._change(command.body)
        if isinstance(change, str):
            return self._answer(command, REFUSED, change, code="malformed")
        if self._disabled:
            return self._answer(command, RESTART_REQUIRED, self._disabled)
        if change.mode == "aggressive" and self._hmr_mode != "aggressive":
            return self._answer(command, RESTART_REQUIRED, "this process takes only safe changes (hmr.mode)")
        reloader = self._reload()
        outcome = reloader.prepare(change) if command.kind == "prepare" else reloader.swap(change)
        return self._from_outcome(command, outcome)

    def _roll_back(self, command: Command) -> Answer:
        change_id = command.body.get("change_id")
        if not isinstance(change_id, str):
            return self._answer(command, REFUSED, "a rollback names a change", code="malformed")
        if change_id not in self.changes:
            return self._answer(command, SWAPPED, "this change is not in force here")
        if self._disabled:
            return self._answer(command, RESTART_REQUIRED, self._disabled)
        return self._from_outcome(command, self._reload().rollback(change_id))

    def _reload(self) -> Reloader:
        if self._reloader is None:
            self._reloader = self._make_reloader(self.haste)
        return self._reloader

    @staticmethod
    def _change(body: Mapping[str, Any]) -> Change | str:
        """Read the change of a prepare or swap, or return what is wrong with it."""
        from homeostat_agent.reload import Change, Module

        raw = body.get("change")
        if not isinstance(raw, dict) or not isinstance(raw.get("id"), str) or not isinstance(raw.get("modules"), list):
            return "a change has id, mode and modules"
        if raw.get("mode") not in _MODES:
            return f"the mode of a change is one of {', '.join(_MODES)}"
        names = ("path", "old_source", "new_source")
        modules = []
        for item in raw["modules"]:
            if not isinstance(item, dict) or not all(isinstance(item.get(name), str) for name in names):
                return "a module has path, old_source and new_source"
            modules.append(Module(**{name: item[name] for name in names}))
        return Change(id=raw["id"], modules=tuple(modules), mode=raw["mode"])

    def _from_outcome(self, command: Command, outcome: Outcome) -> Answer:
        return self._answer(
            command,
            outcome.outcome,
            outcome.detail,
            swap_us=outcome.swap_us,
            functions=[str(name) for name in outcome.functions],
            runs=outcome.runs,
        )

    def _answer(
        self,
        command: Command,
        outcome: str,
        detail: str,
        *,
        code: str = "",
        swap_us: int | None = None,
        functions: list[str] | None = None,
        runs: str = "",
    ) -> Answer:
        return {
            "command_id": command.command_id,
            "outcome": str(outcome),
            "code": code,
            "detail": detail[:_MAX_DETAIL_CHARS],
            "swap_us": swap_us,
            "functions": functions or [],
            "runs": runs,
            "generation": self.generation,
            "changes": self.changes,
        }
