"""Build and enter a file system of our own, for the kind that uses namespaces directly.

With functions of `os` rather than paths: some fifty places are made while somebody waits.
"""
# ruff: noqa: PTH102, PTH103, PTH110, PTH112, PTH120, PTH211

import os

from homeostat.adapters.sandbox import kernel
from homeostat.adapters.sandbox.landlock import DEVICES
from homeostat.adapters.sandbox.spec import SandboxSpec, Shown

_TMPFS = kernel.MS_NOSUID | kernel.MS_NODEV
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}


def begin_root(shown: Shown) -> None:
    """Mount at `shown.root` what is the same in every run: devices, /tmp, and the binds that are known ahead.

    Needs a mount namespace of our own and CAP_SYS_ADMIN in it. A recursive bind keeps the mounts
    below it, so read-only is set on the whole tree of each.
    """
    root = shown.root
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", root, "tmpfs", _TMPFS, "mode=0755,size=16m")
    for name in ("proc", "dev", "tmp"):
        os.mkdir(f"{root}/{name}")
    kernel.mount("tmpfs", f"{root}/dev", "tmpfs", _TMPFS, "mode=0755,size=1m")
    for device in DEVICES:
        _bind(device, root + device, writable=True, devices=True)
    for name, goal in _LINKS.items():
        os.symlink(goal, f"{root}/dev/{name}")
    os.mkdir(f"{root}/dev/shm")  # noqa: S108 - a place inside
    for place in ("tmp", "dev/shm"):
        kernel.mount("tmpfs", f"{root}/{place}", "tmpfs", _TMPFS, f"mode=1777,size={shown.temporary_mb << 20}")
    for bind in shown.binds:
        _bind(bind.source, root + bind.target, writable=bind.writable)


def finish_root(spec: SandboxSpec, shown: Shown) -> None:
    """Mount the rest of the spec. `ValueError` where more is shown already than this run may see."""
    if not set(shown.binds) <= set(spec.binds) or shown.temporary_mb != spec.limits.temporary_mb:
        raise ValueError("what was mounted ahead is not part of this run")
    for bind in spec.binds:
        if bind not in shown.binds:
            _bind(bind.source, shown.root + bind.target, writable=bind.writable)


def enter_root(root: str) -> None:
    """Make `root` the only file system there is. Call as the first process of a new pid namespace."""
    kernel.mount("proc", f"{root}/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    os.chdir(root)
    kernel.pivot_root(".", ".")  # the old root now lies on top of the new one, and goes away with this:
    kernel.umount(".", kernel.MNT_DETACH)
    os.chdir("/")
    read_only = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | _TMPFS
    kernel.mount("none", "/dev", None, read_only)
    kernel.mount("none", "/", None, read_only)


def _bind(source: str, target: str, *, writable: bool, devices: bool = False) -> None:
    _make_place(source, target)
    kernel.mount(source, target, None, kernel.MS_BIND | kernel.MS_REC)
    attributes = kernel.MOUNT_ATTR_NOSUID
    if not devices:
        attributes |= kernel.MOUNT_ATTR_NODEV
    if not writable:
        attributes |= kernel.MOUNT_ATTR_RDONLY
    kernel.restrict_mount(target, attributes)


def _make_place(source: str, target: str) -> None:
    """Make the file or folder to mount on, unless it is there already."""
    if os.path.exists(target):
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.isdir(source):
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
