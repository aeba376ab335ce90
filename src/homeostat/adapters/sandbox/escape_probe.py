"""Tries to get out. Run inside each kind of sandbox by `selftest`, and once outside as the control.

Standard library of Python 3.9 only: inside it runs in whatever interpreter is visible there. An
attempt that works anywhere does no harm: it touches only what the self-test made for it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

Facts = dict[str, Any]
Outcome = tuple[bool, str]

_PTRACE_SEIZE = 0x4206
_PR_GET_SECCOMP = 21
_PR_GET_NO_NEW_PRIVS = 39
_AF_VSOCK = 40
_CLONE_NEWUSER = 0x10000000
_TEST_NET = "192.0.2.1"  # RFC 5737: documentation only, leads nowhere
_SYSCALLS = {
    "x86_64": {"add_key": 248, "process_vm_readv": 310, "bpf": 321, "io_uring_setup": 425, "userfaultfd": 323},
    "aarch64": {"add_key": 217, "process_vm_readv": 270, "bpf": 280, "io_uring_setup": 425, "userfaultfd": 282},
}
_MORE_FORKS = 64

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *args: Any) -> int:
    number = _SYSCALLS[platform.machine()][name]
    return int(_libc.syscall(ctypes.c_long(number), *args))


def _error() -> str:
    return os.strerror(ctypes.get_errno())


def _connect(family: int, address: Any) -> Outcome:
    with socket.socket(family, socket.SOCK_STREAM) as handle:
        handle.settimeout(1.0)
        handle.connect(address)
    return True, "connected"


def network_loopback(facts: Facts) -> Outcome:
    return _connect(socket.AF_INET, ("127.0.0.1", facts["port"]))


def network_outside(facts: Facts) -> Outcome:
    """Succeeds too when nothing answers in time: then a packet was on its way."""
    if facts["control"]:
        return False, "not tried outside"
    try:
        return _connect(socket.AF_INET, (_TEST_NET, 9))
    except socket.timeout:  # noqa: UP041 - not yet the same before Python 3.10
        return True, "a packet left"


def network_other_kinds(facts: Facts) -> Outcome:
    for family in (_AF_VSOCK, socket.AF_PACKET):
        try:
            socket.socket(family, socket.SOCK_STREAM if family == _AF_VSOCK else socket.SOCK_RAW).close()
        except OSError:
            continue
        return True, f"a socket of family {family}"
    return False, "refused"


def unix_socket(facts: Facts) -> Outcome:
    return _connect(socket.AF_UNIX, facts["unix_socket"])


def abstract_socket(facts: Facts) -> Outcome:
    return _connect(socket.AF_UNIX, "\0" + facts["abstract"])


def datagram_from_pair(facts: Facts) -> Outcome:
    """A datagram pair may be readdressed, so it reaches sockets without socket() or connect()."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        left.sendto(b"x", facts["unix_datagram"])
    return True, "sent"


def read_secret(facts: Facts) -> Outcome:
    with open(facts["secret"], "rb") as handle:  # noqa: PTH123
        return True, f"read {len(handle.read())} bytes"


def write_outside(facts: Facts) -> Outcome:
    """Whether it worked is judged by the self-test, which looks at the files afterwards."""
    victim, folder = facts["victim_file"], facts["victim_folder"]
    attempts: list[Callable[[], Any]] = [
        lambda: os.chmod(victim, 0o777),  # noqa: PTH101, S103
        lambda: os.utime(victim, (1, 1)),
        lambda: os.truncate(victim, 1),
        lambda: os.close(os.open(victim, os.O_WRONLY | os.O_TRUNC)),
        lambda: os.close(os.open(os.path.join(folder, "new"), os.O_CREAT | os.O_WRONLY)),  # noqa: PTH118
        lambda: os.rename(victim, victim + "-moved"),  # noqa: PTH104
        lambda: os.link(victim, os.path.join(os.getcwd(), "linked")),  # noqa: PTH109, PTH118
    ]
    refused = 0
    for attempt in attempts:
        try:
            attempt()
        except OSError:
            refused += 1
    return refused < len(attempts), f"{refused} of {len(attempts)} refused"


