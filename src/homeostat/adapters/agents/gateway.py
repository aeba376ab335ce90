"""The agents' door: accepts, lets in whoever proves a key, asks processes, and hands on what they tell.

Threads: one accepts (and sees to leases and the socket file), one reads each connection, one
delivers telemetry. Whoever calls `prepare`, `swap` or `rollback` waits in its own thread, for at
most the time it named.
"""

import select
import socket
import struct
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from homeostat_agent.commands import Command, digest_of
from homeostat_agent.loaded import MAX_FILES
from homeostat_agent.protocol import KEY_BYTES, ProtocolError
from homeostat_agent.sender import BACKOFF_MAX_S
from homeostat_agent.stream import FramedSocket

from homeostat.adapters.agents.delivery import Delivery, OnTelemetry
from homeostat.adapters.agents.roster import ForeignLaunch, ForeignProcess, Peer, Roster, TooManyNames
from homeostat.adapters.agents.session import (
    SILENCE_S,
    Answer,
    Session,
    Unanswered,
    printable,
    read_standing,
    shake_hands,
)
from homeostat.adapters.agents.socket_place import Door
from homeostat.adapters.process_start import process_started
from homeostat.core.errors import Unavailable
from homeostat.core.ids import ProcessId
from homeostat.model.canary import Share
from homeostat.model.process import HostProcess, LiveOutcome, LiveResult, LoadedFiles, RunningSource
from homeostat.ports.clock import Clock
from homeostat.ports.live import LiveChange

LEASE_S = 15.0
GATHER_S = BACKOFF_MAX_S + 0.5
"""From the opening of the door until every agent that is there has tried it: the longest pause, and a handshake."""

MAX_CONNECTIONS = 256
MAX_STRANGERS = 32
"""Connections that have not proved a key yet; each holds at most a hello, for at most the handshake's time."""

_LOOK_S = 0.25
_CHECK_DOOR_EVERY_S = 5.0
_JOIN_S = 2.0
_TELEMETRY = frozenset({"logs", "metrics"})
_MAX_WORDS = 500
_MAX_FUNCTIONS = 1_000
_MAX_ID = 64
_MAX_SWAP_US = 3_600_000_000
_RUNS = {item.value: item for item in RunningSource}
_AT_ANY_GENERATION = frozenset({"prepare", "canary", "rollback", "settle", "loaded"})
"""Commands that are asked once more when the process has moved on unseen: they change nothing, or nothing for good."""

_OUTCOMES = {item.value: item for item in LiveOutcome if item is not LiveOutcome.UNREACHABLE}


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStats:
    """Counts since the start, for metrics and `homeostat doctor`."""

    connected: int
    ended: Mapping[str, int]
    """Connections that ended, by reason: ``closed``, ``bad-proof``, ``bad-mac``, ``out-of-order``, ..."""

    telemetry_dropped: int
    callback_failures: int
    last_callback_failure: str


