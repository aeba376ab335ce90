"""A save, and what became of it: files that a person changed by hand, together, while their program runs."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

RELOAD_PREFIX = "reload-"
"""The ids of live changes that follow a save begin with it; those of proposals never do."""

_NAMED = 3
_WORDS = re.compile(r"[\s:;,]+")
_NAMED_FUNCTIONS = 6
MAX_REASON_CHARS = 600


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the disk says of a file without reading it: another stamp, maybe another content."""

    changed_at: datetime
    """By the machine's clock: content, mode or name, whichever changed last."""

    size: int
    identity: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that cannot be reloaded as it lies there, and why."""

    reason: str


FileText = bytes | Unreadable


class ReloadOutcome(StrEnum):
    RELOADED = "reloaded"
    """Every process runs what was saved."""

    IN_LINE = "in_line"
    """What was saved is what runs already: an edit that was not reloaded is undone."""

    RESTART_NEEDED = "restart_needed"
    """Nothing was swapped, and nothing is until the program is started anew or the edit is undone."""

    RESTARTING = "restarting"
    """The same, and the program is being restarted for it."""

    WAITING = "waiting"
    """Nothing was swapped yet; it is tried again by itself."""

    FAILED = "failed"
    """It was tried and put back. The next save is tried again."""

    UNREADABLE = "unreadable"
    """A file cannot be read as Python, so nothing was tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadReport:
    """What became of one save."""

    at: datetime
    outcome: ReloadOutcome
    files: tuple[str, ...]
    reason: str = ""
    functions: tuple[str, ...] = ()
    """``module:qualname`` of what was exchanged or added."""

    processes: int = 0
    took_ms: float = 0.0
    """From the moment in which the save was seen."""

    def line(self) -> str:
        """Return it on one line, for a terminal."""
        files = _and_more(self.files, _NAMED)
        # Reasons of the planner begin with the file and the line.
        why = f"{self.reason}{self._held_up()}" if self._tells_the_files() else f"{files}: {self.reason}"
        match self.outcome:
            case ReloadOutcome.RELOADED:
                what = _and_more([name.rpartition(":")[2] for name in self.functions], _NAMED_FUNCTIONS)
                where = f"{self.processes} process{'' if self.processes == 1 else 'es'}"
                return f"reloaded {files}: {what or 'no function differs'} in {where}, {self.took_ms:.0f} ms"
            case ReloadOutcome.IN_LINE:
                return f"{files}: what is saved is what runs"
            case ReloadOutcome.RESTART_NEEDED:
                return f"not reloaded: {why}; to run what is saved: homeostat restart"
            case ReloadOutcome.RESTARTING:
                return f"not reloaded: {why}; the program is being restarted (restart.automatic)"
            case ReloadOutcome.WAITING:
                return f"not reloaded yet: {why}"
            case ReloadOutcome.FAILED:
                return f"not reloaded: {why}; put back, the next save is tried again"
            case ReloadOutcome.UNREADABLE:
                return f"not reloaded: {why}; the next save is tried again"

    def _tells_the_files(self) -> bool:
        return self.reason.startswith(tuple(self.files))

    def _held_up(self) -> str:
        """Name the files that wait because of others: a save is one change, whole or not at all."""
        named = set(_WORDS.split(self.reason))
        others = [file for file in self.files if file not in named]
        return f"; {_and_more(others, _NAMED)} {'wait' if len(others) > 1 else 'waits'} with it" if others else ""


def _and_more(items: tuple[str, ...] | list[str], most: int) -> str:
    named = list(dict.fromkeys(items))
    more = f" and {len(named) - most} more" if len(named) > most else ""
    return ", ".join(named[:most]) + more
