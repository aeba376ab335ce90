"""Which uid sandboxed code gets when we are root."""

import os
from pathlib import Path

_FIRST = 0x70000000
NOBODY = 65534
"""May own files and processes of others, unlike a uid that was never handed out."""


def unprivileged_uid() -> int | None:
    """Return a uid that owns nothing and that no other run uses; None when we are an ordinary user.

    Root is exempt from RLIMIT_NPROC and may signal everyone, so sandboxed code is never root. In a
    container whose user namespace has few ids the traditional nobody has to do.
    """
    if os.getuid() != 0:
        return None
    wanted = _FIRST + os.getpid() % 0x10000000
    for line in Path("/proc/self/uid_map").read_text("ascii").splitlines():
        inside, _, count = map(int, line.split())
        if inside <= wanted < inside + count:
            return wanted
    return NOBODY
