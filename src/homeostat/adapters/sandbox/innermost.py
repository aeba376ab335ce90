"""The last stage before the host's command: limits, uid, and the word that all is in place.

bubblewrap runs this file's text in the host's own interpreter, so it uses the standard library of
Python 3.9 only, and nothing of ours but what stands in this file. The other kinds import it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from homeostat.adapters.sandbox.spec import Limits

READY = b"ready\n"


def rlimits(limits: Limits, *, others: int, own: int) -> list[tuple[int, int]]:
    """Return (resource, hard limit) pairs.

    `others` are tasks that the kernel counts along although they are not sandboxed, `own` those of
    ours inside. RLIMIT_DATA bounds private memory; shared anonymous memory falls under RLIMIT_AS,
    which leaves room for what threads and libraries reserve without using it.
    """
    memory = limits.memory_mb << 20
    return [
        (resource.RLIMIT_NPROC, limits.max_processes + others + own),
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_AS, 4 * memory),
        (resource.RLIMIT_FSIZE, limits.file_mb << 20),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 4096),
        (resource.RLIMIT_CPU, int(limits.timeout_s) + 10),
    ]


def set_rlimits(pairs: list[tuple[int, int]]) -> None:
    """Lower soft and hard limits; one that is lower already stays."""
    for kind, wanted in pairs:
        _, hard = resource.getrlimit(kind)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))


def become(uid: int) -> None:
    """Turn into this user for good, with a group of the same number and no others."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def run_command(argv: list[str], *, home: str, ready_fd: int, env: dict[str, str]) -> None:
    """Replace this process by the command; exit 127 with a word on stderr when it cannot be started."""
    os.makedirs(home, mode=0o700, exist_ok=True)  # noqa: PTH103
    os.write(ready_fd, READY)
    os.close(ready_fd)
    try:
        os.execvpe(argv[0], argv, env)  # noqa: S606 - no shell by intent
    except OSError as error:
        os.write(2, f"cannot run {argv[0]}: {error.strerror}\n".encode())
        os._exit(127)


def _main() -> None:
    order: dict[str, Any] = json.loads(sys.argv[1])
    set_rlimits([(kind, value) for kind, value in order["rlimits"]])
    if order["uid"] is not None:
        become(order["uid"])
    os.umask(0o022)
    run_command(order["argv"], home=order["home"], ready_fd=order["ready_fd"], env=dict(os.environ))


if __name__ == "__main__":
    _main()
