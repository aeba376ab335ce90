"""The agent of one process: joins capture, ring, sender and control, and follows the process through forks."""

from __future__ import annotations

import os
import sys
import time

from homeostat_agent.capture import install
from homeostat_agent.capture.frames import Repository
from homeostat_agent.connection import dial
from homeostat_agent.context import HostContext
from homeostat_agent.control import Control
from homeostat_agent.facts import original_arguments, process_age_s, program_name
from homeostat_agent.firstseen import FirstSeen
from homeostat_agent.loaded import loaded_files
from homeostat_agent.otlp import encode_logs, encode_metrics
from homeostat_agent.ring import Ring
from homeostat_agent.sender import Sender

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from homeostat_agent.capture import Capture
    from homeostat_agent.capture.failures import Failures
    from homeostat_agent.connection import HubConnection
    from homeostat_agent.handover.member import Member
    from homeostat_agent.haste import Haste
    from homeostat_agent.launch_file import Launch
    from homeostat_agent.reload import Reloader

RING_RECORDS = 2000
EXIT_FLUSH_S = 0.5
"""How long the end of a program may be held up, so that the exception that ended it still arrives."""

FORK_SETTLE_S = 0.25
"""A forked child dials after this: most that are about to `exec` have done so by then."""

_MAX_CHANGES_TOLD = 500


class Agent:
    """What `homeostat_agent.attach` returns. Make one per process, through `homeostat_agent.boot` only."""

    def __init__(self, launch: Launch, *, just_started: bool, on_close: Callable[[], None]) -> None:
        self.process_id = new_process_id()
        self._launch = launch
        self._on_close = on_close
        self._pid = os.getpid()
        self._said_forbidden_as: int | None = None
        self._started_s = time.monotonic() - (0.0 if just_started else process_age_s())
        self._command = program_name(original_arguments())
        self._context = self._new_context()
        self._ring = Ring(RING_RECORDS)
        self._capture: Capture = install(self._ring, self._context, on_worker_end=self.flush_at_exit)
        self._seen = FirstSeen() if launch.hmr_mode == "aggressive" else None
        self._control = Control(
            process_id=self.process_id,
            hmr_enabled=launch.hmr_enabled,
            hmr_mode=launch.hmr_mode,
            make_reloader=self._make_reloader,
            loaded=self._loaded_files,
            seen=self._seen,
        )
        self._sender = Sender(source=self, control=self._control, dial=self._dial)
        self._member: Member | None = None
        self._repository = Repository(launch.repository)

    @property
    def connected(self) -> bool:
        """Whether there is a hub at this moment that proved its key."""
        return self._sender.connected

    @property
    def last_loss(self) -> str:
        """Why the last connection, or the last try for one, ended; empty when none did."""
        return self._sender.last_loss

    @property
    def failures(self) -> Failures:
        """What went wrong inside; its sum goes out with what was dropped."""
        return self._capture.failures

    def start(self) -> None:
        """Start the background thread; when the system gives none, what was installed is taken out again."""
        try:
            self._sender.start()
        except RuntimeError:
            self._capture.uninstall()
            raise
        if self._launch.supervisor:
            from homeostat_agent.handover.member import Member

            self._member = Member(
                self._launch.supervisor, self._launch.launch_id, connected=lambda: self._sender.connected
            )
            self._member.start()

    def flush_at_exit(self) -> None:
        """Send what is left and say goodbye, for at most `EXIT_FLUSH_S`."""
        self._sender.stop(EXIT_FLUSH_S)

    def close(self) -> None:
        """Flush, and let go of the program: its hooks are taken out, a later `attach` begins anew."""
        self._sender.stop(EXIT_FLUSH_S)
        self._control.rest()
        if self._member is not None:
            self._member.close()
        self._capture.uninstall()
        self._on_close()

    # Forks

    def pause(self) -> None:
        self._sender.pause()

    def resume(self) -> None:
        self._sender.resume()

    def become_forked_child(self) -> None:
        """Be a process of our own: new id, empty ring, own connection. What was swapped stays swapped."""
        self._sender.forget()
        self._pid = os.getpid()
        self.process_id = new_process_id()
        self._started_s = time.monotonic()
        self._context = self._new_context()
        self._capture.reset_after_fork()  # the ring, too: what the parent counted is the parent's
        self._control.become_forked_child(self.process_id)
        self._sender = Sender(source=self, control=self._control, dial=self._dial, first_dial_after_s=FORK_SETTLE_S)
        self._sender.start()
        if self._member is not None:
            self._member.become_forked_child()

    # What the sender asks for

    def drain(self, limit: int) -> list[Any]:
        return list(self._ring.drain(limit))

    def encode_logs(self, records: list[Any]) -> Mapping[str, Any]:
        return encode_logs(records, self._context)

    def vitals(self) -> Mapping[str, Any]:
        snapshot = self._capture.vitals()
        snapshot["generation"] = self._control.generation
        snapshot["dropped"] += self._sender.dropped + self._sender.faults
        snapshot["canaries"] = self._control.take_reports()
        for report in snapshot["canaries"]:
            if report.lapsed:
                self._capture.tell(
                    f"the lease of the canary of change {report.change_id} ran out: every call runs the old code again"
                )
        return encode_metrics(snapshot, self._context)

    def _dial(self, deadline_s: Callable[[], float]) -> HubConnection:
        try:
            return dial(
                self._launch.address(),
                launch_id=self._launch.launch_id,
                key_of_launch=self._launch.key,
                process_id=self.process_id,
                facts=self._facts(),
                deadline_s=deadline_s,
            )
        except PermissionError:
            self._say_forbidden()
            raise

    def _say_forbidden(self) -> None:
        """Say once that the hub's door is closed to us: a worker that gave its privileges away, above all."""
        if self._said_forbidden_as == os.geteuid():
            return
        self._said_forbidden_as = os.geteuid()
        try:
            sys.stderr.write(
                f"homeostat-agent: not attached: this process runs as uid {os.geteuid()}, which may not reach the hub; "
                "run the hub and the program as one user\n"
            )
        except Exception:  # nobody to tell
            pass

    def _facts(self) -> Mapping[str, Any]:
        return {
            "pid": self._pid,
            # From the age: a clock that was set since must not make it look older or younger.
            "started_ms": int((time.time() - (time.monotonic() - self._started_s)) * 1000),
            "python": ".".join(str(part) for part in sys.version_info[:3]),
            "command": self._command,
            "commit": self._launch.commit,
            "service_name": self._launch.service_name,
            "hmr_enabled": self._launch.hmr_enabled,
            "generation": self._control.generation,
            "changes": self._control.changes[-_MAX_CHANGES_TOLD:],
            "canaries": self._control.canaries[-_MAX_CHANGES_TOLD:],
        }

    def _new_context(self) -> HostContext:
        return HostContext(
            repository=self._launch.repository,
            commit=self._launch.commit,
            service_name=self._launch.service_name,
            process_id=self.process_id,
        )

    def _loaded_files(self) -> list[str]:
        return loaded_files(self._repository)

    def _make_reloader(self, haste: Haste) -> Reloader:
        from homeostat_agent.reload import Reloader

        return Reloader(self._launch.repository, haste=haste, seen=self._seen)


def new_process_id() -> str:
    """Return a random UUID (version 4). `uuid` itself is not imported: it brings `platform` with it."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
