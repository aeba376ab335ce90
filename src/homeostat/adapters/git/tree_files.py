"""The files of a checkout, one path at a time, without ever leaving the tree.

Every folder on the way is opened relative to the one above it and links are not followed, so that a
symlink put in the way cannot lead a read or a write elsewhere. A file is replaced in three moves:
`stage` (a temporary file beside it, written and synced), `place` (one rename), and nothing else.
"""

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from homeostat.adapters.git.failures import disk_failure
from homeostat.adapters.git.paths import encode_path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFile:
    """A regular file as it was found, with what tells whether it was touched since."""

    content: bytes
    executable: bool
    permissions: int
    uid: int
    gid: int
    mtime_ns: int
    signature: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Something that is not a regular file, at the path or on the way to it."""

    what: str
    too_large: bool = False
    """A regular file it is, but larger than what was asked for."""


OnDisk: TypeAlias = DiskFile | Obstacle | None
"""What stands at a path; None: nothing."""


class TreeFiles:
    """The work tree under `root`. Open while used: it holds one descriptor."""

    def __init__(self, root: Path) -> None:
        self._root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._root_fd)

    def hold_alone(self) -> bool:
        """Keep other processes from doing the same until this is closed; False where one does already."""
        try:
            fcntl.flock(self._root_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def look(self, path: str, *, most_bytes: int | None = None) -> OnDisk:
        """Read what stands at `path`. Only regular files are opened, and none with more bytes than that."""
        try:
            with self._folder(path) as (folder, name):
                return _read(folder, name, most_bytes)
        except FileNotFoundError:
            return None
        except _NotAFolder as error:
            return Obstacle(what=error.what)

    def is_still(self, path: str, seen: OnDisk) -> bool:
        """Tell, without reading it, whether a path is as it was when it was seen."""
        try:
            with self._folder(path) as (folder, name):
                now = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, _NotAFolder):
            return seen is None
        return isinstance(seen, DiskFile) and _signature(now) == seen.signature

    def entries(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield name and mode of everything in a folder of the tree, empty for its root; nothing where there is none.

        Links are not followed. A name that is not UTF-8 has lone surrogates.
        """
        try:
            with self._open_folders(encode_path(folder.rstrip("/")).split(b"/") if folder else []) as opened:
                for entry in os.scandir(opened):
                    yield entry.name, entry.stat(follow_symlinks=False).st_mode
        except (FileNotFoundError, _NotAFolder):
            return

    def stage(self, path: str, content: bytes, *, executable: bool, like: OnDisk, mtime_ns: int | None = None) -> None:
        """Write the temporary file for `path`, synced, with its folders; `like` is the file it replaces.

        Permissions and owner of the replaced file are kept, except for the executable bits. Its
        modification time is in a later second than that of the replaced file: Python's byte-code
        cache tells sources apart by whole seconds and size, and would else run the old code. Or it is `mtime_ns`,
        for contents that are put back.
        """
        with self._folder(path, make=True) as (folder, _):
            temporary = temporary_name(path)
            _remove(folder, temporary)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(temporary, flags, 0o777 if executable else 0o666, dir_fd=folder)
            with os.fdopen(fd, "wb") as file:
                if isinstance(like, DiskFile):
                    _take_after(fd, like, executable=executable)
                elif os.geteuid() == 0:
                    _give_to_owner_of(folder, fd)
                file.write(content)
                file.flush()
                if isinstance(like, DiskFile):
                    now = os.fstat(fd).st_mtime_ns
                    later = (like.mtime_ns // _SECOND_NS + 1) * _SECOND_NS
                    os.utime(fd, ns=(now, max(now, later) if mtime_ns is None else mtime_ns))
                os.fsync(fd)

    def place(self, path: str) -> None:
        """Put the staged file in the place of `path`, in one step."""
        with self._folder(path) as (folder, name):
            os.rename(temporary_name(path), name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)

    def remove(self, path: str) -> None:
        """Remove the file if it is there, then every folder above it that is empty."""
        with suppress(FileNotFoundError), self._folder(path) as (folder, name):
            _remove(folder, name)
            os.fsync(folder)
        self._prune(path)

    def unstage(self, path: str) -> None:
        """Remove a temporary file, also one that a process of ours left when it died."""
        with suppress(FileNotFoundError, _NotAFolder), self._folder(path) as (folder, _):
            _remove(folder, temporary_name(path))

    def remove_empty_folders(self, path: str) -> None:
        """Remove the folders above `path` that hold nothing; a folder with anything in it stays."""
        self._prune(path)

    def _prune(self, path: str) -> None:
        parts = encode_path(path).split(b"/")[:-1]
        while parts:
            try:
                with self._open_folders(parts[:-1]) as folder:
                    os.rmdir(parts[-1], dir_fd=folder)
            except FileNotFoundError:
                pass
            except OSError:
                return  # not empty, or not ours to remove
            parts.pop()

    @contextmanager
    def _folder(self, path: str, *, make: bool = False) -> Iterator[tuple[int, bytes]]:
        *parts, name = encode_path(path).split(b"/")
        with self._open_folders(parts, make=make) as folder:
            yield folder, name

    @contextmanager
    def _open_folders(self, parts: Sequence[bytes], *, make: bool = False) -> Iterator[int]:
        current = os.dup(self._root_fd)
        try:
            for depth, part in enumerate(parts, start=1):
                below = _step(current, part, where=b"/".join(parts[:depth]), make=make)
                os.close(current)
                current = below
            yield current
        finally:
            os.close(current)


@contextmanager
def open_files(root: Path) -> Iterator[TreeFiles]:
    """Open the work tree under `root` for as long as the block lasts."""
    with disk_errors(f"open `{root}`"):
        files = TreeFiles(root)
    try:
        yield files
    finally:
        files.close()


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn an operating system's refusal into ours; `what` completes "could not ..."."""
    try:
        yield
    except OSError as error:
        raise disk_failure(error, what) from error


class _NotAFolder(NotADirectoryError):
    """A parent of the path is a link or a file."""

    def __init__(self, what: str) -> None:
        super().__init__(20, what)
        self.what = what


def temporary_name(path: str) -> bytes:
    """Return the name of the temporary file for `path`: fixed, so that one left behind is found again."""
    return b".homeostat-" + hashlib.sha256(encode_path(path)).hexdigest()[:16].encode()


def _step(folder: int, name: bytes, *, where: bytes, make: bool) -> int:
    made = False
    if make:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=folder)
            made = True
    try:
        below = os.open(name, _DIRECTORY, dir_fd=folder)
    except NotADirectoryError as error:
        kind = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        what = "a symlink" if stat.S_ISLNK(kind) else "a file"
        raise _NotAFolder(f"`{where.decode('utf-8', 'replace')}` is {what}") from error
    if made and os.geteuid() == 0:
        _give_to_owner_of(folder, below)
    return below


