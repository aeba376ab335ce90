"""The kind of sandbox that the ``bwrap`` program makes."""

import json
import shutil
from pathlib import Path

from homeostat.adapters.sandbox import innermost
from homeostat.adapters.sandbox.interpreter import is_within
from homeostat.adapters.sandbox.spec import SandboxSpec


def find_bubblewrap() -> str | None:
    """Return the path of ``bwrap``, looked for in the system's own folders only."""
    return shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")


def bubblewrap_command(spec: SandboxSpec, *, program: str, seccomp_fd: int, ready_fd: int, others: int) -> list[str]:
    """Return the command line that runs the spec: namespaces, mounts in the given order, then `innermost`.

    As root bubblewrap needs no user namespace; it keeps just the two capabilities with which the
    innermost stage becomes the unprivileged uid, and that change drops them.
    """
    size = str(spec.limits.temporary_mb << 20)
    words = [program, "--die-with-parent", "--new-session"]
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
    order = {
        "uid": spec.uid,
        "rlimits": innermost.rlimits(spec.limits, others=others, own=2),
        "home": spec.env["HOME"],
        "ready_fd": ready_fd,
        "argv": spec.argv,
    }
    source = Path(innermost.__file__).read_text("utf-8")
    return [*words, spec.interpreter, "-I", "-S", "-c", source, json.dumps(order)]


def _parents(spec: SandboxSpec) -> list[str]:
    """Return the folders above the binds that no bind brings along.

    bubblewrap would make them for its own uid only, which as root is not the one that comes here.
    """
    places: dict[str, None] = {}
    for bind in spec.binds:
        for parent in reversed(Path(bind.target).parents[:-1]):
            if not any(is_within(str(parent), other.target) for other in spec.binds):
                places[str(parent)] = None
    return list(places)
