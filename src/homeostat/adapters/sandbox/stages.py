"""What happens between the launcher's fork and the host's command, for each kind of sandbox.

Each `enter_...` runs in a freshly forked child, never returns, and tells through `ready_fd` how far
it came: `innermost.READY` when everything is in place, or a line of text that says what failed.
"""

import fcntl
import os
import signal
import socket
import struct
from collections.abc import Callable
from typing import NoReturn

from homeostat.adapters.sandbox import innermost, kernel, landlock, mounts, seccomp
from homeostat.adapters.sandbox.bubblewrap import bubblewrap_command, find_bubblewrap
from homeostat.adapters.sandbox.identity import NOBODY
from homeostat.adapters.sandbox.spec import Kind, SandboxSpec
from homeostat.core.errors import HomeostatError

SETUP_FAILED = 125
_SIOCSIFFLAGS = 0x8914
_IFF_UP_AND_RUNNING = 0x41


def enter(spec: SandboxSpec, *, supervisor: int, ready_fd: int) -> NoReturn:
    """Become the sandboxed command. Call in a child of `supervisor`, with no other thread alive."""
    stage: Callable[[SandboxSpec, int], None] = {
        Kind.BUBBLEWRAP: _enter_bubblewrap,
        Kind.NAMESPACES: _enter_namespaces,
        Kind.LANDLOCK: _enter_landlock,
    }[spec.kind]
    try:
        os.setsid()
        kernel.die_with_parent(signal.SIGKILL, supervisor)
        _only_these_files(ready_fd)
        os.umask(0o022)
        stage(spec, ready_fd)
    except (OSError, HomeostatError, ValueError) as error:
        os.write(ready_fd, f"{error}\n".encode())
    os._exit(SETUP_FAILED)


def _only_these_files(ready_fd: int) -> None:
    """Leave nothing open but an empty stdin, the output pipe and `ready_fd`."""
    empty = os.open("/dev/null", os.O_RDONLY)
    os.dup2(empty, 0)
    os.closerange(3, ready_fd)
    os.closerange(ready_fd + 1, os.sysconf("SC_OPEN_MAX"))


def _program(rules: tuple[seccomp.Rule, ...]) -> bytes:
    return seccomp.assemble(rules, kernel.machine())


def _enter_bubblewrap(spec: SandboxSpec, ready_fd: int) -> None:
    program = find_bubblewrap()
    if program is None:
        raise FileNotFoundError("there is no bwrap program")
    filter_fd = os.memfd_create("seccomp")
    os.write(filter_fd, _program(seccomp.rules_with_mounts()))
    os.lseek(filter_fd, 0, os.SEEK_SET)
    for handle in (filter_fd, ready_fd):
        os.set_inheritable(handle, True)
    command = bubblewrap_command(
        spec, program=program, seccomp_fd=filter_fd, ready_fd=ready_fd, others=_counted_along(spec)
    )
    os.execve(program, command, dict(spec.env))  # noqa: S606


def _counted_along(spec: SandboxSpec) -> int:
    """Return how many tasks outside count towards RLIMIT_NPROC in a user namespace of ours."""
    if spec.uid is not None or kernel.counts_processes_per_namespace():
        return 0
    return kernel.tasks_of(os.getuid())


def _enter_landlock(spec: SandboxSpec, ready_fd: int) -> None:
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
    innermost.run_command(list(spec.argv), home=spec.env["HOME"], ready_fd=ready_fd, env=dict(spec.env))


def _enter_namespaces(spec: SandboxSpec, ready_fd: int) -> None:
    uid, gid = os.getuid(), os.getgid()
    others = _counted_along(spec)
    flags = kernel.NAMESPACE_FLAGS & ~kernel.CLONE_NEWUSER
    if spec.uid is None:
        kernel.unshare(flags | kernel.CLONE_NEWUSER)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")
    else:
        kernel.unshare(flags)
    root = mounts.build_root(spec)
    first = os.fork()
    if first == 0:
        _as_first_process(spec, root, ready_fd, others)
    os.close(ready_fd)
    os._exit(_exit_code_of(first))


def _as_first_process(spec: SandboxSpec, root: str, ready_fd: int, others: int) -> NoReturn:
    """Be the init of the new pid namespace: set everything up, start the command, reap until it ends.

    When this process ends the kernel kills whatever is left in the namespace.
    """
    try:
        # getppid() is 0 in here whoever the parent is. One that died just now is noticed by the
        # launcher, which then kills everything below itself.
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        mounts.enter_root(root)
        kernel.set_hostname("sandbox")
        _raise_loopback()
        program = _program(seccomp.rules_with_mounts())
        innermost.set_rlimits(innermost.rlimits(spec.limits, others=others, own=1))
        if spec.uid is not None:
            innermost.become(spec.uid)
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        kernel.drop_capabilities()
        os.chdir(spec.cwd)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # the command may not look into this process
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.load_seccomp(program)
        command = os.fork()
        if command == 0:
            innermost.run_command(list(spec.argv), home=spec.env["HOME"], ready_fd=ready_fd, env=dict(spec.env))
        os.close(ready_fd)
        os._exit(_exit_code_of(command))
    except (OSError, HomeostatError, ValueError) as error:
        os.write(ready_fd, f"{error}\n".encode())
    os._exit(SETUP_FAILED)


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
