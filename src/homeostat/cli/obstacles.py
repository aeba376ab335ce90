"""What keeps the agent out of a program: told before it starts, and of programs that run without it.

`homeostat run` gives the agent by the environment (docs/reference/hosts.md). A command line can say
beforehand that this will not arrive; a process that carries the launch and is not attached shows
that it did not.
"""

import os
import re
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from homeostat_agent.boot import LAUNCH_VARIABLE

FROM_INSIDE = "or let the program attach itself: import homeostat_agent; homeostat_agent.attach()"
SETTLED_S = 3.0
"""A process younger than this may still be about to attach, or to become something else."""

_PYTHON = re.compile(r"(?:python|pypy)[0-9.]*t?")
_WITH_VALUE = frozenset("WXcm")
_OTHER_USER = frozenset({"sudo", "su", "runuser", "doas", "setpriv", "chroot"})
_ELSEWHERE = frozenset({"docker", "podman", "kubectl", "ssh", "systemctl", "systemd-run", "flatpak"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwatched:
    """A Python process that was started with the agent and runs without it."""

    pid: int
    command: str
    why: str


def obstacles(command: Sequence[str]) -> list[str]:
    """Say what in a command line will keep the agent out, each with what to do about it. Empty: nothing is seen."""
    if not command:
        return []
    name = Path(command[0]).name
    if name in _OTHER_USER:
        return [
            f"{name} runs the program as another user or with another environment: the agent will not get in; "
            f"put `homeostat run` after {name}, as the user that the hub runs as"
        ]
    if name in _ELSEWHERE:
        return [
            f"{name} starts the program elsewhere, without this environment: run `homeostat run` there, {FROM_INSIDE}"
        ]
    if name == "env" and any(word in ("-i", "-", "--ignore-environment") for word in command[1:]):
        return ["env -i takes the agent out of the environment: put `homeostat run --` after it"]
    flags = _isolating_flags(command) if _PYTHON.fullmatch(name) else _isolating_flags(_shebang(command[0]))
    if flags:
        return [f"Python is started with -{flags}, so it ignores PYTHONPATH and the agent: leave it out, {FROM_INSIDE}"]
    if name == "uwsgi" and not any("enable-threads" in word or word in ("-T", "--threads") for word in command[1:]):
        return ["uwsgi runs no thread but its own: give it --enable-threads and --lazy-apps, or the agent says nothing"]
    return []


def _isolating_flags(command: Sequence[str]) -> str:
    """Return those of an interpreter's options that make it ignore its environment or `sitecustomize`."""
    words = list(command[1:])
    while words:
        word = words.pop(0)
        if not word.startswith("-") or word in ("-", "--"):
            return ""
        if word.startswith("--"):
            words = words[1:] if word == "--check-hash-based-pycs" else words
            continue
        for index, letter in enumerate(word[1:], start=1):
            if letter in "IES":
                return letter
            if letter in _WITH_VALUE:
                if letter in "cm":
                    return ""
                words = words if word[index + 1 :] else words[1:]
                break
    return ""


def _shebang(program: str) -> list[str]:
    """Return the interpreter's command line of a script in Python; empty for anything else."""
    path = shutil.which(program)
    try:
        with open(path or program, "rb") as file:  # noqa: PTH123
            first = file.read(512).partition(b"\n")[0].decode("utf-8", "replace")
    except OSError:
        return []
    words = first[2:].split() if first.startswith("#!") else []
    if words and Path(words[0]).name == "env":
        words = [word for word in words[1:] if word != "-S"]
    return words if words and _PYTHON.fullmatch(Path(words[0]).name) else []


def unwatched(state_dir: Path, attached: Collection[int]) -> Iterator[Unwatched]:
    """Yield Python processes that carry a launch of this state directory and are not among the attached."""
    mark = f"{LAUNCH_VARIABLE}={state_dir.absolute()}/run/launch-"
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) in attached:
            continue
        try:
            environment = dict(entry.partition("=")[::2] for entry in _words(folder / "environ"))
            if not f"{LAUNCH_VARIABLE}={environment.get(LAUNCH_VARIABLE, '')}".startswith(mark):
                continue
            command = _words(folder / "cmdline")
            if _age_s(folder) < SETTLED_S or not command or not _is_python(folder):
                continue
        except (OSError, ValueError):
            continue  # it ended, or belongs to somebody else
        yield Unwatched(pid=int(folder.name), command=Path(command[0]).name, why=_why(folder, command, environment))


def _words(path: Path) -> list[str]:
    return [os.fsdecode(part) for part in path.read_bytes().split(b"\0")[:-1]]


def _age_s(folder: Path) -> float:
    ticks = int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def _is_python(folder: Path) -> bool:
    # A shell that waits for the program carries the launch, too, and is not meant.
    name = (folder / "exe").readlink().name
    return _PYTHON.fullmatch(name) is not None or "libpython" in (folder / "maps").read_text(errors="replace")


def _why(folder: Path, command: Sequence[str], environment: dict[str, str]) -> str:
    known = obstacles(command)
    if known:
        return known[0]
    if folder.stat().st_uid != os.getuid():
        return "it runs as another user, who may not reach the hub: run both as one user"
    place = Path(environment[LAUNCH_VARIABLE]).parent / "bootstrap"
    entries = [Path(entry) for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    ours = next((index for index, entry in enumerate(entries) if entry.is_relative_to(place)), None)
    if ours is None:
        return "PYTHONPATH was set anew on the way: let it begin with what `homeostat run` put there ($PYTHONPATH)"
    hiding = next((entry for entry in entries[:ours] if (entry / "sitecustomize.py").is_file()), None)
    if hiding is not None:
        return f"the sitecustomize in {hiding} comes before the agent's: put that folder after $PYTHONPATH"
    return f"a line on its stderr that begins with homeostat-agent says why; {FROM_INSIDE}"
