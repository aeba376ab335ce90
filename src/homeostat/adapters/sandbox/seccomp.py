"""Assemble the BPF programs that say which system calls sandboxed code may make.

Deny-lists, because tests of a host may need anything ordinary: what reaches other processes, the
kernel or a namespace is refused, and so is every call that is younger than our table. Calls of a
foreign ABI (32 bit, x32) end the process, since their numbers mean something else.

Only the low 32 bits of an argument are looked at. For every argument that is examined here the
kernel itself takes an `int`, or flags that lie in the low half.
"""

import errno
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from homeostat.adapters.sandbox import kernel
from homeostat.adapters.sandbox.syscalls import AUDIT_ARCH, LAST_KNOWN, X32_BIT, number
from homeostat.core.errors import Unavailable

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

_OFFSET_NUMBER = 0
_OFFSET_ARCH = 4

KILL = 0x80000000
ALLOW = 0x7FFF0000
_ERRNO = 0x00050000

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_SOCK_STREAM, _SOCK_NONBLOCK_OR_CLOEXEC = 1, 0o2004000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_FIOSETOWN, _SIOCSPGRP = 0x8901, 0x8902
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX = 8, 10, 15


class Test(StrEnum):
    """When an argument makes a call refused."""

    __test__ = False

    ANY_BIT = "any-bit"
    """It shares a bit with the value."""

    IS = "is"
    """It is one of the values."""

    IS_NOT = "is-not"
    """It is none of the values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Refuse a call, always or when one argument says so. `answer` 0: accepted without effect."""

    call: str
    answer: int = errno.EPERM
    argument: int | None = None
    test: Test = Test.IS
    values: tuple[int, ...] = ()


def _refuse(names: str, answer: int = errno.EPERM) -> tuple[Rule, ...]:
    return tuple(Rule(call=name, answer=answer) for name in names.split())


_EVERYWHERE = (
    # Other processes, and the kernel itself.
    *_refuse(
        "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd "
        "keyctl add_key request_key bpf perf_event_open userfaultfd kexec_load kexec_file_load reboot "
        "init_module finit_module delete_module create_module acct swapon swapoff settimeofday clock_settime "
        "clock_adjtime adjtimex sethostname setdomainname syslog quotactl quotactl_fd nfsservctl vhangup iopl "
        "ioperm modify_ldt uselib lookup_dcookie _sysctl move_pages migrate_pages fanotify_init "
        "open_by_handle_at name_to_handle_at"
    ),
    # Mounts and namespaces: none is made or entered in here.
    *_refuse(
        "mount umount2 pivot_root chroot open_tree open_tree_attr move_mount fsopen fsconfig fsmount fspick "
        "mount_setattr unshare setns"
    ),
    Rule(call="clone", argument=0, test=Test.ANY_BIT, values=(kernel.NAMESPACE_FLAGS,)),
    # Its flags lie in memory, where a filter cannot look; the C library falls back to clone.
    Rule(call="clone3", answer=errno.ENOSYS),
    # A ring makes calls that no filter sees.
    *_refuse("io_uring_setup io_uring_enter io_uring_register", errno.ENOSYS),
    # Typing into the terminal of whoever started the hub.
    Rule(call="ioctl", argument=1, test=Test.IS, values=(_TIOCSTI, _TIOCLINUX)),
    # Anything but PER_LINUX and the question; READ_IMPLIES_EXEC and the like have no place in tests.
    Rule(call="personality", argument=0, test=Test.IS_NOT, values=(0, 0xFFFFFFFF)),
)

_OWN_NETWORK = (
    # AF_VSOCK reaches the hypervisor past any network namespace; netlink is how the C library asks for addresses.
    Rule(
        call="socket",
        argument=0,
        test=Test.IS_NOT,
        values=(_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK),
        answer=errno.EAFNOSUPPORT,
    ),
    Rule(call="socketpair", argument=0, test=Test.IS_NOT, values=(_AF_UNIX,), answer=errno.EAFNOSUPPORT),
)

_NO_NAMESPACES = (
    # No network, and no way to a Unix socket outside: only stream pairs, which cannot be addressed.
    *_refuse("socket connect"),
    Rule(call="socketpair", argument=0, test=Test.IS_NOT, values=(_AF_UNIX,)),
    Rule(
        call="socketpair",
        argument=1,
        test=Test.IS_NOT,
        values=(
            _SOCK_STREAM,
            _SOCK_STREAM | 0o2000000,
            _SOCK_STREAM | 0o4000,
            _SOCK_STREAM | _SOCK_NONBLOCK_OR_CLOEXEC,
        ),
    ),
    # Objects of System V and message queues outlive the run and are seen by others.
    *_refuse("shmget msgget semget mq_open"),
    # Limits and priorities of another process of the same user.
    *(
        Rule(call=call, argument=0, test=Test.IS_NOT, values=(0,))
        for call in ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr")
    ),
    *(Rule(call=call, argument=1, test=Test.IS_NOT, values=(0,)) for call in ("setpriority", "ioprio_set")),
    # Landlock does not hide who touches files outside.
    *_refuse("inotify_add_watch"),
)

