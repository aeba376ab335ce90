"""What to run in a sandbox and what it may see: plain data that crosses to the launcher as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum

from homeostat.core.errors import Bug


class Kind(StrEnum):
    """The kinds of sandbox, the preferred first."""

    NAMESPACES = "namespaces"
    """Made by us, with nothing to install; the quickest."""

    BUBBLEWRAP = "bubblewrap"
    """Made by a program that some systems allow namespaces to when they refuse them to us."""

    LANDLOCK = "landlock"
    """No mounts and nothing to install: paths keep their places, and no process has a private view."""

    @property
    def mounts(self) -> bool:
        """Whether this kind gives its processes a file system of their own."""
        return self is not Kind.LANDLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A file or folder of this machine that is seen at `target`; without mounts both are the same."""

    source: str
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the sandboxed processes may use."""

    timeout_s: float
    memory_mb: int
    """Of one process."""

    tree_memory_mb: int
    """Of all of them together, measured ten times a second."""

    max_processes: int
    """Processes and threads at once."""

    file_mb: int = 1024
    """Of one file."""

    disk_mb: int = 4096
    """Of everything written below the writable folders, looked at when the disk fills visibly."""

    @property
    def temporary_mb(self) -> int:
        """Size of each file system that lies in memory: the private /tmp and /dev/shm."""
        return min(self.file_mb, self.memory_mb)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """One run. `uid` is what to become (None: stay who we are); `staging` is an empty private folder."""

    kind: Kind
    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    binds: tuple[Bind, ...]
    limits: Limits
    staging: str
    uid: int | None = None
    landlock_abi: int | None = None
    """Pretend that the kernel offers no more than this; for tests of older kernels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What is mounted before a run is known: every run's part of its spec, read-only, at the empty folder `root`."""

    root: str
    binds: tuple[Bind, ...]
    temporary_mb: int


def encode_shown(shown: Shown) -> str:
    """Return it as JSON for `decode_shown`."""
    return json.dumps(shown, default=_fields)


def decode_shown(text: str) -> Shown:
    """Read what `encode_shown` wrote."""
    raw = json.loads(text)
    return Shown(**{**raw, "binds": tuple(Bind(**bind) for bind in raw["binds"])})


def encode_spec(spec: SandboxSpec) -> bytes:
    """Return the spec as JSON for `decode_spec`."""
    return json.dumps(spec, default=_fields).encode()


def _fields(value: SandboxSpec | Shown | Bind | Limits) -> dict[str, object]:
    """Return the fields of a part as `dataclasses.asdict` does, without copying every one of them."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def decode_spec(data: bytes) -> SandboxSpec:
    """Read what `encode_spec` wrote; anything else is a bug of ours, since no one else writes it."""
    try:
        raw = json.loads(data)
        return SandboxSpec(
            **{
                **raw,
                "kind": Kind(raw["kind"]),
                "argv": tuple(raw["argv"]),
                "binds": tuple(Bind(**bind) for bind in raw["binds"]),
                "limits": Limits(**raw["limits"]),
            }
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Bug("sandbox-spec", f"the launcher was given no spec: {error}") from error


def is_within(path: str, root: str) -> bool:
    """Tell whether a path is this folder or lies below it, by their names alone."""
    return path == root or path.startswith(root.rstrip("/") + "/")
