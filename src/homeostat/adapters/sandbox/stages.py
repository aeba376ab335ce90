"""What happens between the launcher's fork and the host's command, for each kind of sandbox.

What runs in a freshly forked child never returns, and reports through `report_fd` how far it came: that
everything is in place, or a line of text that says what failed (`read_report`).
"""

import fcntl
import functools
import os
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

from homeostat.adapters.sandbox import innermost, kernel, landlock, mounts, seccomp
from homeostat.adapters.sandbox.bubblewrap import CAME_UP, bubblewrap_command, find_program
from homeostat.adapters.sandbox.identity import NOBODY
from homeostat.adapters.sandbox.spec import Kind, SandboxSpec, Shown, decode_spec
from homeostat.core.errors import HomeostatError

SETUP_FAILED = 125
_SIOCSIFFLAGS = 0x8914
_IFF_UP_AND_RUNNING = 0x41


@dataclass(frozen=True, slots=True)
class Waiting:
    """A process that waits for the spec of its run; in namespaces of its own, as their first, if its kind has them."""

    kind: Kind
    process: int
    door: socket.socket

    def start(self, spec_fd: int, report_fd: int) -> int:
        with self.door as door:
            socket.send_fds(door, [b"\0"], [spec_fd, 1, report_fd])
        return self.process

    def end(self) -> None:
        self.door.close()
        os.waitpid(self.process, 0)


def prepare(kind: Kind, shown: Shown | None = None) -> Waiting:
    """Fork a process ahead of a run of this kind; `shown` is mounted there if it has namespaces of its own.

    Whatever goes wrong in there is reported when the run is started.

    Call in a process with one thread that is the subreaper of its descendants.
    """
    me, uid, gid = os.getpid(), os.getuid(), os.getgid()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        inside = kind is Kind.NAMESPACES
        try:
            flags = kernel.NAMESPACE_FLAGS if uid != 0 else kernel.NAMESPACE_FLAGS & ~kernel.CLONE_NEWUSER
            child = kernel.fork_into(flags) if inside else os.fork()
        except OSError:
            if not inside:
                raise
            child, inside = os.fork(), False
        if child == 0:
            ours.close()
            if inside:
                _wait_in_namespaces(theirs, uid, gid, shown)
            _wait_outside(theirs, supervisor=me)
    return Waiting(kind, child, ours)


def read_spec(spec_fd: int) -> SandboxSpec:
    """Read the spec that a run was handed."""
    return decode_spec(os.pread(spec_fd, os.fstat(spec_fd).st_size, 0))


def _wait_outside(door: socket.socket, *, supervisor: int) -> NoReturn:
    """Wait for the spec and become the sandboxed command, where a fork of the launcher is all that is needed."""
    _default_signals()
    os.setsid()
    kernel.die_with_parent(signal.SIGKILL, supervisor)
    spec, report_fd = _next_run(door)
    with _reporting(report_fd):
        match spec.kind:
            case Kind.BUBBLEWRAP:
                _enter_bubblewrap(spec, report_fd)
            case Kind.LANDLOCK:
                _enter_landlock(spec, report_fd)
            case Kind.NAMESPACES:
                raise OSError("the kernel refuses namespaces to this user")
    os._exit(SETUP_FAILED)


def _next_run(door: socket.socket) -> tuple[SandboxSpec, int]:
    """Wait for a run; keep its output and its report open and nothing else. Ends the process when none will come."""
    request, handles, _, _ = socket.recv_fds(door, 1, 3)
    if not request:
        os._exit(0)
    spec_fd, output_fd, report_fd = handles
    with _reporting(report_fd):
        os.dup2(output_fd, 1)
        os.dup2(output_fd, 2)
        spec = read_spec(spec_fd)
        _only_these_files(report_fd)
        return spec, report_fd


@contextmanager
def _reporting(report_fd: int) -> Iterator[None]:
    """End the process with a word of report when setting up fails."""
    try:
        yield
    except (OSError, HomeostatError, ValueError) as error:
        os.write(report_fd, f"{error}\n".encode())
        os._exit(SETUP_FAILED)


def _default_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def read_report(kind: Kind, report: bytes) -> tuple[bool, str]:
    """Return whether the command was started, and what was said of a failure, from all of a run's report."""
    came_up = (CAME_UP if kind is Kind.BUBBLEWRAP else innermost.READY) in report
    lines = report.replace(innermost.READY, b"").decode("utf-8", "replace").splitlines()
    # bubblewrap itself says in the output why it failed; its report is JSON.
    return came_up, "\n".join(line for line in lines if not line.startswith("{")).strip()


def assemble_filters() -> None:
    """Make every filter that a run on this machine may need, so that forks of this process have them ready."""
    for name in ("bwrap", "prlimit", "setpriv"):
        with suppress(FileNotFoundError):
            find_program(name)  # looked for once, too
    abi = kernel.landlock_abi()
    for rules in (
        seccomp.rules_with_mounts(),
        *(seccomp.rules_without_mounts(same_user=shared, landlock_abi=abi) for shared in (True, False)),
    ):
        with suppress(HomeostatError):  # an architecture without a table: said when a run is tried
            _program(rules)


