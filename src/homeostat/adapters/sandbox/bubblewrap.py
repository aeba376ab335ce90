"""The kind of sandbox that the ``bwrap`` program makes.

Inside, two programs of util-linux take the last steps: ``prlimit`` sets the limits, ``setpriv``
becomes the unprivileged uid. Both are there wherever bubblewrap is packaged, and start in a
millisecond, where a Python would take ten.
"""

import functools
import os
import resource
import shutil

from homeostat.adapters.sandbox import innermost
from homeostat.adapters.sandbox.spec import SandboxSpec

CAME_UP = b'"exit-code"'
"""Stands in bubblewrap's report only when the command was started (``--json-status-fd``)."""

_LIMIT_WORDS = {
    resource.RLIMIT_NPROC: "--nproc",
    resource.RLIMIT_DATA: "--data",
    resource.RLIMIT_AS: "--as",
    resource.RLIMIT_FSIZE: "--fsize",
    resource.RLIMIT_CORE: "--core",
    resource.RLIMIT_NOFILE: "--nofile",
    resource.RLIMIT_CPU: "--cpu",
}


@functools.cache
def find_program(name: str) -> str:
    """Return the path of a program, looked for in the system's own folders only; `FileNotFoundError` without."""
    found = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")
    if found is None:
        raise FileNotFoundError(f"there is no {name} program")
    return found


def bubblewrap_command(spec: SandboxSpec, *, seccomp_fd: int, report_fd: int, others: int) -> list[str]:
    """Return the command line that runs the spec: namespaces, mounts in the given order, limits, uid.

    As root bubblewrap needs no user namespace; it keeps just the two capabilities with which
    ``setpriv`` becomes the unprivileged uid, and that change drops them.
    """
    size = str(spec.limits.temporary_mb << 20)
    words = [find_program("bwrap"), "--die-with-parent", "--new-session", "--json-status-fd", str(report_fd)]
    words += ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if spec.uid is None:
        words += ["--unshare-user", "--cap-drop", "ALL"]
    else:
        words += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    words += ["--hostname", "sandbox", "--proc", "/proc", "--dev", "/dev"]
    for place in ("/dev/shm", "/tmp"):  # noqa: S108 - places inside
        words += ["--perms", "1777", "--size", size, "--tmpfs", place]
    for place in _parents(spec):
        words += ["--perms", "0755", "--dir", place]
    for bind in spec.binds:
        words += ["--bind" if bind.writable else "--ro-bind", bind.source, bind.target]
    words += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", spec.cwd]
    words += ["--seccomp", str(seccomp_fd), "--"]
    words += [find_program("prlimit")]
    # Inside are bubblewrap's first process and nothing else of ours.
    words += [f"{_LIMIT_WORDS[kind]}={value}" for kind, value in innermost.rlimits(spec.limits, others=others, own=1)]
    words.append("--")
    if spec.uid is not None:
        user = str(spec.uid)
        words += [find_program("setpriv"), "--reuid", user, "--regid", user, "--clear-groups", "--inh-caps=-all", "--"]
    return [*words, *spec.argv]


def _parents(spec: SandboxSpec) -> list[str]:
    """Return the folders above the binds that no bind brings along.

    bubblewrap would make them for its own uid only, which as root is not the one that comes here.
    """
    targets = dict.fromkeys(bind.target for bind in spec.binds)
    places: dict[str, None] = {}
    for target in targets:
        missing: list[str] = []
        parent = os.path.dirname(target)  # noqa: PTH120 - for some forty binds, while somebody waits
        while parent != "/":
            missing.append(parent)
            if parent in targets:
                missing.clear()
            parent = os.path.dirname(parent)  # noqa: PTH120
        places.update(dict.fromkeys(reversed(missing)))
    return list(places)