class AgentGateway:
    """Implements `homeostat.ports.live.LiveProcesses` over real processes. Thread safe.

    `on_telemetry(kind, body, process)` gets OTLP/JSON bodies, kind ``logs`` or ``metrics``, one at a
    time on one thread; `on_processes_changed()` is called on that thread too.
    """

    def __init__(
        self,
        *,
        socket_path: Path,
        master_key: bytes,
        clock: Clock,
        on_telemetry: OnTelemetry,
        on_processes_changed: Callable[[], None],
        lease_s: float = LEASE_S,
        gather_s: float = GATHER_S,
    ) -> None:
        if len(master_key) != KEY_BYTES:
            raise Unavailable("agent-key-unusable", f"the agents' key has {len(master_key)} bytes, not {KEY_BYTES}")
        self._socket_path = socket_path
        self._master_key = master_key
        self._clock = clock
        self._roster: Roster[Session] = Roster(lease_s=lease_s, monotonic_s=clock.monotonic_s)
        self._delivery = Delivery(on_telemetry=on_telemetry, on_processes_changed=on_processes_changed)
        self._gather_s = gather_s
        self._gathered_at_s = float("inf")
        self._door: Door | None = None
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._readers: dict[threading.Thread, FramedSocket] = {}
        self._strangers = 0
        self._ended: Counter[str] = Counter()
        self._accepting = threading.Thread(target=self._accept, name="agents-accept", daemon=True)

    def start(self) -> None:
        """Open the door. `Conflict` (``gateway-running``) when another gateway holds it."""
        self._door = Door(self._socket_path)
        self._gathered_at_s = time.monotonic() + self._gather_s
        self._delivery.start()
        self._accepting.start()

    def close(self) -> None:
        """Let every connection go, deliver what is queued (2 s at most), and remove the socket. Idempotent."""
        if self._door is None:
            return
        self._closing.set()
        self._accepting.join(_JOIN_S)
        # Shut first, so that whoever is let go does not knock at once at a door that nobody opens.
        self._door.shut()
        with self._lock:
            readers = dict(self._readers)
        for stream in readers.values():
            stream.shut()
        for thread in readers:
            thread.join(_JOIN_S)
        self._delivery.close()
        self._door.close()

    def stats(self) -> GatewayStats:
        with self._lock:
            ended = dict(self._ended)
        return GatewayStats(
            connected=len(self._roster.links()),
            ended=ended,
            telemetry_dropped=self._delivery.dropped,
            callback_failures=self._delivery.failures,
            last_callback_failure=self._delivery.last_failure,
        )

    def launch_ids(self) -> frozenset[str]:
        """Return the launches of the processes that are listed: their launch files are in use."""
        return self._roster.launch_ids()

    # LiveProcesses

    def processes(self) -> Sequence[HostProcess]:
        self._check_open()
        self._expire()
        return self._roster.processes()

    def prepare(self, process_id: ProcessId, change: LiveChange, *, timeout_s: float) -> LiveResult:
        return self._command(process_id, "prepare", _body_of(change), timeout_s=timeout_s)

    def swap(
        self, process_id: ProcessId, change: LiveChange, *, share: Share | None = None, timeout_s: float
    ) -> LiveResult:
        if share is None:
            return self._command(process_id, "swap", _body_of(change), timeout_s=timeout_s)
        terms: dict[str, Any] = {"percent": share.percent, "lease_s": share.lease_s, "key": share.key or None}
        if share.shadowed:
            terms["shadowed"] = list(share.shadowed)
        return self._command(process_id, "canary", {**_body_of(change), **terms}, timeout_s=timeout_s)

    def rollback(self, process_id: ProcessId, change_id: str, *, timeout_s: float) -> LiveResult:
        return self._command(process_id, "rollback", {"change_id": change_id}, timeout_s=timeout_s)

    def wait_until_connected(self, process_ids: Sequence[str], *, timeout_s: float) -> bool:
        settled = self._roster.wait_until_connected(map(ProcessId, process_ids), timeout_s=timeout_s)
        self._check_open()
        return settled

    def wait_until_gathered(self, *, timeout_s: float) -> bool:
        left_s = self._gathered_at_s - time.monotonic()
        if left_s > 0:
            self._closing.wait(min(left_s, timeout_s))
        self._check_open()
        return time.monotonic() >= self._gathered_at_s

    def _check_open(self) -> None:
        # Programs that are not connected because this hub is ending are not programs that are gone:
        # what a flow would conclude from that, and write down, would be wrong.
        if self._closing.is_set():
            raise Unavailable("hub-stopping", "the hub is being stopped; the next one goes on from here")

    # EditedProcesses

    def loaded(self, process_id: ProcessId, *, timeout_s: float) -> LoadedFiles | None:
        answer = self._exchange(process_id, "loaded", {}, timeout_s=timeout_s)
        return None if isinstance(answer, LiveResult) else _loaded(answer)

    def settle(self, process_id: ProcessId, change_id: str, *, timeout_s: float) -> bool:
        answer = self._command(process_id, "settle", {"change_id": change_id}, timeout_s=timeout_s)
        return answer.outcome is LiveOutcome.SWAPPED

    # Commands

    def _command(self, process_id: ProcessId, kind: str, body: dict[str, Any], *, timeout_s: float) -> LiveResult:
        answer = self._exchange(process_id, kind, body, timeout_s=timeout_s)
        return answer if isinstance(answer, LiveResult) else _result(process_id, answer)

    def _exchange(
        self, process_id: ProcessId, kind: str, body: dict[str, Any], *, timeout_s: float
    ) -> Answer | LiveResult:
        """Return what the process answered, or that it did not."""
        self._check_open()
        deadline_s = time.monotonic() + timeout_s
        found = self._roster.find(process_id)
        session = found[1] if found is not None else None
        if session is None:
            return _unreachable(process_id, "it is not connected; nothing was sent")
        if not session.asking.acquire(timeout=max(timeout_s, 0.0)):
            return _unreachable(process_id, "another command to it is still under way; nothing was sent")
        try:
            answer = self._ask(session, kind, body, deadline_s=deadline_s)
            if kind in _AT_ANY_GENERATION and isinstance(answer, Mapping) and answer.get("code") == "wrong-generation":
                # A swap whose answer came too late for its caller, or a canary that gave back when its lease ended.
                answer = self._ask(session, kind, body, deadline_s=deadline_s)
        except ProtocolError as error:
            detail = f"the change cannot be sent to the process ({error.reason})"
            return LiveResult(process_id=process_id, outcome=LiveOutcome.RESTART_REQUIRED, detail=detail)
        finally:
            session.asking.release()
        if isinstance(answer, Unanswered):
            self._check_open()
            return _unreachable(process_id, answer.reason if answer.sent else f"{answer.reason}; nothing was done")
        return answer

    def _ask(self, session: Session, kind: str, body: dict[str, Any], *, deadline_s: float) -> Answer | Unanswered:
        found = self._roster.find(session.process_id)
        if found is None or found[1] is not session:
            return Unanswered(reason="the connection was lost", sent=False)
        left_ms = int((deadline_s - time.monotonic()) * 1000)
        command = Command(
            command_id=uuid.uuid4().hex,
            kind=kind,
            process_id=session.process_id,
            generation=found[0].generation,
            digest=digest_of(body),
            # What the caller has given up must not happen later, in a process that was only stopped.
            expires_ms=int(self._clock.monotonic_s() * 1000) + left_ms,
            body=body,
        )
        return session.ask(command.command_id, command.payload(), deadline_s=deadline_s)

    # Connections

    def _accept(self) -> None:
        door = self._door
        assert door is not None
        next_check_s = time.monotonic() + _CHECK_DOOR_EVERY_S
        while not self._closing.is_set():
            # Not `select`, which knows no descriptor above 1,023.
            poller = select.poll()
            poller.register(door.listener, select.POLLIN)
            if poller.poll(_LOOK_S * 1000):
                self._let_in(door.listener)
            self._expire()
            if time.monotonic() >= next_check_s:
                next_check_s = time.monotonic() + _CHECK_DOOR_EVERY_S
                self._see_to(door)

    def _expire(self) -> None:
        if self._roster.expire():
            self._delivery.processes_changed()

    def _see_to(self, door: Door) -> None:
        if door.stands():
            return
        try:
            door.reopen()
        except Unavailable as error:
            self._count(error.code)

    def _let_in(self, listener: socket.socket) -> None:
        try:
            accepted, _ = listener.accept()
        except OSError:  # the peer was gone again, or there is no descriptor left
            self._count("not-accepted")
            self._closing.wait(0.01)
            return
        with self._lock:
            full = self._strangers >= MAX_STRANGERS or len(self._readers) >= MAX_CONNECTIONS
            if not full:
                self._strangers += 1
        if full:
            accepted.close()
            self._count("too-many")
            return
        stream = FramedSocket(accepted, slice_s=SILENCE_S)
        serve = partial(self._serve, stream, _peer_of(accepted))
        thread = threading.Thread(target=serve, name="agents-read", daemon=True)
        with self._lock:
            self._readers[thread] = stream
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads: the agent will dial again
            stream.close()
            with self._lock:
                del self._readers[thread]
                self._strangers -= 1
            self._count("no-thread")

    def _serve(self, stream: FramedSocket, peer: Peer) -> None:
        """Own one connection from handshake to end."""
        session: Session | None = None
        try:
            session = shake_hands(stream, master_key=self._master_key, hub_monotonic_s=self._clock.monotonic_s)
        except ProtocolError as error:
            self._count(error.reason)
        finally:
            if session is None:
                stream.close()
            with self._lock:
                self._strangers -= 1
        if session is not None:
            self._converse(session, peer)
        with self._lock:
            self._readers.pop(threading.current_thread(), None)

    def _converse(self, session: Session, peer: Peer) -> None:
        reason = "fault"  # stands when something is raised that is no `ProtocolError`: a bug, which is shown
        try:
            # Said in the time of the process; its age is what counts, whatever was done to the machine's clock.
            lead = self._clock.lead()
            started_at = min(session.process.started_at, self._clock.now() - lead) + lead
            process = replace(session.process, started_at=started_at)
            replaced = self._roster.join(process, launch_id=session.launch_id, link=session, peer=peer)
            if replaced is not None:
                replaced.shut()
            self._delivery.processes_changed()
            while self._hear(session, sender=peer.pid or session.process_id):
                pass
            reason = "goodbye"
        except ForeignLaunch:
            reason = "foreign-launch"
        except ForeignProcess:
            reason = "foreign-process"
        except TooManyNames:
            reason = "too-many-names"
        except ProtocolError as error:
            reason = error.reason
        finally:
            # First off the list, then closed: nobody is handed a session that is going away.
            if self._roster.lose(session.process_id, link=session, for_good=reason == "goodbye"):
                self._delivery.processes_changed()
            session.close()
            self._count(reason)

    def _hear(self, session: Session, *, sender: Hashable) -> bool:
        """Take one frame; False when the agent said goodbye."""
        kind, payload, weight = session.read()
        if kind == "answer":
            session.expect(payload)
            generation, changes = read_standing(payload)
            # Before the waiter is woken, so that its next look at the list shows what the answer says.
            if self._roster.update(session.process_id, generation=generation, changes=changes):
                self._delivery.processes_changed()
            session.settle(payload)
        elif kind in _TELEMETRY:
            found = self._roster.find(session.process_id)
            process = found[0] if found is not None else session.process
            self._delivery.put(kind, payload, process, weight=weight, sender=sender)
        elif kind != "goodbye":
            raise ProtocolError("unexpected-type", f"an agent sent {kind}")
        return kind != "goodbye"

    def _count(self, reason: str) -> None:
        with self._lock:
            self._ended[reason] += 1


