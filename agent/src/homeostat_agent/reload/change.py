"""What is asked of a process, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

SWAPPED = "swapped"
RESTART_REQUIRED = "restart_required"
FAILED = "failed"
NOT_ROUTABLE = "not_routable"
"""Of a canary: the change could be swapped, but not with a share of the calls."""

SAFE = "safe"
AGGRESSIVE = "aggressive"
"""Where a safe plan needs a restart, it takes up what can be done with a risk that it names (`reload.widening`)."""

MODES = (SAFE, AGGRESSIVE)

_MAX_DETAIL_CHARS = 2000


@dataclass(frozen=True)
class Module:
    """One Python file: the source that must be loaded, and the one to put in its place."""

    path: str
    """Relative to the repository, with forward slashes."""

    old_source: str
    new_source: str


@dataclass(frozen=True)
class Change:
    """A live change. While it is in force, the same id is the same change."""

    id: str
    modules: tuple[Module, ...]
    mode: str


@dataclass(frozen=True)
class Outcome:
    """What became of a request.

    ``restart_required``: the running code cannot be brought there surely. ``failed``: what runs is
    not what the change was made from, or an exchange broke and everything was put back.
    """

    outcome: str
    detail: str
    swap_us: int | None = None
    """Time in which functions were actually exchanged, in microseconds."""

    functions: tuple[str, ...] = ()
    """``module:qualname`` of what was exchanged or added."""

    runs: str = ""
    """Which source of the change runs here (see `reload.look`); only `Reloader.prepare` looks, and a canary says it."""


def refusal(outcome: str, reasons: list[str]) -> Outcome:
    """Return an outcome that gives the reasons, each once, at a length that fits a frame."""
    return Outcome(outcome, "; ".join(dict.fromkeys(reasons))[:_MAX_DETAIL_CHARS])