# Landlock has no say over modes, owners, times and attributes. With the same uid as the user's own
# files, sandboxed code could change those outside. Refusing would break every `shutil.copy`.
_METADATA_WITHOUT_EFFECT = _refuse(
    "chmod fchmod fchmodat fchmodat2 chown lchown fchown fchownat setxattr lsetxattr fsetxattr setxattrat "
    "removexattr lremovexattr fremovexattr removexattrat utime utimes futimesat utimensat file_setattr",
    answer=0,
)

# Before Landlock's signal scope (ABI 6) only this keeps signals from the user's other processes.
_NO_SIGNALS = (
    *_refuse("tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal"),
    Rule(call="kill", argument=0, test=Test.IS_NOT, values=(0,)),
    Rule(call="fcntl", argument=1, test=Test.IS, values=(_F_SETOWN, _F_SETSIG, _F_SETOWN_EX)),
    Rule(call="ioctl", argument=1, test=Test.IS, values=(_FIOSETOWN, _SIOCSPGRP)),
)

# Before ABI 3 Landlock did not know truncation by path.
_NO_TRUNCATE = _refuse("truncate")


def rules_with_mounts() -> tuple[Rule, ...]:
    """Return the rules for sandboxes that have namespaces of their own."""
    return _EVERYWHERE + _OWN_NETWORK


def rules_without_mounts(*, same_user: bool, landlock_abi: int) -> tuple[Rule, ...]:
    """Return the rules where the filter and Landlock carry everything.

    `same_user` says that sandboxed code runs under a uid that owns files or processes outside.
    """
    rules = _EVERYWHERE + _NO_NAMESPACES
    if same_user:
        rules += _METADATA_WITHOUT_EFFECT
        if landlock_abi < 6:
            rules += _NO_SIGNALS
        if landlock_abi < 3:
            rules += _NO_TRUNCATE
    return rules


def assemble(rules: Sequence[Rule], machine: str) -> bytes:
    """Return the program for this architecture, ready for the kernel or for ``bwrap --seccomp``.

    Raises `Unavailable` on an architecture that we have no numbers for.
    """
    if machine not in AUDIT_ARCH:
        raise Unavailable("sandbox-architecture", f"there is no system call table for {machine}")
    program = [
        _op(_LOAD, _OFFSET_ARCH),
        _op(_EQUAL, AUDIT_ARCH[machine], 1, 0),
        _op(_RETURN, KILL),
        _op(_LOAD, _OFFSET_NUMBER),
    ]
    if machine == "x86_64":
        program += [_op(_AT_LEAST, X32_BIT, 0, 1), _op(_RETURN, KILL)]
    program += [_op(_AT_LEAST, LAST_KNOWN + 1, 0, 1), _op(_RETURN, _ERRNO | errno.ENOSYS)]
    for rule in rules:
        called = number(machine, rule.call)
        if called is not None:
            program += _block(called, rule)
    program.append(_op(_RETURN, ALLOW))
    return b"".join(program)


def _block(called: int, rule: Rule) -> list[bytes]:
    """Return instructions that answer this call, or fall through with the number loaded again."""
    answer = _op(_RETURN, _ERRNO | rule.answer)
    if rule.argument is None:
        return [_op(_EQUAL, called, 0, 1), answer]
    test = [_op(_LOAD, 16 + 8 * rule.argument), *_argument_test(rule, answer), _op(_LOAD, _OFFSET_NUMBER)]
    return [_op(_EQUAL, called, 0, len(test)), *test]


def _argument_test(rule: Rule, answer: bytes) -> Iterable[bytes]:
    match rule.test:
        case Test.ANY_BIT:
            (mask,) = rule.values
            return [_op(_ANY_BIT, mask, 0, 1), answer]
        case Test.IS:
            return [step for value in rule.values for step in (_op(_EQUAL, value, 0, 1), answer)]
        case Test.IS_NOT:
            count = len(rule.values)
            # A hit jumps over the values that are left and over the answer.
            return [*(_op(_EQUAL, value, count - place, 0) for place, value in enumerate(rule.values)), answer]


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return one `struct sock_filter`."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
