"""Workers of `multiprocessing`: the exception that ends one, and its last words.

A worker reports its exception on stderr by itself, and one that was forked ends without Python's exit
hooks; both go through the one method that is replaced here. What a pool's task raises is handed back
to whoever waits for it: `homeostat_agent.capture.frames` reads its place in the worker from there.
"""

from __future__ import annotations

import functools

from homeostat_agent.capture.failures import Failures
from homeostat_agent.capture.observer import Observer
from homeostat_agent.capture.occurrence import FATAL
from homeostat_agent.capture.patches import Patches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


def hook(
    module: Any, *, observer: Observer, patches: Patches, failures: Failures, on_end: Callable[[], None] | None
) -> None:
    """Replace the method that a worker's life is, of `multiprocessing.process`. `on_end` runs when it is over."""
    original = module.BaseProcess._bootstrap

    @functools.wraps(original)
    def bootstrap(process: Any, *args: Any, **kwargs: Any) -> Any:
        run = process.run

        def observed() -> Any:
            try:
                return run()
            except Exception as error:  # an interrupt or an exit is somebody's wish
                observer.escaped(error, "multiprocessing", severity=FATAL)
                raise

        process.run = observed
        try:
            return original(process, *args, **kwargs)
        finally:
            try:
                if on_end is not None:
                    on_end()
            except Exception:
                failures.note("worker")

    patches.replace(module.BaseProcess, "_bootstrap", bootstrap)
