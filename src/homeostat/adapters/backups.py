"""Snapshots of what a change replaced: ``<root>/<name>/manifest.json`` and the files beside it.

A snapshot is written into a temporary folder, synced and renamed, so that a name either holds all
of it or nothing. Files are numbered; their paths stand in the manifest alone, so that no path can
lead out of the folder or collide with another:

    manifest.json   {"format", "facts", "files": [{"kind", "path", "old_path", "before", "after"}], "digest"}
    before/0000     the bytes of the first file's before side; after/0000 those of its after side

A side is null or {"file", "mode", "sha256", "size"}. Paths are percent-encoded bytes. `digest`
covers the canonical JSON of all the rest; it finds damage, not forgery, which is the ledger's part
(it can keep what `FolderBackupStore.digest` returns).
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from homeostat.adapters.folders import read_regular, sync_folder
from homeostat.core import canonical_json
from homeostat.core.canonical_json import JsonValue
from homeostat.core.digests import Digest, digest_bytes
from homeostat.core.errors import Conflict, HomeostatError, IntegrityFailure, InvalidInput, NotFound, Unavailable
from homeostat.model.change import ChangeKind, FileChange, FileMode, FileState, TreeChange

_FORMAT = 1
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MAX_PARTS = 3
_MAX_MANIFEST_BYTES = 16 << 20


class FolderBackupStore:
    """`homeostat.ports.repository.BackupStore` in a folder that only the hub's user may read."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def save(self, *, name: str, change: TreeChange, facts: Mapping[str, str]) -> None:
        """Keep both sides of `change` under `name` (``<UTC>/<id>``), durable when it returns.

        The same again is quiet; another change or other facts under a name that is taken is a
        `Conflict` (``backup-exists``).
        """
        folder = self._folder(name)
        contents, manifest = _manifest_of(change, facts)
        try:
            if not folder.exists():
                self._write(folder, contents, manifest)
        except OSError as error:
            # Another process may have kept the same snapshot meanwhile; then it is compared below.
            if not folder.is_dir():
                raise Unavailable(
                    "backup-failed",
                    f"the snapshot `{name}` could not be written: {error.strerror}",
                    hint="nothing was changed; free some disk space, or make the folder writable",
                ) from error
        kept = self.load(name)  # read back before anything is changed: a snapshot is worth what it gives
        if kept != change or self._read_manifest(folder, name) != manifest:
            raise Conflict("backup-exists", f"the snapshot `{name}` holds another change")

    def load(self, name: str) -> TreeChange:
        """Return the whole change, both sides. `NotFound`, or `IntegrityFailure` when a byte differs."""
        folder = self._folder(name)
        manifest = _parse(self._read_manifest(folder, name), name)
        try:
            files = tuple(_file_change(folder, entry, name) for entry in manifest["files"])
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(name, "its manifest is not in the known form") from error
        return TreeChange(files=files)

    def facts(self, name: str) -> Mapping[str, str]:
        """Return what was noted when the snapshot was made."""
        manifest = _parse(self._read_manifest(self._folder(name), name), name)
        return {str(key): str(value) for key, value in dict(manifest["facts"]).items()}

    def digest(self, name: str) -> Digest:
        """Return the digest that names every byte of this snapshot, for the ledger."""
        return digest_bytes(self._read_manifest(self._folder(name), name))

    def _folder(self, name: str) -> Path:
        parts = name.split("/")
        if not 1 <= len(parts) <= _MAX_PARTS or not all(_PART.fullmatch(part) for part in parts):
            raise InvalidInput("bad-backup-name", f"{name[:80]!r} is not the name of a snapshot")
        return self._root.joinpath(*parts)

    def _write(self, folder: Path, contents: Mapping[str, bytes], manifest: bytes) -> None:
        made = _make_folders(folder.parent)
        # The name begins with a dot, which no snapshot's name can.
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for side in ("before", "after"):
                (temporary / side).mkdir(mode=0o700)
            for place, content in contents.items():
                _write_synced(temporary / place, content)
            _write_synced(temporary / "manifest.json", manifest)
            for written in (temporary / "before", temporary / "after", temporary):
                sync_folder(written)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        for parent in (folder.parent, *made):
            sync_folder(parent)
        for left_behind in folder.parent.glob(f".{folder.name}.*"):
            shutil.rmtree(left_behind, ignore_errors=True)

    def _read_manifest(self, folder: Path, name: str) -> bytes:
        try:
            if not folder.is_dir():
                raise NotFound("unknown-backup", f"there is no snapshot `{name}`")
            raw = read_regular(folder / "manifest.json", most_bytes=_MAX_MANIFEST_BYTES + 1)
        except FileNotFoundError as error:
            raise _damaged(name, "its manifest is gone") from error
        except OSError as error:
            raise Unavailable("backup-unreadable", f"the snapshot `{name}`: {error.strerror}") from error
        if len(raw) > _MAX_MANIFEST_BYTES:
            raise _damaged(name, "its manifest is far too long")
        return raw


