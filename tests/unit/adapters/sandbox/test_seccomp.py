"""The filters, run by a small BPF machine: what is refused, what is killed, and what ordinary code needs."""

import errno
import struct

import pytest

from homeostat.adapters.sandbox import kernel
from homeostat.adapters.sandbox.seccomp import ALLOW, KILL, assemble, rules_with_mounts, rules_without_mounts
from homeostat.adapters.sandbox.syscalls import AUDIT_ARCH, LAST_KNOWN, NUMBERS, number
from homeostat.core.errors import Unavailable

MACHINES = ("x86_64", "aarch64")
PROFILES = {
    "mounts": rules_with_mounts(),
    "landlock as another user": rules_without_mounts(same_user=False, landlock_abi=1),
    "landlock as the same user": rules_without_mounts(same_user=True, landlock_abi=7),
    "old landlock as the same user": rules_without_mounts(same_user=True, landlock_abi=1),
}
REFUSED = (
    "ptrace mount keyctl add_key request_key bpf perf_event_open userfaultfd kexec_load kexec_file_load reboot "
    "init_module finit_module delete_module process_vm_readv process_vm_writev unshare setns open_by_handle_at "
    "pivot_root chroot move_mount fsopen open_tree mount_setattr pidfd_getfd kcmp swapon settimeofday"
)
WITHOUT_MOUNTS = [name for name in PROFILES if name != "mounts"]
EPERM = 0x00050000 | errno.EPERM
ENOSYS = 0x00050000 | errno.ENOSYS
WITHOUT_EFFECT = 0x00050000


def answer(program: bytes, *, arch: int, called: int, args: tuple[int, ...] = ()) -> int:
    """Interpret the classic BPF program on one call, as the kernel does."""
    data = struct.pack("=IIQ6Q", called & 0xFFFFFFFF, arch, 0, *(args + (0,) * 6)[:6])
    steps = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    while True:
        code, if_true, if_false, value = steps[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, value)
            case 0x15:
                at += if_true if accumulator == value else if_false
            case 0x35:
                at += if_true if accumulator >= value else if_false
            case 0x45:
                at += if_true if accumulator & value else if_false
            case 0x06:
                return value
            case _:
                raise AssertionError(f"unknown instruction {code:#x}")


def ask(profile: str, name: str, *args: int, machine: str = "x86_64") -> int:
    called = number(machine, name)
    assert called is not None
    return answer(assemble(PROFILES[profile], machine), arch=AUDIT_ARCH[machine], called=called, args=args)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "name",
    REFUSED.split(),
)
def test_what_reaches_kernel_or_other_processes_is_refused(profile, name, machine):
    assert ask(profile, name, machine=machine) == EPERM


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("machine", MACHINES)
def test_calls_that_a_filter_cannot_read_are_said_not_to_exist(profile, machine):
    for name in ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"):
        assert ask(profile, name, machine=machine) == ENOSYS


@pytest.mark.parametrize("profile", PROFILES)
def test_a_call_younger_than_our_table_is_said_not_to_exist(profile):
    program = assemble(PROFILES[profile], "x86_64")
    assert answer(program, arch=AUDIT_ARCH["x86_64"], called=LAST_KNOWN + 1) == ENOSYS
    assert max(n for pair in NUMBERS.values() for n in pair if n is not None) <= LAST_KNOWN


@pytest.mark.parametrize("profile", PROFILES)
def test_calls_of_a_foreign_abi_end_the_process(profile):
    program = assemble(PROFILES[profile], "x86_64")
    assert answer(program, arch=0x40000003, called=20) == KILL  # i386
    assert answer(program, arch=AUDIT_ARCH["aarch64"], called=20) == KILL
    assert answer(program, arch=AUDIT_ARCH["x86_64"], called=0x40000000 | 39) == KILL  # x32
    assert answer(program, arch=AUDIT_ARCH["x86_64"], called=-1) == KILL


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("machine", MACHINES)
def test_clone_makes_processes_but_no_namespaces(profile, machine):
    assert ask(profile, "clone", 0x01200011, machine=machine) == ALLOW  # fork
    assert ask(profile, "clone", 0x003D0F00, machine=machine) == ALLOW  # a thread
    for flag in (kernel.CLONE_NEWUSER, kernel.CLONE_NEWNS, kernel.CLONE_NEWNET, kernel.CLONE_NEWPID):
        assert ask(profile, "clone", flag | 17, machine=machine) == EPERM