def _only_these_files(report_fd: int) -> None:
    """Leave nothing open but an empty stdin, the output pipe and `report_fd`."""
    empty = os.open("/dev/null", os.O_RDONLY)
    os.dup2(empty, 0)
    os.closerange(3, report_fd)
    os.closerange(report_fd + 1, os.sysconf("SC_OPEN_MAX"))


@functools.cache
def _program(rules: tuple[seccomp.Rule, ...]) -> bytes:
    return seccomp.assemble(rules, kernel.machine())


def _enter_bubblewrap(spec: SandboxSpec, report_fd: int) -> None:
    filter_fd = os.memfd_create("seccomp")
    os.write(filter_fd, _program(seccomp.rules_with_mounts()))
    os.lseek(filter_fd, 0, os.SEEK_SET)
    for handle in (filter_fd, report_fd):
        os.set_inheritable(handle, True)
    command = bubblewrap_command(spec, seccomp_fd=filter_fd, report_fd=report_fd, others=_counted_along(spec))
    os.execve(command[0], command, dict(spec.env))  # noqa: S606 - no shell by intent


def _counted_along(spec: SandboxSpec) -> int:
    """Return how many tasks outside count towards RLIMIT_NPROC in a user namespace of ours."""
    if spec.uid is not None or kernel.counts_processes_per_namespace():
        return 0
    return kernel.tasks_of(os.getuid())


def _enter_landlock(spec: SandboxSpec, report_fd: int) -> None:
    abi = kernel.landlock_abi()
    if spec.landlock_abi is not None:
        abi = min(abi, spec.landlock_abi)
    if abi < 1:
        raise OSError("this kernel has no Landlock")
    shared = spec.uid is None or spec.uid == NOBODY
    rules = seccomp.rules_without_mounts(same_user=shared, landlock_abi=abi)
    program = _program(rules)
    counted = kernel.tasks_of(os.getuid()) if spec.uid is None else 0
    supervisor = os.getppid()
    limits = innermost.rlimits(spec.limits, others=counted, own=0)
    innermost.set_rlimits(limits)
    if spec.uid is not None:
        innermost.become(spec.uid)
        kernel.die_with_parent(signal.SIGKILL, supervisor)
    kernel.drop_capabilities()
    os.chdir(spec.cwd)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    landlock.restrict(spec.binds, abi)
    kernel.load_seccomp(program)
    innermost.run_command(list(spec.argv), report_fd=report_fd, env=dict(spec.env))


def _wait_in_namespaces(door: socket.socket, uid: int, gid: int, shown: Shown | None) -> NoReturn:
    """Be the init of a new pid namespace: wait for the spec, set everything up, start the command, reap.

    When this process ends the kernel kills whatever is left in the namespace.
    """
    _default_signals()
    # getppid() is 0 in here whoever the parent is; but a parent that died closed the door.
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    problem = _set_up_ahead(uid, gid, shown)
    spec, report_fd = _next_run(door)
    with _reporting(report_fd):
        if problem is not None:
            raise problem
        if (spec.uid is None) != (uid != 0):
            raise ValueError("the spec is for another user than ours")
        if shown is None:
            shown = Shown(root=spec.staging, binds=(), temporary_mb=spec.limits.temporary_mb)
            mounts.begin_root(shown)
        mounts.finish_root(spec, shown)
        os._exit(_exit_code_of(_start_inside(spec, shown.root, report_fd)))


def _set_up_ahead(uid: int, gid: int, shown: Shown | None) -> OSError | None:
    """Do what needs no spec; return what went wrong, to be reported when there is somebody to report to."""
    try:
        if uid != 0:
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"{uid} {uid} 1")
            _write("/proc/self/gid_map", f"{gid} {gid} 1")
        if shown is not None:
            mounts.begin_root(shown)
    except OSError as error:
        return error
    return None


def _start_inside(spec: SandboxSpec, root: str, report_fd: int) -> int:
    """Set up everything around this first process of the namespaces; start the command and return its id."""
    others = _counted_along(spec)
    mounts.enter_root(root)
    kernel.set_hostname("sandbox")
    _raise_loopback()
    innermost.set_rlimits(innermost.rlimits(spec.limits, others=others, own=1))
    if spec.uid is not None:
        innermost.become(spec.uid)
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.drop_capabilities()
    os.chdir(spec.cwd)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # the command may not look into this process
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.load_seccomp(_program(seccomp.rules_with_mounts()))
    return innermost.start_command(list(spec.argv), report_fd=report_fd, env=dict(spec.env))


def _exit_code_of(child: int) -> int:
    """Reap until this child ends; return its exit code, 128 and the signal for one that was killed."""
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP_AND_RUNNING))


def _write(path: str, text: str) -> None:
    handle = os.open(path, os.O_WRONLY)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)