def _peer_of(connected: socket.socket) -> Peer:
    """Return which process is at the other end, by what the kernel says of it, and how to tell that it has ended.

    Where it says nothing (another pid namespace), a process is never known to have ended.
    """
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", raw)[0]
    started = process_started(pid)
    return Peer(pid=pid, started=started, is_gone=lambda: started is not None and process_started(pid) != started)


def _body_of(change: LiveChange) -> dict[str, Any]:
    modules = [
        {"path": item.path, "old_source": item.old_source, "new_source": item.new_source} for item in change.modules
    ]
    return {"change": {"id": change.id, "mode": change.mode, "modules": modules}}


def _unreachable(process_id: ProcessId, detail: str) -> LiveResult:
    return LiveResult(process_id=process_id, outcome=LiveOutcome.UNREACHABLE, detail=detail)


def _result(process_id: ProcessId, answer: Answer) -> LiveResult:
    """Read an answer. A command that was refused as such is a failure: nothing was tried, and it is our fault."""
    told = answer.get("outcome")
    detail = _words(answer.get("detail"))
    if told == "refused":
        detail = f"the agent refused the command ({_words(answer.get('code'))[:60]}): {detail}"
    swap_us = answer.get("swap_us")
    functions = answer.get("functions")
    runs = answer.get("runs")
    return LiveResult(
        process_id=process_id,
        outcome=_OUTCOMES.get(told, LiveOutcome.FAILED) if isinstance(told, str) else LiveOutcome.FAILED,
        detail=detail,
        swap_us=swap_us if type(swap_us) is int and 0 <= swap_us <= _MAX_SWAP_US else None,
        functions=tuple(map(_words, functions[:_MAX_FUNCTIONS])) if isinstance(functions, list) else (),
        runs=_RUNS.get(runs) if isinstance(runs, str) else None,
    )


def _loaded(answer: Answer) -> LoadedFiles | None:
    """Read which files a process has loaded; None where that is no list of paths inside the repository."""
    files, parent = answer.get("files"), answer.get("parent")
    if not isinstance(files, list) or len(files) > MAX_FILES:
        return None
    inside = frozenset(item for item in files if isinstance(item, str) and _is_inside(item))
    return LoadedFiles(files=inside, parent=ProcessId(parent[:_MAX_ID]) if isinstance(parent, str) and parent else None)


def _is_inside(path: str) -> bool:
    parts = path.split("/")
    return len(path) <= _MAX_WORDS and path.isprintable() and not {"", ".", "..", ".git", ".homeostat"} & set(parts)


def _words(value: object) -> str:
    """Return what an agent says as a text that can be stored and shown; anything but text counts as nothing."""
    return printable(value[:_MAX_WORDS]) if isinstance(value, str) else ""
