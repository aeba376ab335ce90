"""The container: a plain tar file whose members stand, with their digests, in a signed manifest.

    manifest.json   {"format", "made_at", "ledger": {"size", "entry_hash"}, "with_keys", "files"}; a file is
                    {"path", "size", "sha256"}
    manifest.sig    Ed25519 over `statement` of the manifest, by the ledger's key, base64
    state/...       the files of the state directory, as far as they are kept
    homeostat.toml  the settings, when there are any
    records.bundle  the branch of the records, as a Git bundle, when there is one

The manifest comes first: nothing of a member is used before its signature and its digest were checked.
Nothing is unpacked by tar: a member is read by the name that the manifest gives, and written to a
place that `_check_path` allows.
"""

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from homeostat.adapters.folders import sync_folder
from homeostat.core import canonical_json
from homeostat.core.canonical_json import JsonValue
from homeostat.core.errors import Conflict, HomeostatError, IntegrityFailure, NotFound, Unavailable

MANIFEST, SIGNATURE, SETTINGS, BUNDLE, STATE = (
    "manifest.json",
    "manifest.sig",
    "homeostat.toml",
    "records.bundle",
    "state/",
)
_FORMAT = 1
_MAX_MANIFEST_BYTES = 64 << 20
_CHUNK = 1 << 20
_PART = re.compile(r"[A-Za-z0-9_.-]{1,120}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of the archive."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an archive says of itself; believed only when its signature holds."""

    made_at: str
    ledger_size: int
    ledger_hash: str
    with_keys: bool
    files: Sequence[Member]

    def encode(self) -> bytes:
        body: dict[str, JsonValue] = {
            "format": _FORMAT,
            "made_at": self.made_at,
            "ledger": {"size": self.ledger_size, "entry_hash": self.ledger_hash},
            "with_keys": self.with_keys,
            "files": [{"path": item.path, "size": item.size, "sha256": item.sha256} for item in self.files],
        }
        return canonical_json.encode(body) + b"\n"


def statement(manifest: bytes) -> bytes:
    """Return what is signed; its first line keeps it apart from all else the key signs."""
    return b"homeostat-backup/v1\n" + hashlib.sha256(manifest).hexdigest().encode("ascii") + b"\n"


def describe(path: str, file: Path) -> Member:
    """Read a file through and return how the manifest names it."""
    digest = hashlib.sha256()
    size = 0
    with file.open("rb") as source:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return Member(path=path, size=size, sha256=digest.hexdigest())


def write(out: Path, manifest: Manifest, signature: str, files: Mapping[str, Path]) -> None:
    """Write the archive beside its place and rename it: `out` is whole or not there. `Conflict` when it exists."""
    if out.exists():
        raise Conflict("backup-file-exists", f"{out} exists already", hint="choose another name with --out")
    part, placed = out.with_name(f".{out.name}.part"), False
    try:
        part.unlink(missing_ok=True)
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as target:
            with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
                _add(tar, MANIFEST, io.BytesIO(manifest.encode()), len(manifest.encode()))
                _add(tar, SIGNATURE, io.BytesIO(signature.encode("ascii")), len(signature))
                for member in manifest.files:
                    with files[member.path].open("rb") as source:
                        _add(tar, member.path, source, member.size)
            target.flush()
            os.fsync(target.fileno())
        part.rename(out)
        placed = True
        sync_folder(out.parent)
    except OSError as error:
        with suppress(OSError):
            (out if placed else part).unlink(missing_ok=True)
        raise Unavailable(
            "backup-not-written",
            f"{out} could not be written: {error.strerror or error}",
            hint="nothing was changed; make room there, or choose another place with --out",
        ) from error


@contextmanager
def opened(file: Path, *, verify: Callable[[bytes, str], bool] | None) -> Iterator["Archive"]:
    """Open an archive and check its manifest's form and, when a key is given, its signature."""
    try:
        with tarfile.open(file, mode="r:") as tar:
            yield Archive(file, tar, verify)
    except FileNotFoundError as error:
        raise NotFound("no-backup-file", f"there is no file {file}") from error
    except tarfile.TarError as error:
        raise _damaged(file, f"it is no tar file, or one that was cut short ({error})") from error
    except OSError as error:
        raise Unavailable("backup-file-unreadable", f"{file}: {error.strerror or error}") from error


class Archive:
    """An open archive whose manifest was read. `extract` checks each file's digest while it writes it."""

    def __init__(self, file: Path, tar: tarfile.TarFile, verify: Callable[[bytes, str], bool] | None) -> None:
        self._file = file
        self._members = {item.name: item for item in tar.getmembers()}
        self._tar = tar
        raw = self._read(MANIFEST)
        self.manifest = _parse(file, raw)
        self._signature = self._read(SIGNATURE).decode("ascii", "replace")
        self._statement = statement(raw)
        unnamed = set(self._members) - {MANIFEST, SIGNATURE, *(item.path for item in self.manifest.files)}
        if unnamed:
            raise _damaged(file, f"it holds {sorted(unnamed)[0][:80]!r}, which its manifest does not name")
        if verify is not None:
            self.check_signature(verify)

    def check_signature(self, verify: Callable[[bytes, str], bool]) -> None:
        if not verify(self._statement, self._signature):
            raise _damaged(self._file, "its manifest is not signed by this ledger's key")

    def has(self, path: str) -> bool:
        return any(item.path == path for item in self.manifest.files)

    def extract(self, path: str, place: Path) -> None:
        """Write one file to `place`, 0600 and synced; `IntegrityFailure` when it is not what was kept."""
        member = next(item for item in self.manifest.files if item.path == path)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        digest, left = hashlib.sha256(), member.size
        fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as target, self._open(path) as source:
            while left >= 0 and (chunk := source.read(_CHUNK)):  # a sparse member may be longer than any disk
                digest.update(chunk)
                target.write(chunk)
                left -= len(chunk)
            target.flush()
            os.fsync(target.fileno())
        if digest.hexdigest() != member.sha256 or left != 0:
            raise _damaged(self._file, f"{path} is not what was kept")

    def _read(self, path: str) -> bytes:
        with self._open(path) as source:
            data = source.read(_MAX_MANIFEST_BYTES + 1)
        if len(data) > _MAX_MANIFEST_BYTES:
            raise _damaged(self._file, f"its {path} is far too long")
        return data

    def _open(self, path: str) -> IO[bytes]:
        info = self._members.get(path)
        source = self._tar.extractfile(info) if info is not None and info.isreg() else None
        if source is None:
            raise _damaged(self._file, f"it has no {path}")
        return source


def _add(tar: tarfile.TarFile, name: str, source: IO[bytes], size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    tar.addfile(info, source)


def _parse(file: Path, raw: bytes) -> Manifest:
    try:
        told = json.loads(raw)
        if told["format"] != _FORMAT:
            raise _damaged(file, f"its format {str(told['format'])[:20]} is not known to this version")
        manifest = Manifest(
            made_at=str(told["made_at"]),
            ledger_size=int(told["ledger"]["size"]),
            ledger_hash=str(told["ledger"]["entry_hash"]),
            with_keys=told["with_keys"] is True,
            files=[
                Member(path=str(item["path"]), size=int(item["size"]), sha256=str(item["sha256"]))
                for item in told["files"]
            ],
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise _damaged(file, "its manifest cannot be read") from error
    for item in manifest.files:
        _check_path(file, item.path)
    return manifest


def _check_path(file: Path, path: str) -> None:
    parts = path.removeprefix(STATE).split("/")
    plain = all(_PART.fullmatch(part) and part not in (".", "..") for part in parts)
    if not plain or not (path.startswith(STATE) or path in (SETTINGS, BUNDLE)):
        raise _damaged(file, f"its manifest names {path[:80]!r}, which is no place in a state directory")


def _damaged(file: Path, why: str) -> HomeostatError:
    return IntegrityFailure(
        "backup-file-damaged",
        f"{file} cannot be restored: {why}",
        hint="nothing was changed; take another backup file",
    )