def read_state(facts: Facts) -> Outcome:
    return True, f"listed {len(os.listdir(facts['state']))} names"  # noqa: PTH208


def read_home(facts: Facts) -> Outcome:
    names = os.listdir(facts["home"])  # noqa: PTH208
    return bool(set(names) & set(facts["home_names"])), "listed"


def see_processes(facts: Facts) -> Outcome:
    process = str(facts["process"])
    seen = []
    try:
        if process in os.listdir("/proc"):  # noqa: PTH208
            seen.append("listed")
    except OSError:
        pass
    try:
        with open(f"/proc/{process}/cmdline", "rb") as handle:  # noqa: PTH123
            handle.read()
            seen.append("command line")
    except OSError:
        pass
    return bool(seen), ", ".join(seen) or "not there"


def signal_processes(facts: Facts) -> Outcome:
    os.kill(facts["process"], 0)
    return True, "a signal would arrive"


def limit_processes(facts: Facts) -> Outcome:
    resource.prlimit(facts["process"], resource.RLIMIT_CORE)
    return True, "its limits are open"


def trace_processes(facts: Facts) -> Outcome:
    _libc.ptrace.restype = ctypes.c_long
    if _libc.ptrace(_PTRACE_SEIZE, facts["process"], None, None) == 0:
        return True, "ptrace attached"
    buffer = ctypes.create_string_buffer(8)
    vector = struct.pack("=QQ", ctypes.addressof(buffer), 8)
    local = ctypes.create_string_buffer(vector, 16)
    moved = _call("process_vm_readv", facts["process"], local, 1, local, 1, 0)
    return moved >= 0 or ctypes.get_errno() == errno.EFAULT, _error()


def keyring(facts: Facts) -> Outcome:
    key = _call("add_key", b"user", b"homeostat-self-test", b"x", ctypes.c_size_t(1), -2)
    return key >= 0, "a key was added" if key >= 0 else _error()


def kernel_doors(facts: Facts) -> Outcome:
    """Each is judged by its error: nothing here may get as far as reading its arguments."""
    for name in ("bpf", "io_uring_setup", "userfaultfd"):
        result = _call(name, ctypes.c_long(-1), None, ctypes.c_long(0))
        if result >= 0 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
            return True, f"{name} answers: {_error()}"
    return False, "refused"


def namespaces_and_mounts(facts: Facts) -> Outcome:
    child = os.fork()
    if child == 0:
        opened = _libc.unshare(_CLONE_NEWUSER) == 0
        mounted = _libc.mount(b"none", b"/tmp", b"tmpfs", ctypes.c_ulong(0), None) == 0
        os._exit(1 if opened or mounted else 0)
    return os.waitpid(child, 0)[1] != 0, "tried in a child"


def devices(facts: Facts) -> Outcome:
    for name in ("mem", "kmsg", "port", "vda", "sda", "nvme0n1", "kvm", "fuse"):
        try:
            os.close(os.open(f"/dev/{name}", os.O_RDWR | os.O_NONBLOCK))
        except OSError:
            continue
        return True, f"opened /dev/{name}"
    try:
        os.mknod("device", 0o600 | 0o060000, os.makedev(1, 1))
    except OSError:
        return False, "none opens, none is made"
    return True, "made a device file"


def shared_memory(facts: Facts) -> Outcome:
    found = _libc.shmget(ctypes.c_int(facts["shared_memory_key"]), ctypes.c_size_t(0), 0)
    return found >= 0, "found the segment" if found >= 0 else _error()


def foreign_abi(facts: Facts) -> Outcome:
    """On x86_64 a call by an x32 number must end the process; elsewhere there is nothing to try."""
    if platform.machine() != "x86_64":
        return False, "no foreign ABI on this machine"
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _libc.syscall(ctypes.c_long(0x40000000 + 39))
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS
    return not killed, "ended by SIGSYS" if killed else "answered"