def _manifest_of(change: TreeChange, facts: Mapping[str, str]) -> tuple[Mapping[str, bytes], bytes]:
    contents: dict[str, bytes] = {}
    files: list[JsonValue] = []
    for number, item in enumerate(change.files):
        entry: dict[str, JsonValue] = {
            "kind": item.kind.value,
            "path": _quote(item.path),
            "old_path": _quote(item.old_path),
        }
        for side, state in (("before", item.before), ("after", item.after)):
            entry[side] = None
            if state is not None:
                place = f"{side}/{number:04d}"
                contents[place] = state.content
                entry[side] = {
                    "file": place,
                    "mode": f"{state.mode:o}",
                    "sha256": digest_bytes(state.content),
                    "size": len(state.content),
                }
        files.append(entry)
    body: dict[str, JsonValue] = {"format": _FORMAT, "facts": dict(facts), "files": files}
    return contents, canonical_json.encode({**body, "digest": digest_bytes(canonical_json.encode(body))})


def _parse(raw: bytes, name: str) -> dict[str, Any]:
    try:
        manifest = json.loads(raw)
        body = {key: value for key, value in manifest.items() if key != "digest"}
        intact = manifest["digest"] == digest_bytes(canonical_json.encode(body))
        intact = intact and canonical_json.encode(manifest) == raw
        known = body["format"] == _FORMAT
    except (ValueError, AttributeError, KeyError, RecursionError, HomeostatError) as error:
        raise _damaged(name, "its manifest cannot be read") from error
    if not intact:
        raise _damaged(name, "its manifest was altered")
    if not known:
        raise _damaged(name, f"its format {body['format']} is not known to this version")
    return body


def _file_change(folder: Path, entry: Mapping[str, Any], name: str) -> FileChange:
    states = [_state(folder, entry[side], name) for side in ("before", "after")]
    return FileChange(
        kind=ChangeKind(entry["kind"]),
        path=_unquote(entry["path"]),
        old_path=_unquote(entry["old_path"]),
        before=states[0],
        after=states[1],
    )


def _state(folder: Path, side: Mapping[str, Any] | None, name: str) -> FileState | None:
    if side is None:
        return None
    place = str(side["file"])
    if not re.fullmatch(r"(before|after)/[0-9]{4,9}", place):
        raise _damaged(name, "its manifest names a file outside it")
    try:
        content = read_regular(folder / place, most_bytes=int(side["size"]) + 1)
    except OSError as error:
        raise _damaged(name, f"{place}: {error.strerror}") from error
    if len(content) != side["size"] or digest_bytes(content) != side["sha256"]:
        raise _damaged(name, f"{place} is not what was kept")
    return FileState(content=content, mode=FileMode(int(side["mode"], 8)))


def _damaged(name: str, how: str) -> IntegrityFailure:
    return IntegrityFailure(
        "backup-damaged",
        f"the snapshot `{name}` is damaged: {how}",
        hint="the same bytes are in Git: see the commit before the change",
        facts={"backup": name},
    )


def _quote(path: str) -> str:
    return quote_from_bytes(path.encode("utf-8", "surrogateescape"))


def _unquote(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder and those above it, each 0700; return the parents of what was made, to be synced."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
    return [path.parent for path in missing]


def _write_synced(place: Path, content: bytes) -> None:
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
