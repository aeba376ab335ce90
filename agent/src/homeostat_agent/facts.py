"""What an agent says about its process: program name, commit, start. Never an argument of a command line.

Everything is read with a few file reads, no process is started: this runs while the host starts.
"""

from __future__ import annotations

import os
import sys
import time

_MAX_NAME_CHARS = 80
_OPTIONS_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")
_MAX_REF_BYTES = 1 << 20


def original_arguments() -> list[str]:
    """Return the interpreter's own command line (`sys.orig_argv`, which Python 3.9 does not have)."""
    known = getattr(sys, "orig_argv", None)
    if known is not None:
        return list(known)
    try:
        with open("/proc/self/cmdline", "rb") as file:
            return [os.fsdecode(part) for part in file.read().split(b"\0")[:-1]]
    except OSError:
        return []


def program_name(arguments: list[str]) -> str:
    """Return what a person calls this program: its script or module, without folder and arguments."""
    rest = list(arguments[1:])
    while rest:
        word = rest.pop(0)
        if word in _OPTIONS_WITH_VALUE:
            rest = rest[1:]
        elif word.startswith("--") or word == "-":
            continue
        elif word.startswith("-"):
            # Short options may stand together (`-um uvicorn`); `c` and `m` take the rest.
            for index, letter in enumerate(word[1:], start=1):
                if letter == "c":
                    return "multiprocessing" if any("multiprocessing" in word for word in arguments) else "python -c"
                if letter == "m":
                    name = word[index + 1 :] or (rest[0] if rest else "")
                    return name[:_MAX_NAME_CHARS]
                if letter in "WX":
                    if not word[index + 1 :]:
                        rest = rest[1:]
                    break
        else:
            return os.path.basename(word)[:_MAX_NAME_CHARS]
    return "python"


def read_commit(repository: str) -> str | None:
    """Return the commit that is checked out, or None where that cannot be read simply (no Git, reftable)."""
    try:
        folder = _git_folder(repository)
        head = _read(os.path.join(folder, "HEAD"))
        if not head.startswith("ref: "):
            return _commit(head)
        name = head[len("ref: ") :]
        common = folder
        if os.path.exists(os.path.join(folder, "commondir")):
            common = os.path.join(folder, _read(os.path.join(folder, "commondir")))
        loose = os.path.join(common, name)
        if os.path.exists(loose):
            return _commit(_read(loose))
        for line in _read(os.path.join(common, "packed-refs")).splitlines():
            if line.endswith(" " + name):
                return _commit(line.split(" ", 1)[0])
    except (OSError, ValueError):
        return None
    return None


def _git_folder(repository: str) -> str:
    folder = os.path.join(repository, ".git")
    if os.path.isdir(folder):
        return folder
    pointer = _read(folder)
    if not pointer.startswith("gitdir: "):
        raise ValueError("not a Git folder")
    return os.path.join(repository, pointer[len("gitdir: ") :])


def _read(path: str) -> str:
    with open(path, "rb") as file:
        return file.read(_MAX_REF_BYTES).decode("utf-8").strip()


def _commit(text: str) -> str | None:
    plain = len(text) in (40, 64) and all(letter in "0123456789abcdef" for letter in text)
    return text if plain else None


def process_age_s() -> float:
    """Return for how long the operating system has had this process; 0 where it does not say.

    A process keeps its age over `exec`, so a program that was just booted counts by itself.
    """
    try:
        with open("/proc/self/stat", "rb") as file:
            after_name = file.read().rpartition(b")")[2].split()
        ticks = int(after_name[19])  # field 22, `starttime`; the two before the name's end are cut off
        since_boot_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
    return max(since_boot_s, 0.0)