def privileges(facts: Facts) -> Outcome:
    header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0), 8)
    data = ctypes.create_string_buffer(24)
    _libc.capget(header, data)
    effective, permitted = struct.unpack("=6I", data.raw)[0:2]
    facts_here = (
        os.getuid() != 0 and os.geteuid() != 0,
        _libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1,
        _libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) == 2,
        not effective and not permitted,
        not os.getgroups() or facts["same_user"],
    )
    return not all(facts_here), "not root, no new privileges, filter, no capabilities, no groups: " + str(facts_here)


def environment(facts: Facts) -> Outcome:
    extra = sorted(set(os.environ) - set(facts["environment"]))
    return bool(extra), ", ".join(extra) or "nothing of ours"


def descriptors(facts: Facts) -> Outcome:
    left = []
    for number in range(3, 256):
        try:
            fcntl.fcntl(number, fcntl.F_GETFD)
        except OSError:
            continue
        left.append(number)
    return bool(left) or os.read(0, 1) != b"", f"open: {left}"


def process_limit(facts: Facts) -> Outcome:
    if facts["control"]:
        return False, "not tried outside"
    reading, writing = os.pipe()
    children = []
    try:
        for _ in range(facts["max_processes"] + _MORE_FORKS):
            child = os.fork()
            if child == 0:
                os.close(writing)
                os.read(reading, 1)
                os._exit(0)
            children.append(child)
    except OSError:
        return False, f"refused after {len(children)}"
    finally:
        os.close(writing)
        os.close(reading)
        for child in children:
            os.waitpid(child, 0)
    return True, f"{len(children)} at once"


def memory_limit(facts: Facts) -> Outcome:
    """Ask for memory as an allocator does, privately; outside, where it is granted, it is not filled."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(1 if mmap.mmap(-1, facts["memory_mb"] << 20, flags=mmap.MAP_PRIVATE) else 0)
        except (OSError, MemoryError):
            os._exit(0)
    return os.waitpid(child, 0)[1] != 0, f"{facts['memory_mb']} MB"


def file_limit(facts: Facts) -> Outcome:
    if facts["control"]:
        return False, "not tried outside"
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    handle = os.open("large", os.O_CREAT | os.O_WRONLY)
    try:
        os.ftruncate(handle, (facts["file_mb"] << 20) + 1)
    finally:
        os.close(handle)
    return True, "made a file beyond the limit"


ATTEMPTS = (
    network_loopback,
    network_outside,
    network_other_kinds,
    unix_socket,
    abstract_socket,
    datagram_from_pair,
    read_secret,
    read_state,
    read_home,
    write_outside,
    see_processes,
    signal_processes,
    limit_processes,
    trace_processes,
    shared_memory,
    keyring,
    kernel_doors,
    namespaces_and_mounts,
    devices,
    foreign_abi,
    privileges,
    environment,
    descriptors,
    process_limit,
    memory_limit,
    file_limit,
)


def attempt_all(facts: Facts) -> dict[str, Outcome]:
    """Return for each attempt whether it got through, and what was seen."""
    outcomes = {}
    for attempt in ATTEMPTS:
        try:
            outcomes[attempt.__name__] = attempt(facts)
        except OSError as error:
            outcomes[attempt.__name__] = (False, error.strerror or str(error))
    return outcomes


def leave_a_daemon(path: str) -> None:
    """Start a process that nobody waits for and that holds a lock for as long as it lives."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        handle = os.open(path, os.O_CREAT | os.O_RDWR)
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.write(writing, b"x")
        for number in (0, 1, 2):
            os.close(number)
        while True:
            time.sleep(60)
    os.close(writing)
    os.read(reading, 1)


def main() -> None:
    facts = json.loads(sys.argv[1])
    outcomes = attempt_all(facts)
    leave_a_daemon(facts["lock"])
    print(json.dumps(outcomes))  # noqa: T201


if __name__ == "__main__":
    main()