@pytest.mark.parametrize("profile", PROFILES)
def test_no_keystrokes_are_faked_but_other_ioctls_work(profile):
    assert ask(profile, "ioctl", 0, 0x5412) == EPERM
    assert ask(profile, "ioctl", 0, 0xFFFFFFFF_00005412) == EPERM  # the kernel looks at the low half only
    assert ask(profile, "ioctl", 0, 0x5413) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_with_a_network_of_its_own_only_families_that_it_contains_are_allowed(machine):
    for family in (1, 2, 10, 16):
        assert ask("mounts", "socket", family, 1, machine=machine) == ALLOW
    for family in (17, 38, 40, 44):  # packet, alg, vsock, xdp
        assert ask("mounts", "socket", family, 1, machine=machine) == 0x00050000 | errno.EAFNOSUPPORT


@pytest.mark.parametrize("profile", WITHOUT_MOUNTS)
def test_without_a_network_of_its_own_there_are_only_stream_pairs(profile):
    for family in (1, 2, 10, 16, 17, 40):
        assert ask(profile, "socket", family, 1) == EPERM
    assert ask(profile, "connect", 3) == EPERM
    for kind in (1, 1 | 0o2000000, 1 | 0o4000, 1 | 0o2004000):
        assert ask(profile, "socketpair", 1, kind) == ALLOW
    assert ask(profile, "socketpair", 1, 2) == EPERM  # datagrams can be sent to any path
    assert ask(profile, "socketpair", 1, 5) == EPERM
    assert ask(profile, "socketpair", 2, 1) == EPERM


@pytest.mark.parametrize("profile", WITHOUT_MOUNTS)
def test_without_namespaces_nothing_is_shared_and_only_oneself_is_limited(profile):
    for name in ("shmget", "msgget", "semget", "mq_open", "inotify_add_watch"):
        assert ask(profile, name) == EPERM
    assert ask(profile, "prlimit64", 0) == ALLOW
    assert ask(profile, "prlimit64", 4711) == EPERM
    assert ask(profile, "setpriority", 0, 0) == ALLOW
    assert ask(profile, "setpriority", 0, 4711) == EPERM


def test_as_the_same_user_metadata_cannot_be_changed_and_copying_still_works():
    for name in ("chmod", "fchmodat", "chown", "setxattr", "utimensat"):
        assert ask("landlock as the same user", name) == WITHOUT_EFFECT
        assert ask("landlock as another user", name) == ALLOW


def test_old_landlock_needs_signals_and_truncation_refused():
    old, new = "old landlock as the same user", "landlock as the same user"
    for name in ("tgkill", "tkill", "rt_sigqueueinfo", "pidfd_send_signal", "truncate"):
        assert ask(old, name, 4711) == EPERM
        assert ask(new, name, 4711) == ALLOW
    assert ask(old, "kill", 4711) == EPERM
    assert ask(old, "kill", 0xFFFFFFFF) == EPERM
    assert ask(old, "kill", 0) == ALLOW
    assert ask(old, "fcntl", 3, 8) == EPERM  # F_SETOWN: signals by way of a file
    assert ask(old, "fcntl", 3, 1) == ALLOW


@pytest.mark.parametrize("profile", PROFILES)
def test_ordinary_calls_are_allowed(profile):
    program = assemble(PROFILES[profile], "x86_64")
    for called in (0, 1, 2, 3, 9, 10, 12, 57, 59, 60, 61, 186, 202, 230, 231, 257, 262, 318, 332, 436, 439):
        assert answer(program, arch=AUDIT_ARCH["x86_64"], called=called) == ALLOW


@pytest.mark.parametrize(
    ("name", "x86_64", "aarch64"),
    [("ptrace", 101, 117), ("mount", 165, 40), ("unshare", 272, 97), ("bpf", 321, 280), ("socket", 41, 198)],
)
def test_numbers_are_those_of_the_kernel(name, x86_64, aarch64):
    assert NUMBERS[name] == (x86_64, aarch64)


def test_a_call_that_an_architecture_lacks_makes_no_rule_there():
    assert number("aarch64", "iopl") is None
    assert answer(assemble(PROFILES["mounts"], "aarch64"), arch=AUDIT_ARCH["aarch64"], called=172) == ALLOW  # getpid


def test_an_unknown_architecture_has_no_filter():
    with pytest.raises(Unavailable, match="riscv64"):
        assemble(rules_with_mounts(), "riscv64")