def _read(folder: int, name: bytes, most_bytes: int | None) -> DiskFile | Obstacle:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode):
        return Obstacle(what=_kind(found.st_mode))
    # O_NONBLOCK: should a pipe have taken the file's place in between, opening must not wait for a writer.
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(fd, "rb") as file:
        opened = os.fstat(fd)
        if not stat.S_ISREG(opened.st_mode):
            return Obstacle(what=_kind(opened.st_mode))
        content = file.read(-1 if most_bytes is None else most_bytes + 1)
        if most_bytes is not None and len(content) > most_bytes:
            return Obstacle(what=f"a file of more than {most_bytes} bytes", too_large=True)
        return DiskFile(
            content=content,
            executable=bool(opened.st_mode & stat.S_IXUSR),
            permissions=stat.S_IMODE(opened.st_mode),
            uid=opened.st_uid,
            gid=opened.st_gid,
            mtime_ns=opened.st_mtime_ns,
            signature=_signature(opened),
        )


def _signature(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a symlink" if stat.S_ISLNK(mode) else "a special file"


def _take_after(fd: int, like: DiskFile, *, executable: bool) -> None:
    readable = (like.permissions & 0o444) >> 2
    bits = like.permissions & 0o666
    os.fchmod(fd, bits | readable if executable else bits)
    if os.geteuid() == 0 and (like.uid, like.gid) != (0, 0):
        os.fchown(fd, like.uid, like.gid)


def _give_to_owner_of(folder: int, fd: int) -> None:
    # A hub that runs as root in somebody's repository must not leave files there that they cannot edit.
    owner = os.fstat(folder)
    os.fchown(fd, owner.st_uid, owner.st_gid)


def _remove(folder: int, name: bytes) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
