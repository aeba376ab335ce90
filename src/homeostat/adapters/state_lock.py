"""Who works on a state directory: one hub, or one restoration, at a time."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from homeostat.core.errors import Conflict, Unavailable


def hold_state(state_dir: Path) -> Callable[[], None]:
    """Take the state directory for this process; return how to let go. `Conflict` (``hub-running``) when it is taken.

    The kernel lets go when the process ends, however it ends: there is no stale lock to remove.
    """
    path = state_dir / "run" / "hub.lock"
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(
            "state-dir-unusable",
            f"the lock {path} cannot be opened: {error.strerror}",
            hint="check the owner, mode and free space of the state directory",
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise Conflict(
            "hub-running", f"another hub works on {state_dir}", hint="stop it, or use it: its door is open"
        ) from error
    return lambda: os.close(handle)
