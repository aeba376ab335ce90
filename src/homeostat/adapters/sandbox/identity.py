"""Who sandboxed code is: the uid it gets when we are root, and the files that name it."""

import os
from pathlib import Path

NAME = "homeostat"
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


def write_identity(folder: Path, uid: int | None) -> str:
    """Write a passwd and a group file that know only the sandbox's own user, and return where.

    Once for all runs that share the folder: making a file is among the slowest things before a run.
    """
    folder.mkdir()
    folder.chmod(0o755)
    number = os.getuid() if uid is None else uid
    group = os.getgid() if uid is None else uid
    texts = {"passwd": f"{NAME}:x:{number}:{group}::/tmp/home:/bin/sh\n", "group": f"{NAME}:x:{group}:\n"}
    for name, text in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)
    return str(folder)
