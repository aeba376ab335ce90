"""The last steps before the host's command: limits, uid, and the word that all is in place.

Where bubblewrap makes the sandbox, the system's own ``prlimit`` and ``setpriv`` take these steps.
"""

import errno
import os
import resource
import signal
from typing import NoReturn

from homeostat.adapters.sandbox.spec import Limits

READY = b"ready\n"
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""Ignored in us, and a command would inherit that."""


def rlimits(limits: Limits, *, others: int, own: int) -> list[tuple[int, int]]:
    """Return (resource, limit) pairs; one that is lower already stays.

    `others` are tasks that the kernel counts along although they are not sandboxed, `own` those of
    ours inside. RLIMIT_DATA bounds private memory; shared anonymous memory falls under RLIMIT_AS,
    which leaves room for what threads and libraries reserve without using it.
    """
    memory = limits.memory_mb << 20
    wanted = [
        (resource.RLIMIT_NPROC, limits.max_processes + others + own),
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_AS, 4 * memory),
        (resource.RLIMIT_FSIZE, limits.file_mb << 20),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 4096),
        (resource.RLIMIT_CPU, int(limits.timeout_s) + 10),
    ]
    return [(kind, _at_most(resource.getrlimit(kind)[1], value)) for kind, value in wanted]


def _at_most(hard: int, wanted: int) -> int:
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def set_rlimits(pairs: list[tuple[int, int]]) -> None:
    """Lower soft and hard limits to what `rlimits` said."""
    for kind, value in pairs:
        resource.setrlimit(kind, (value, value))


def become(uid: int) -> None:
    """Turn into this user for good, with a group of the same number and no others."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def run_command(argv: list[str], *, report_fd: int, env: dict[str, str]) -> NoReturn:
    """Replace this process by the command; exit 127 with a word on stderr when it cannot be started."""
    os.write(report_fd, READY)
    os.close(report_fd)
    for number in _IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(_found(argv[0], env), argv, env)  # noqa: S606 - no shell by intent
    except OSError as error:
        _cannot_run(argv[0], error)


def start_command(argv: list[str], *, report_fd: int, env: dict[str, str]) -> int:
    """Start the command as a child and return its process id; else as `run_command`."""
    os.write(report_fd, READY)
    os.close(report_fd)
    try:
        # Without a copy of this process, which a fork would make only to throw it away.
        return os.posix_spawn(_found(argv[0], env), argv, env, setsigdef=_IGNORED_BY_PYTHON)
    except OSError as error:
        _cannot_run(argv[0], error)


def _found(name: str, env: dict[str, str]) -> str:
    """Return the path of a command as ``execvp`` finds it."""
    if "/" in name:
        return name
    for folder in env["PATH"].split(":"):
        path = f"{folder}/{name}"
        if os.access(path, os.X_OK):
            return path
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _cannot_run(name: str, error: OSError) -> NoReturn:
    os.write(2, f"cannot run {name}: {error.strerror}\n".encode())
    os._exit(127)
