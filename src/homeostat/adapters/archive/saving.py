"""Making an archive of a state directory, also while a hub works on it.

The order, stated once: records of Git first, then the databases (each a snapshot of one moment), then
the snapshots of applied changes. So Git never knows more than the kept ledger, and every snapshot that
a kept row names is kept. The head file is not copied: it is what the kept ledger ends with.
"""

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from homeostat.adapters.archive.container import BUNDLE, SETTINGS, STATE, Manifest, describe, statement, write
from homeostat.adapters.git.bundle import bundle_records
from homeostat.adapters.git.repository import GitRepository
from homeostat.adapters.keys import PUBLIC_KEY, load_or_create_keys
from homeostat.adapters.policies import FOLDER, added_files
from homeostat.adapters.settings import FILE_NAME
from homeostat.adapters.store.failures import translated
from homeostat.audit.chain import EMPTY_HEAD, utc_text
from homeostat.audit.head import encode_head
from homeostat.core.errors import NotFound, Unavailable
from homeostat.model.ledger import LedgerHead

DATABASES = ("homeostat.sqlite", "flows.sqlite")
HEAD_FILE = "ledger-head.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What was written."""

    path: Path
    manifest: Manifest
    bytes: int


def save_state(
    *,
    repository: GitRepository,
    state_dir: Path,
    out: Path,
    at: datetime,
    with_keys: bool,
    tell: Callable[[str], None],
) -> Saved:
    """Write the archive `out`, mode 0600, whole or not at all. Changes nothing else.

    `NotFound` when there is no state; `Conflict` when `out` exists; `Unavailable` when it cannot be written.
    """
    if not (state_dir / DATABASES[0]).is_file() or not (state_dir / "keys" / PUBLIC_KEY).is_file():
        raise NotFound(
            "nothing-to-back-up", f"there is no database with its keys in {state_dir}", hint="homeostat doctor"
        )
    keys = load_or_create_keys(state_dir)
    try:
        # What cannot be cleared away again does not make an archive that is written one that is not.
        with tempfile.TemporaryDirectory(
            prefix=".homeostat-backup-", dir=out.parent, ignore_cleanup_errors=True
        ) as scratch:
            files = _collect(repository, state_dir, Path(scratch), with_keys=with_keys, tell=tell)
            head = _write_head(Path(scratch), files)
            tell(f"{len(files)} files, {sum(file.stat().st_size for file in files.values()) >> 10} KB: digests")
            members = [describe(path, file) for path, file in sorted(files.items())]
            manifest = Manifest(
                made_at=utc_text(at),
                ledger_size=head.size,
                ledger_hash=head.entry_hash,
                with_keys=with_keys,
                files=members,
            )
            tell(f"writing {out}")
            write(out, manifest, keys.signer.sign(statement(manifest.encode())), files)
    except OSError as error:
        raise Unavailable(
            "backup-not-written",
            f"{error.filename or out} could not be read or written: {error.strerror or error}",
            hint="nothing was changed; make room there, or choose another place with --out",
        ) from error
    return Saved(path=out, manifest=manifest, bytes=out.stat().st_size)


def _collect(
    repository: GitRepository, state_dir: Path, scratch: Path, *, with_keys: bool, tell: Callable[[str], None]
) -> dict[str, Path]:
    files: dict[str, Path] = {}
    tell("the records in Git")
    if bundle_records(repository, scratch / BUNDLE):
        files[BUNDLE] = scratch / BUNDLE
    for name in DATABASES:
        if (state_dir / name).exists():
            tell(name)
            copy_database(state_dir / name, scratch / name)
            files[STATE + name] = scratch / name
    settings = repository.root / FILE_NAME
    if settings.is_file():
        (scratch / SETTINGS).write_bytes(settings.read_bytes())  # somebody may be editing it
        files[SETTINGS] = scratch / SETTINGS
    for file in sorted((state_dir / "keys").iterdir()):
        if not file.name.startswith(".") and (with_keys or file.name == PUBLIC_KEY):
            files[f"{STATE}keys/{file.name}"] = file
    files |= {f"{STATE}{FOLDER}/{path.name}": path for path in added_files(state_dir / FOLDER)}
    tell("the snapshots of applied changes")
    root = state_dir / "backups"
    for file in sorted(root.rglob("*")) if root.is_dir() else ():
        inner = file.relative_to(root)
        if file.is_file() and not any(part.startswith(".") for part in inner.parts):
            files[f"{STATE}backups/{inner.as_posix()}"] = file
    return files


def copy_database(source: Path, target: Path) -> None:
    """Copy a database as it stands at one moment, while others may write to it."""
    with (
        translated(),
        closing(sqlite3.connect(_read_only(source), uri=True, timeout=30)) as reading,
        closing(sqlite3.connect(target)) as writing,
    ):
        reading.backup(writing)
        # One file: the log of the original is in it already.
        writing.execute("PRAGMA journal_mode=DELETE")


def _read_only(database: Path) -> str:
    return f"file:{quote(str(database.absolute()))}?mode=ro"


def _write_head(scratch: Path, files: dict[str, Path]) -> LedgerHead:
    with translated(), closing(sqlite3.connect(_read_only(scratch / DATABASES[0]), uri=True)) as connection:
        row = connection.execute("SELECT seq, entry_hash, signature FROM ledger ORDER BY seq DESC LIMIT 1").fetchone()
    head = EMPTY_HEAD if row is None else LedgerHead(size=row[0], entry_hash=row[1], signature=row[2])
    if head.size:
        (scratch / HEAD_FILE).write_bytes(encode_head(head))
        files[STATE + HEAD_FILE] = scratch / HEAD_FILE
    return head
