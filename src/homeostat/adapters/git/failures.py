"""What git's messages mean for the caller: the translation of its failures into our error families.

git runs with ``LC_ALL=C``, so its words are stable; they are matched loosely all the same. What is
not recognised becomes `Unavailable` (``git-failed``): a git command that failed did nothing.
"""

import errno
import re
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
    for pattern, make in _RULES:
        found = pattern.search(stderr)
        if found:
            return make(found, said)
    detail = said or f"exit code {code}"
    return Unavailable("git-failed", f"`git {command}` failed: {detail}", facts={"exit_code": code})


def _lock(found: "re.Match[str]", said: str) -> HomeostatError:
    return lock_held(found.group(1))


def _rule(error: type[HomeostatError], code: str, hint: str | None = None) -> "_Make":
    def make(found: "re.Match[str]", said: str) -> HomeostatError:
        return error(code, said, hint=hint)

    return make


_Make = Callable[["re.Match[str]", str], HomeostatError]

_RULES: tuple[tuple["re.Pattern[str]", _Make], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), make)
    for pattern, make in (
        (r"unable to create '([^']*\.lock)': File exists", _lock),
        (
            r"No space left on device|File too large|Disk quota exceeded",
            _rule(Unavailable, "disk-full", "free some disk space and try again"),
        ),
        (
            r"Read-only file system|Permission denied|insufficient permission",
            _rule(Unavailable, "not-writable", "give the hub's user the right to write to the repository"),
        ),
        (
            r"detected dubious ownership",
            _rule(
                InvalidInput,
                "repository-not-trusted",
                "run the hub as the repository's owner, or add it to git's safe.directory",
            ),
        ),
        (r"not a git repository", _rule(InvalidInput, "not-a-repository", "run `git init` there first")),
        (
            r"must be run in a work tree",
            _rule(InvalidInput, "bare-repository", "name a repository that has a checkout"),
        ),
        (
            r"cannot lock ref.*(is at [0-9a-f]+ but expected|reference already exists"
            r"|unable to resolve reference|reference is missing)",
            _rule(Conflict, "ref-moved", "read the branch again and decide again"),
        ),
        (
            r"(exists; cannot create|Is a directory|non-empty directory)",
            _rule(Conflict, "branch-name-taken", "a branch of that name is in the way; rename it"),
        ),
        (
            r"appears as both a file and as a directory|invalid path",
            _rule(Conflict, "path-in-the-way", "a file, link or folder of the tree is in the way"),
        ),
        (
            r"is corrupt|index file smaller than expected|bad signature|bad index file|object file .* is empty"
            r"|inflate: data stream error|hash mismatch",
            _rule(IntegrityFailure, "repository-corrupt", "run `git fsck`, and restore from another clone"),
        ),
        (
            r"not a valid object name|bad object|not a tree object|Not a valid commit|unable to read tree"
            r"|nonexistent object|missing blob|could not get object info|bad revision|unknown revision"
            r"|could not parse|unable to read|transport '[^']*' not allowed",
            _rule(
                NotFound,
                "unknown-object",
                "in a shallow or partial clone, fetch it first: `git fetch --unshallow`",
            ),
        ),
    )
)
