"""Homeostat's agent: lives in the host's interpreter, standard library only.

`attach` is all that a program calls, and it needs not even that when `homeostat run` started it; with `take_part` an
object of it asks to be told when its code is exchanged.
Importing this package imports nothing else: names of the standard library that a program shadows
with modules of its own (`secrets.py`, `queue.py`) must not be taken before it had its turn.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

    from homeostat_agent.boot import Agent

__all__ = ["attach", "take_part"]


def attach(state_dir: str | os.PathLike[str] | None = None) -> Agent | None:
    """Attach this process to the hub of the nearest `.homeostat/`, from inside; None when that cannot be.

    `state_dir` names the state directory instead (as does `HOMEOSTAT_STATE_DIR`). Never raises and
    does not wait for a hub: one that comes up later is found. Called again, or in a program that
    `homeostat run` started, it returns the agent that is there. Why it returned None stands in one
    line on stderr.
    """
    from homeostat_agent.boot import attach_from_inside

    return attach_from_inside(state_dir)


def take_part(target: object, *, name: str = "", timeout_s: float = 2.0) -> bool:
    """Let an object take part in swaps of the code that its class is made of; False where it has no method for that.

    It may have `quiesce`, `export_state`, `import_state`, `health` and `resume`, each plain or async, and each with
    `timeout_s` (at most 30) for a call: `homeostat_agent.reload.targets` says what is asked of them. It is held
    weakly, and nothing follows from this where no agent is attached. Async methods are run on the loop that runs here.
    """
    from homeostat_agent.reload.targets import EVERYBODY

    return EVERYBODY.add(target, name, timeout_s)
