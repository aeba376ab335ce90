"""One agent's connection, from the hub's side: handshake, questions and answers, what it tells by itself."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from homeostat_agent.protocol import MAX_FRAME_BYTES, NONCE_BYTES, HubHandshake, ProtocolError, Seals
from homeostat_agent.stream import FramedSocket

from homeostat.core.errors import InvalidInput
from homeostat.core.ids import ProcessId, parse_commit_id
from homeostat.model.process import HostProcess

HANDSHAKE_S = 5.0
SILENCE_S = 30.0
"""An agent says something every second; one that was silent for so long is stopped or stuck."""

MAX_CHANGES = 1_000
_MAX_TEXT = 200
_BYTES_A_VALUE = 60

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """No answer came. `sent` tells whether the question may have been carried out."""

    reason: str
    sent: bool


class _Question:
    """One command under way; settled once, by the answer or by the end of the connection."""

    def __init__(self) -> None:
        self.settled = threading.Event()
        self.answer: Answer | None = None


class Session:
    """A connection on which both ends proved the key.

    `ask` may be called from any thread; `read` runs in the one thread that owns the connection, and
    that thread closes it.
    """

    def __init__(self, stream: FramedSocket, seals: Seals, *, process: HostProcess, launch_id: str) -> None:
        self.process_id = process.id
        self.process = process
        self.launch_id = launch_id
        self.asking = threading.Lock()
        """Held from reading the generation to the answer: commands to one process go one by one."""
        self._stream = stream
        self._seals = seals
        self._writing = threading.Lock()
        self._questions: dict[str, _Question] = {}
        self._owed: set[str] = set()
        """Commands that were sent and not answered yet, in time or late."""
        self._open = True

    def ask(self, command_id: str, payload: Mapping[str, Any], *, deadline_s: float) -> Answer | Unanswered:
        """Send a command and wait for its answer until the deadline (of `time.monotonic`).

        `ProtocolError` (``too-large``, ``not-json``) when it cannot be said at all.
        """
        question = _Question()
        with self._writing:
            if not self._open:
                return Unanswered(reason="the connection was lost", sent=False)
            frame = self._seals.outward.seal("command", payload)
            self._questions[command_id] = question
            self._owed.add(command_id)
            try:
                self._stream.send(frame, deadline_s=lambda: deadline_s)
            except ProtocolError as error:
                # Half a frame may be out: the stream is of no use any more, and the reader shall see it.
                self._questions.pop(command_id, None)
                self._stream.shut()
                return Unanswered(reason=f"the command could not be sent ({error.reason})", sent=False)
        try:
            question.settled.wait(max(deadline_s - time.monotonic(), 0.0))
        finally:
            self._questions.pop(command_id, None)
        if question.answer is not None:
            return question.answer
        lost = not self._open
        return Unanswered(reason="the connection was lost" if lost else "no answer in time", sent=True)

    def read(self) -> tuple[str, dict[str, Any], int]:
        """Return the next frame: type, payload, and the bytes of memory it takes at most, about.

        `ProtocolError` names why there is none.
        """
        deadline_s = time.monotonic() + SILENCE_S
        body = self._stream.receive_by(lambda: deadline_s)
        kind, payload = self._seals.inward.open(body)
        # A list in two bytes of JSON is fifty in memory: each value begins with, or comes after, one of these.
        return kind, payload, len(body) + _BYTES_A_VALUE * sum(map(body.count, (b",", b"[", b"{", b":")))

    def expect(self, answer: Answer) -> None:
        """Take note that a command was answered; `ProtocolError` (``unasked``) where none waits for it any longer."""
        command_id = answer.get("command_id")
        if not isinstance(command_id, str) or command_id not in self._owed:
            raise ProtocolError("unasked", "an answer to no command, or a second one")
        self._owed.remove(command_id)

    def settle(self, answer: Answer) -> None:
        """Give an answer to whoever waits for it; one that comes too late finds nobody."""
        question = self._questions.get(answer["command_id"])
        if question is not None:
            question.answer = answer
            question.settled.set()

    def shut(self) -> None:
        """End the connection from any thread: the reader finds it closed and cleans up."""
        self._stream.shut()

    def close(self) -> None:
        """For the reading thread, at its end: nobody waits any longer, and the descriptor is given back."""
        self._open = False
        self._stream.shut()
        for question in tuple(self._questions.values()):
            question.settled.set()
        with self._writing:
            self._stream.close()


def shake_hands(stream: FramedSocket, *, master_key: bytes, hub_monotonic_s: Callable[[], float]) -> Session:
    """Go through the handshake on a fresh connection; `ProtocolError` when the other end is no agent of ours."""
    deadline_s = time.monotonic() + HANDSHAKE_S
    handshake = HubHandshake(master_key=master_key, nonce=os.urandom(NONCE_BYTES))
    stream.send(handshake.challenge(stream.receive_by(lambda: deadline_s)), deadline_s=lambda: deadline_s)
    seals = handshake.finish(stream.receive_by(lambda: deadline_s))
    process = read_facts(handshake.process_id, handshake.facts)
    stream.reader.limit = MAX_FRAME_BYTES
    welcome = seals.outward.seal("welcome", {"now_ms": int(hub_monotonic_s() * 1000)})
    stream.send(welcome, deadline_s=lambda: deadline_s)
    return Session(stream, seals, process=process, launch_id=handshake.launch_id)


def read_facts(process_id: str, facts: Mapping[str, Any]) -> HostProcess:
    """Read what an agent says of its process; `ProtocolError` (``malformed``) when a field is not usable."""
    generation, changes = read_standing(facts)
    try:
        started_at = datetime.fromtimestamp(_whole(facts, "started_ms") / 1000, tz=UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise ProtocolError("malformed", "started_ms is no time") from error
    commit = facts.get("commit")
    try:
        parsed = parse_commit_id(commit) if isinstance(commit, str) else None
    except InvalidInput:
        parsed = None
    return HostProcess(
        id=ProcessId(process_id),
        pid=_whole(facts, "pid"),
        started_at=started_at,
        python=_text(facts, "python"),
        command=_text(facts, "command"),
        commit=parsed,
        hmr_enabled=facts.get("hmr_enabled") is True,
        generation=generation,
        changes=changes,
        connected=True,
    )


def read_standing(facts: Mapping[str, Any]) -> tuple[int, tuple[str, ...]]:
    """Read generation and changes in force, as they stand in facts and in every answer."""
    changes = facts.get("changes")
    if not isinstance(changes, list) or len(changes) > MAX_CHANGES:
        raise ProtocolError("malformed", "changes is not a list of ids")
    # Printable: what is half a character to a program cannot be stored, nor sent to anybody who asks for it.
    if not all(isinstance(item, str) and len(item) <= _MAX_TEXT and item.isprintable() for item in changes):
        raise ProtocolError("malformed", "changes is not a list of ids")
    return _whole(facts, "generation"), tuple(changes)


def _whole(facts: Mapping[str, Any], name: str) -> int:
    value = facts.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise ProtocolError("malformed", f"{name} is no whole number")
    return value


def _text(facts: Mapping[str, Any], name: str) -> str:
    value = facts.get(name)
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise ProtocolError("malformed", f"{name} is no short text")
    return printable(value)


def printable(text: str) -> str:
    """Return a text of an agent as it can be stored and shown anywhere."""
    return text if text.isprintable() else "".join(map(_printable_letter, text))


def _printable_letter(letter: str) -> str:
    return letter if letter.isprintable() else " " if letter.isspace() else "?"
