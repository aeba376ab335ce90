"""What the hub may ask of an agent, and when an agent must refuse. Pure, and shared by both ends."""

from __future__ import annotations

import hashlib
import json

from homeostat_agent.protocol import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

COMMANDS = frozenset({"prepare", "swap", "canary", "renew", "promote", "rollback", "settle", "loaded", "ping"})


class Command:
    """One command, as it stands in the payload of a `command` frame."""

    __slots__ = ("body", "command_id", "digest", "expires_ms", "generation", "kind", "process_id")

    def __init__(
        self,
        *,
        command_id: str,
        kind: str,
        process_id: str,
        generation: int,
        digest: str,
        expires_ms: int,
        body: dict[str, Any],
    ) -> None:
        self.command_id = command_id
        self.kind = kind
        self.process_id = process_id
        self.generation = generation
        self.digest = digest
        self.expires_ms = expires_ms
        """On the hub's monotonic clock. The agent knows that clock from the handshake (see `HubClock`)."""
        self.body = body

    def payload(self) -> dict[str, Any]:
        """Return the form on the wire."""
        return {
            "command_id": self.command_id,
            "type": self.kind,
            "process_id": self.process_id,
            "generation": self.generation,
            "digest": self.digest,
            "expires_at": self.expires_ms,
            "body": self.body,
        }

    def refusal(self, *, process_id: str, generation: int, hub_now_ms: int) -> tuple[str, str] | None:
        """Return why this process must not execute it now (code, words), or None when it may."""
        if self.process_id != process_id:
            return "wrong-process", f"the command is for process {self.process_id}"
        if self.digest != digest_of(self.body):
            return "wrong-digest", "the command's content is not what its digest says"
        if hub_now_ms >= self.expires_ms:
            return "expired", f"the command expired {hub_now_ms - self.expires_ms} ms ago"
        if self.kind != "ping" and self.generation != generation:
            return (
                "wrong-generation",
                f"the command is for generation {self.generation}, this process is at {generation}",
            )
        return None


def digest_of(body: Mapping[str, Any]) -> str:
    """Return the digest that a command names for its content: over JSON with sorted keys, in ASCII."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode("ascii")).hexdigest()


def parse_command(payload: Mapping[str, Any]) -> Command:
    """Read the payload of a `command` frame; `malformed` when a field is missing or of a wrong kind."""
    fields = {"command_id", "type", "process_id", "generation", "digest", "expires_at", "body"}
    if set(payload) != fields:
        raise ProtocolError("malformed", "that is not a command")
    for name, kind in (
        ("type", str),
        ("command_id", str),
        ("process_id", str),
        ("digest", str),
        ("generation", int),
        ("expires_at", int),
        ("body", dict),
    ):
        if not isinstance(payload[name], kind) or isinstance(payload[name], bool):
            raise ProtocolError("malformed", f"a command whose {name} is no {kind.__name__}")
    if payload["type"] not in COMMANDS:
        raise ProtocolError("malformed", "that is not a command")
    if len(payload["command_id"]) > 64:
        raise ProtocolError("malformed", "a command id has at most 64 characters")
    return Command(
        command_id=payload["command_id"],
        kind=payload["type"],
        process_id=payload["process_id"],
        generation=payload["generation"],
        digest=payload["digest"],
        expires_ms=payload["expires_at"],
        body=payload["body"],
    )


class HubClock:
    """The hub's monotonic clock, as the agent knows it from the handshake.

    Expiry is not wall time: a stepped wall clock would make every command expired, or none. Both
    ends are on one machine, and `welcome` says what the hub's monotonic clock read. That was
    somewhere between sending our proof and getting the welcome; we take the earlier end, so the
    error (at most the handshake's timeout) is always towards *expired*, and each new connection
    measures anew: nothing about clocks outlives a connection.
    """

    def __init__(self, *, proof_sent_s: float, hub_now_ms: int) -> None:
        self._offset_ms = hub_now_ms - int(proof_sent_s * 1000)

    def now_ms(self, monotonic_s: float) -> int:
        """Return what the hub's clock reads at this moment of ours, or a little more."""
        return int(monotonic_s * 1000) + self._offset_ms


def parse_welcome(kind: str, payload: Mapping[str, Any]) -> int:
    """Return the hub's monotonic milliseconds from its first sealed frame."""
    now_ms = payload.get("now_ms")
    if kind != "welcome" or not isinstance(now_ms, int) or isinstance(now_ms, bool):
        raise ProtocolError("unexpected-type", "waited for welcome")
    return now_ms
