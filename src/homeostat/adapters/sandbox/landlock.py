"""Landlock: what a process without mounts of its own may do with files, by folder.

See ``Documentation/userspace-api/landlock.rst`` of the kernel. Rights that an older kernel does not
know are left out; `seccomp` then refuses the calls behind them.
"""

import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

from homeostat.adapters.sandbox import kernel
from homeostat.adapters.sandbox.spec import Bind

_EXECUTE = 1 << 0
_WRITE_FILE = 1 << 1
_READ_FILE = 1 << 2
_READ_DIR = 1 << 3
_TRUNCATE = 1 << 14
_IOCTL_DEV = 1 << 15

_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READING = _EXECUTE | _READ_FILE | _READ_DIR
_NO_SPECIAL_FILES = ~((1 << 6) | (1 << 11))  # MAKE_CHAR, MAKE_BLOCK

_NET_BIND_AND_CONNECT = 0b11
_SCOPE_ABSTRACT_SOCKET_AND_SIGNAL = 0b11

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
MACHINE_FACTS = ("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/sys/kernel")
"""What programs ask about the machine; the rest of /proc speaks of processes."""


def handled_access(abi: int) -> int:
    """Return every file right that this version of Landlock can withhold."""
    bits = 13
    if abi >= 2:
        bits = 14  # REFER
    if abi >= 3:
        bits = 15  # TRUNCATE
    if abi >= 5:
        bits = 16  # IOCTL_DEV
    return (1 << bits) - 1


def ruleset_attributes(abi: int) -> bytes:
    """Return `struct landlock_ruleset_attr` as long as this version knows it."""
    attributes = struct.pack("=Q", handled_access(abi))
    if abi >= 4:
        attributes += struct.pack("=Q", _NET_BIND_AND_CONNECT)
    if abi >= 6:
        attributes += struct.pack("=Q", _SCOPE_ABSTRACT_SOCKET_AND_SIGNAL)
    return attributes


def restrict(binds: Iterable[Bind], abi: int) -> None:
    """Withhold everything from this thread and its descendants but these folders. For good.

    Raises `OSError` where the kernel has no Landlock or a folder cannot be opened.
    """
    handled = handled_access(abi)
    ruleset = kernel.landlock_create_ruleset(ruleset_attributes(abi))
    try:
        for bind in binds:
            _allow(ruleset, bind.source, (handled & _NO_SPECIAL_FILES) if bind.writable else handled & _READING)
        for path in DEVICES:
            _allow(ruleset, path, handled & (_READ_FILE | _WRITE_FILE))
        for path in MACHINE_FACTS:
            if Path(path).exists():
                _allow(ruleset, path, handled & (_READ_FILE | _READ_DIR))
        kernel.landlock_restrict_self(ruleset)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            access &= _OF_A_FILE
        kernel.landlock_allow(ruleset, handle, access)
    finally:
        os.close(handle)
