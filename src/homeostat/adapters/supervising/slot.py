"""Where a supervised program is written down, so that it is found again when its supervisor was killed.

A slot is a file ``run/program-<slot>.json``, and a door that only one supervisor at a time can hold. Who
holds the door is the supervisor, whatever the file says; a file without a holder tells of a program
that goes on alone. The slot's name comes from the command and its folder: who starts the same program
again finds it.
"""

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeostat.adapters.agents.socket_place import Door, choose_socket_path
from homeostat.adapters.process_start import process_started
from homeostat.core.errors import Conflict, Unavailable

_PREFIX = "program-"
_MAX_SLOTS = 32
_MAX_BYTES = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """One process of a supervised program: found again by pid and start time, which together are unique."""

    pid: int
    started: str
    launch_file: str
    launch_id: str

    def is_alive(self) -> bool:
        return process_started(self.pid) == self.started


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is written down of a supervised program."""

    kind: str
    """``up`` or ``run``: who supervised it."""

    command: str
    """Program name only."""

    program: Remembered | None
    other: Remembered | None = None
    """A second process of it in the middle of a restart: the one that is on trial, or on its way out."""


class Slot:
    """A slot that is held. Letting go of it does not forget what it remembers."""

    def __init__(self, state_dir: Path, name: str) -> None:
        """Take a slot; `Conflict` (``gateway-running``) when another supervisor holds it."""
        self.name = name
        self._file = _file(state_dir, name)
        self.door = Door(door_path(state_dir, name), kind=socket.SOCK_SEQPACKET)

    def remembered(self) -> Record | None:
        """Return what the last holder wrote down; None when there is nothing, or nothing usable."""
        return _read(self._file)

    def remember(self, record: Record) -> None:
        """Write down what runs now, before or right after it does."""
        part = self._file.with_suffix(".part")
        body = {
            "kind": record.kind,
            "command": record.command,
            "program": _process(record.program),
            "other": _process(record.other),
        }
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(body, file)
            part.replace(self._file)
        except OSError as error:
            raise Unavailable(
                "program-not-noted", f"{self._file} cannot be written: {error.strerror or error}"
            ) from error

    def forget(self) -> None:
        """Remove what is written down: nothing runs any more."""
        self._file.unlink(missing_ok=True)

    def close(self) -> None:
        self.door.close()


def shown_name(command: Sequence[str]) -> str:
    """Return how a program is called to people: without its arguments, which may hold anything.

    What an interpreter runs is named with it: ``python -m shop``, ``python worker.py``.
    """
    name = Path(command[0]).name
    if name.startswith("python") and len(command) > 1:
        if command[1] == "-m" and len(command) > 2:
            return f"{name} -m {command[2]}"
        if command[1].endswith(".py"):
            return f"{name} {Path(command[1]).name}"
    return name


def take_slot(state_dir: Path, command: Sequence[str], folder: Path) -> Slot:
    """Take the first slot of this command that no living supervisor holds."""
    whole = json.dumps([list(command), str(folder)]).encode("utf-8", "surrogateescape")
    key = hashlib.sha256(whole).hexdigest()[:12]
    for number in range(1, _MAX_SLOTS + 1):
        try:
            return Slot(state_dir, key if number == 1 else f"{key}-{number}")
        except Conflict:
            continue
    raise Conflict("too-many-programs", f"{_MAX_SLOTS} supervisors run this very command already")


def records(state_dir: Path) -> Iterator[tuple[str, Record]]:
    """Return every slot that remembers a program, by name."""
    for file in sorted((state_dir / "run").glob(f"{_PREFIX}*.json")):
        record = _read(file)
        if record is not None:
            yield file.stem.removeprefix(_PREFIX), record


def door_path(state_dir: Path, name: str) -> Path:
    """Return where the supervisor of a slot listens."""
    return choose_socket_path(state_dir, socket_name=f"sup-{name}.sock")


def orphans(state_dir: Path) -> Iterator[tuple[str, Record]]:
    """Return slots whose program lives, and whose supervisor does not."""
    for name, record in records(state_dir):
        if record.program is None or not record.program.is_alive():
            continue
        try:
            Slot(state_dir, name).close()
        except Conflict:
            continue
        yield name, record


def remember_process(pid: int, *, launch_file: Path, launch_id: str) -> Remembered:
    """Describe a process that was started a moment ago."""
    # It is a child of ours that nobody has waited for, so it has a start time even when it ended already.
    started = process_started(pid) or f"ended-{time.monotonic_ns()}"
    return Remembered(pid=pid, started=started, launch_file=str(launch_file), launch_id=launch_id)


def _file(state_dir: Path, name: str) -> Path:
    return state_dir / "run" / f"{_PREFIX}{name}.json"


def _process(item: Remembered | None) -> dict[str, Any] | None:
    if item is None:
        return None
    return {
        "pid": item.pid,
        "started": item.started,
        "launch_file": item.launch_file,
        "launch_id": item.launch_id,
    }


def _read(file: Path) -> Record | None:
    try:
        with file.open("rb") as stream:
            body = json.loads(stream.read(_MAX_BYTES))
        return Record(
            kind=str(body["kind"]),
            command=str(body["command"]),
            program=_remembered(body["program"]),
            other=_remembered(body["other"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _remembered(body: Any) -> Remembered | None:
    if body is None:
        return None
    return Remembered(
        pid=int(body["pid"]),
        started=str(body["started"]),
        launch_file=str(body["launch_file"]),
        launch_id=str(body["launch_id"]),
    )
