"""What git's messages mean for the caller: the translation of its failures into our error families.

git runs with ``LC_ALL=C``, so its words are stable; they are matched loosely all the same. What is
not recognised becomes `Unavailable` (``git-failed``): a git command that failed did nothing.
"""

import errno
import re
import signal
from collections.abc import Callable
from pathlib import Path

from homeostat.core.errors import (
    Conflict,
    HomeostatError,
    IntegrityFailure,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    Unavailable,
)

_MAX_QUOTED = 300


def lock_held(path: str) -> Unavailable:
    """Say that another program holds one of git's lock files."""
    return Unavailable(
        "git-lock-held",
        f"another git is at work: `{path}` exists",
        hint=f"wait for it to finish; if no git is running, remove `{path}`",
        facts={"lock": path},
    )


def disk_failure(error: OSError, what: str) -> Unavailable:
    """Say why a write of our own failed. `what` completes "could not ..."."""
    message = f"could not {what}: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Unavailable("disk-full", message, hint="free some disk space and try again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Unavailable("not-writable", message, hint="give the hub's user the right to write there")
    return Unavailable("disk-failed", message)


def missing_git(executable: str, root: Path) -> HomeostatError:
    if not root.is_dir():
        return InvalidInput("not-a-repository", f"`{root}` is not a folder")
    return Unavailable("git-missing", f"`{executable}` was not found", hint="install git and put it on PATH")


def timed_out(command: str, *, timeout_s: float, writes: bool) -> HomeostatError:
    message = f"`git {command}` took more than {timeout_s:g} s and was ended"
    if writes:
        return OutcomeUnknown("git-timeout", message, hint="look whether it was done, then try again")
    return Unavailable("git-timeout", message)


def translate(stderr: str, *, code: int, command: str) -> HomeostatError:
    """Return the error that says what the caller may do about this failure of git."""
    said = " ".join(stderr.split())[:_MAX_QUOTED]
    if code == -signal.SIGXFSZ:
        said = "File too large"
    lock = _LOCK.search(stderr)
    if lock:
        return lock_held(lock.group(1))
    for pattern, make in _RULES:
        if pattern.search(stderr or said):
            return make(said)
    detail = said or (f"ended by signal {-code}" if code < 0 else f"exit code {code}")
    return Unavailable("git-failed", f"`git {command}` failed: {detail}", facts={"exit_code": code})


def _full(said: str) -> HomeostatError:
    return Unavailable("disk-full", said, hint="free some disk space and try again")


def _forbidden(said: str) -> HomeostatError:
    return Unavailable("not-writable", said, hint="give the hub's user the right to write to the repository")


def _not_trusted(said: str) -> HomeostatError:
    hint = "run the hub as the repository's owner, or add it to git's safe.directory"
    return InvalidInput("repository-not-trusted", said, hint=hint)


def _no_repository(said: str) -> HomeostatError:
    return InvalidInput("not-a-repository", said, hint="run `git init` there first")


def _bare(said: str) -> HomeostatError:
    return InvalidInput("bare-repository", said, hint="name a repository that has a checkout")


def _moved(said: str) -> HomeostatError:
    return Conflict("ref-moved", said, hint="read the branch again and decide again")


def _name_taken(said: str) -> HomeostatError:
    return Conflict("branch-name-taken", said, hint="a branch of that name is in the way; rename it")


def _in_the_way(said: str) -> HomeostatError:
    return Conflict("path-in-the-way", said, hint="a file, link or folder of the tree is in the way")


def _bad_path(said: str) -> HomeostatError:
    return InvalidInput("bad-path", said, hint="git refuses names that some file system takes for `.git`")


def _corrupt(said: str) -> HomeostatError:
    return IntegrityFailure("repository-corrupt", said, hint="run `git fsck`, and restore from another clone")


def _unknown(said: str) -> HomeostatError:
    hint = "in a shallow or partial clone, fetch it first: `git fetch --unshallow`"
    return NotFound("unknown-object", said, hint=hint)


_LOCK = re.compile(r"unable to create '([^']*\.lock)': File exists", re.IGNORECASE)

_RULES: tuple[tuple["re.Pattern[str]", Callable[[str], HomeostatError]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), make)
    for pattern, make in (
        (r"No space left on device|File too large|Disk quota exceeded", _full),
        (r"Read-only file system|Permission denied|insufficient permission", _forbidden),
        (r"detected dubious ownership", _not_trusted),
        (r"not a git repository", _no_repository),
        (r"must be run in a work tree", _bare),
        (r"reference broken", _corrupt),
        (
            r"cannot lock ref.*(is at [0-9a-f]+ but expected|reference already exists"
            r"|unable to resolve reference|reference is missing)",
            _moved,
        ),
        (r"exists; cannot create|Is a directory|non-empty directory", _name_taken),
        (r"appears as both a file and as a directory|cannot add to the index", _in_the_way),
        (r"invalid path", _bad_path),
        (
            r"is corrupt|index file smaller than expected|bad signature|bad index file|object file .* is empty"
            r"|inflate: data stream error|hash mismatch",
            _corrupt,
        ),
        (
            r"not a valid object name|bad object|not a tree object|Not a valid commit|unable to read tree"
            r"|nonexistent object|missing blob|could not get object info|bad revision|unknown revision"
            r"|could not parse|unable to read|cannot read object|transport '[^']*' not allowed",
            _unknown,
        ),
    )
)
