"""Carries out the hub's commands in this process: checks each one, asks the reloader, answers.

Runs in the sender's thread. Whatever the reloader or the host's own code does, an answer comes back
and nothing is raised: an exception is the answer *failed*, and counted.
"""

from __future__ import annotations

from homeostat_agent.haste import Haste

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeGuard

    from homeostat_agent.canary.report import CanaryReport
    from homeostat_agent.canary.switch import Terms
    from homeostat_agent.commands import Command
    from homeostat_agent.firstseen import FirstSeen
    from homeostat_agent.reload import Change, Outcome, Reloader

    Answer = dict[str, Any]

SWAPPED = "swapped"
RESTART_REQUIRED = "restart_required"
FAILED = "failed"
REFUSED = "refused"
"""The command itself was not acceptable: nothing was tried. `code` says why."""

PONG = "pong"

_MAX_DETAIL_CHARS = 500
MAX_LEASE_S = 3600
"""The longest that a canary may go on without a word from the hub."""

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
        loaded: Callable[[], list[str]] = list,
        seen: FirstSeen | None = None,
    ) -> None:
        """`loaded` names the files of the repository that this process has loaded; `seen` notes, each turn."""
        self._seen = seen
        self.process_id = process_id
        self._parent_id = ""
        self._loaded = loaded
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

    @property
    def is_trying(self) -> bool:
        """Whether a canary is under way."""
        return self._reloader is not None and bool(self._reloader.canaries)

    @property
    def canaries(self) -> list[dict[str, Any]]:
        """Canaries under way: ``change``, ``percent`` (of the units, in force now) and ``lease_ms`` that are left."""
        switches = self._reloader.canaries if self._reloader is not None else ()
        return [
            {
                "change": switch.change_id,
                "percent": switch.percent if switch.running else 0,
                "lease_ms": int(switch.remaining_s * 1000),
            }
            for switch in switches
        ]

    def take_reports(self) -> tuple[CanaryReport, ...]:
        """Return what each canary counted since the last call."""
        return self._reloader.take_reports() if self._reloader is not None else ()

    def give_back_lapsed(self) -> None:
        """Give every canary whose lease ran out back to the old code. To be called each turn. Never raises."""
        if self._seen is not None:
            self._note_modules(self._seen)
        if self._reloader is None or self._disabled:
            return  # in a child that was forked in the middle of a change the calls themselves see the lease
        self._busy = True
        try:
            self._reloader.give_back_lapsed()
        except BaseException:  # the edge to the host
            self.faults += 1
        finally:
            self._busy = False

    def _note_modules(self, seen: FirstSeen) -> None:
        try:
            seen.note()
        except Exception:  # the edge to the host, whose modules may be anything
            self.faults += 1

    def rest(self) -> None:
        """Leave the process as it is, for good: no command comes any more."""
        if self._reloader is not None:
            self._reloader.rest()

    def execute(self, command: Command, *, hub_now_ms: int) -> Answer:
        """Carry out one command, or say why not. Never raises."""
        refusal = command.refusal(process_id=self.process_id, generation=self.generation, hub_now_ms=hub_now_ms)
        if refusal is not None:
            return self._answer(command, REFUSED, refusal[1], code=refusal[0])
        if command.kind == "loaded":  # nothing is done: who is forked meanwhile is none the worse
            return {**self._answer(command, PONG, ""), "files": self._told_files(), "parent": self._parent_id}
        self._busy = True
        try:
            return self._carry_out(command)
        except BaseException as error:  # the edge to the host, whose annotations may run and raise anything
            self.faults += 1
            where = _place(error)
            return self._answer(
                command, FAILED, f"{type(error).__name__} in the agent ({where}) while it carried this out"
            )
        finally:
            self._busy = False

    def become_forked_child(self, process_id: str) -> None:
        """Go on in a forked child. One that was copied in the middle of a change takes no more of them."""
        self._parent_id, self.process_id = self.process_id, process_id
        self.haste.end()
        if self._reloader is not None:
            self._reloader.become_forked_child()
        if self._busy:
            # The thread that was at it does not exist here: its locks stay shut and its work half done.
            self._busy = False
            self._disabled = "this process was forked in the middle of a change and must be restarted"

    def _told_files(self) -> list[str] | None:
        try:
            return self._loaded()
        except Exception:  # the edge to the host, whose modules may be anything
            self.faults += 1
            return None

    def _carry_out(self, command: Command) -> Answer:
        if command.kind == "ping":
            return self._answer(command, PONG, "")
        if command.kind in ("rollback", "promote", "renew", "settle"):
            return self._of_change_in_force(command)
        change = self._change(command.body)
        if isinstance(change, str):
            return self._answer(command, REFUSED, change, code="malformed")
        terms = self._terms(command.body) if command.kind == "canary" else None
        if isinstance(terms, str):
            return self._answer(command, REFUSED, terms, code="malformed")
        if self._disabled:
            return self._answer(command, RESTART_REQUIRED, self._disabled)
        if change.mode == "aggressive" and self._hmr_mode != "aggressive":
            return self._answer(command, RESTART_REQUIRED, "this process takes only safe changes (hmr.mode)")
        reloader = self._reload()
        if terms is not None:
            outcome = reloader.canary(change, terms)
        else:
            outcome = reloader.prepare(change) if command.kind == "prepare" else reloader.swap(change)
        return self._from_outcome(command, outcome)

    def _of_change_in_force(self, command: Command) -> Answer:
        """Carry out what names a change that this process has been given before."""
        change_id = command.body.get("change_id")
        if not isinstance(change_id, str):
            return self._answer(command, REFUSED, f"a {command.kind} names a change", code="malformed")
        percent, lease_s = command.body.get("percent"), command.body.get("lease_s")
        renewal = (lease_s, percent) if _is_lease(lease_s) and (percent is None or _is_percent(percent)) else None
        if command.kind == "renew" and renewal is None:
            return self._answer(command, REFUSED, _NO_TERMS, code="malformed")
        if command.kind in ("rollback", "settle") and change_id not in self.changes:
            return self._answer(command, SWAPPED, "this change is not in force here")
        if self._disabled:
            return self._answer(command, RESTART_REQUIRED, self._disabled)
        reloader = self._reload()
        if command.kind == "renew" and renewal is not None:
            return self._from_outcome(command, reloader.renew(change_id, lease_s=renewal[0], percent=renewal[1]))
        ends = {"promote": reloader.promote, "rollback": reloader.rollback, "settle": reloader.settle}
        return self._from_outcome(command, ends[command.kind](change_id))

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

    @staticmethod
    def _terms(body: Mapping[str, Any]) -> Terms | str:
        """Read how a canary is to be run, or return what is wrong with it."""
        from homeostat_agent.canary.key import parse_key
        from homeostat_agent.canary.switch import Terms

        percent, lease_s, text = body.get("percent"), body.get("lease_s"), body.get("key")
        if not (_is_percent(percent) and _is_lease(lease_s)):
            return _NO_TERMS
        key = parse_key(text) if isinstance(text, str) else None
        if text is not None and key is None:
            return "the key of a canary is header:NAME, cookie:NAME or query:NAME"
        shadowed = body.get("shadowed", [])
        if not isinstance(shadowed, list) or not all(isinstance(name, str) for name in shadowed):
            return "what a canary shadows is a list of names"
        return Terms(percent, key, lease_s, frozenset(shadowed))

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
            "canaries": self.canaries,
        }


def _place(error: BaseException) -> str:
    """Return where in the agent an error came out, as `reload/plan.py:12`: what it says may be the host's."""
    found, trace = "", error.__traceback__
    while trace is not None:
        _, own, path = trace.tb_frame.f_code.co_filename.rpartition("homeostat_agent/")
        found = f"{path}:{trace.tb_lineno}" if own else found
        trace = trace.tb_next
    return found


_NO_TERMS = f"a canary has a percent from 0 to 100, and a lease_s above 0 and up to {MAX_LEASE_S}"


def _is_percent(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 100


def _is_lease(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= MAX_LEASE_S
