"""The wire between agent and hub: frames, handshake, keys. No sockets, clocks or randomness.

Both ends use this module, so there is one description of the wire and it is code.

1. A frame is 4 bytes of big-endian length and that many bytes of JSON.
2. The agent says `hello`: version, launch id, process id, its nonce, and facts about its process.
3. The hub answers `challenge`: its nonce, and a proof that it can derive this process's key.
4. The agent checks that proof before it says anything else, and answers with its own `proof`.
5. From here on every frame carries a MAC over its own bytes and direction under a key that only
   this connection has, and a number that is exactly one more than the last; the hub's first such
   frame is `welcome`.

    K_launch  = HMAC(agent.key, "launch:" + launch_id)
    K_process = HMAC(K_launch, "process:" + process_id)
    K_session = HMAC(K_process, "session" | transcript)
    transcript = version, launch id, process id, both nonces, SHA-256 of the hello (so the facts too)

Whoever sits on the socket path without a key sees a hello and nothing more; whoever passes bytes on
between the true ends can read cleaned telemetry and cut the connection, but not alter, repeat,
reorder or add a frame. Frames are authentic, not secret: secrecy is the folder's mode 0700.

`ProtocolError` names the reason for which a connection ends; there is no second try on it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

VERSION = 1
HEADER_BYTES = 4
MAX_FRAME_BYTES = 4 << 20
MAX_HANDSHAKE_BYTES = 64 << 10
"""Before the keys are proved, a peer may make us hold and parse only this much."""

NONCE_BYTES = 32
KEY_BYTES = 32

TO_HUB = b"agent>hub"
TO_AGENT = b"hub>agent"

_LAUNCH_ID = re.compile(r"[0-9a-f]{32}")
_PROCESS_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEX_256 = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[a-z][a-z_.-]{0,39}")

_MAC_PREFIX = b'{"mac":"'
_MAC_END = len(_MAC_PREFIX) + 64
_REST_AT = _MAC_END + len(b'",')


class ProtocolError(Exception):
    """The connection must end. `reason` is one stable word for counters, `detail` is for people."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


# Keys


def launch_key(master_key: bytes, launch_id: str) -> bytes:
    """Return the key of one launch; the master key itself never leaves the state directory."""
    return _hmac(master_key, b"launch:" + _checked(launch_id, _LAUNCH_ID, "launch id").encode())


def process_key(key_of_launch: bytes, process_id: str) -> bytes:
    """Return the key of one process of a launch."""
    return _hmac(key_of_launch, b"process:" + _checked(process_id, _PROCESS_ID, "process id").encode())


def _hmac(key: bytes, message: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise ProtocolError("bad-key", f"a key has {KEY_BYTES} bytes, not {len(key)}")
    return hmac.new(key, message, hashlib.sha256).digest()


# Frames


def frame(body: bytes) -> bytes:
    """Return the frame that carries these bytes; longer than `MAX_FRAME_BYTES` is refused (too-large)."""
    if len(body) > MAX_FRAME_BYTES:
        raise ProtocolError("too-large", f"{len(body)} bytes to send")
    return len(body).to_bytes(HEADER_BYTES, "big") + body


class FrameReader:
    """Cuts a stream of bytes into frame bodies. Never holds more than one frame and what came with it."""

    def __init__(self, limit: int = MAX_HANDSHAKE_BYTES) -> None:
        self.limit = limit
        self._buffer = bytearray()

    @property
    def mid_frame(self) -> bool:
        """Whether the stream may not end here (or it was truncated)."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take what was received; take out every whole frame with `next_body` before feeding again."""
        self._buffer += data

    def has_body(self) -> bool:
        """Tell whether `next_body` would return one."""
        return 0 < self._end() <= len(self._buffer)

    def next_body(self) -> bytes | None:
        """Return the next whole body, or None when more bytes are needed."""
        end = self._end()
        if not 0 < end <= len(self._buffer):
            return None
        body = bytes(self._buffer[HEADER_BYTES:end])
        del self._buffer[:end]
        return body

    def _end(self) -> int:
        """Return where the frame ends that the buffer begins with; 0 before that is known."""
        if len(self._buffer) < HEADER_BYTES:
            return 0
        length = int.from_bytes(self._buffer[:HEADER_BYTES], "big")
        # The limit holds before the bytes have come: a length alone must not make us wait for them.
        if length > self.limit:
            raise ProtocolError("too-large", f"a frame of {length} bytes, at most {self.limit} here")
        return HEADER_BYTES + length


def _encode(value: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError("not-json", str(error)[:200]) from error


def _decode(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("malformed", "a frame that is not JSON") from error
    if not isinstance(value, dict):
        raise ProtocolError("malformed", "a frame that is not a JSON object")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _expect(value: Mapping[str, Any], kind: str, fields: Sequence[str]) -> None:
    if value.get("type") != kind:
        raise ProtocolError("unexpected-type", f"waited for {kind}")
    if set(value) != {"type", *fields}:
        raise ProtocolError("malformed", f"a {kind} has the fields {', '.join(fields)}")


def _checked(value: object, pattern: re.Pattern[str], what: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ProtocolError("malformed", f"that is not a {what}")
    return value


# After the handshake: sealed frames


class Sealer:
    """Numbers and MACs the frames of one direction."""

    def __init__(self, key: bytes, direction: bytes) -> None:
        self._key = key
        self._direction = direction
        self._seq = 0

    def seal(self, kind: str, payload: Mapping[str, Any]) -> bytes:
        """Return a whole frame. What is too large is refused before a number is spent on it."""
        _checked(kind, _WORD, "frame type")
        rest = b'"seq":%d,"type":"%s","payload":%s}' % (self._seq + 1, kind.encode(), _encode(payload))
        mac = _frame_mac(self._key, self._direction, rest)
        whole = frame(b'%s%s",%s' % (_MAC_PREFIX, mac, rest))
        self._seq += 1
        return whole


class Opener:
    """Checks MAC and number of the frames of one direction; the MAC comes before any parsing."""

    def __init__(self, key: bytes, direction: bytes) -> None:
        self._key = key
        self._direction = direction
        self._seq = 0

    def open(self, body: bytes) -> tuple[str, dict[str, Any]]:
        """Return type and payload of the next frame."""
        if not body.startswith(_MAC_PREFIX) or body[_MAC_END:_REST_AT] != b'",':
            raise ProtocolError("malformed", "a frame without its MAC in front")
        rest = body[_REST_AT:]
        if not hmac.compare_digest(body[len(_MAC_PREFIX) : _MAC_END], _frame_mac(self._key, self._direction, rest)):
            raise ProtocolError("bad-mac")
        value = _decode(b"{" + rest)
        if set(value) != {"seq", "type", "payload"} or not isinstance(value["payload"], dict):
            raise ProtocolError("malformed", "a frame has the fields mac, seq, type, payload")
        if value["seq"] != self._seq + 1 or isinstance(value["seq"], bool):
            raise ProtocolError("out-of-order", f"frame {value['seq']!r} after {self._seq}")
        self._seq += 1
        return _checked(value["type"], _WORD, "frame type"), value["payload"]


def _frame_mac(key: bytes, direction: bytes, rest: bytes) -> bytes:
    mac = hmac.new(key, direction + b"\n", hashlib.sha256)
    mac.update(rest)
    return mac.hexdigest().encode("ascii")


class Seals:
    """Both directions of one connection, once both ends have proved the key."""

    def __init__(self, session_key: bytes, *, outward: bytes, inward: bytes) -> None:
        self.outward = Sealer(session_key, outward)
        self.inward = Opener(session_key, inward)


# Handshake


def _transcript(launch_id: str, process_id: str, agent_nonce: str, hub_nonce: str, hello: bytes) -> bytes:
    parts = [
        str(VERSION).encode(),
        launch_id.encode(),
        process_id.encode(),
        agent_nonce.encode(),
        hub_nonce.encode(),
        hashlib.sha256(hello).digest(),
    ]
    # With its length before each part, no two different lists of parts give the same bytes.
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _proof(key: bytes, role: bytes, transcript: bytes) -> str:
    return _hmac(key, role + b"\0" + transcript).hex()


class AgentHandshake:
    """The agent's side, for one connection. `nonce` is `NONCE_BYTES` fresh random bytes."""

    def __init__(
        self, *, launch_id: str, key_of_launch: bytes, process_id: str, nonce: bytes, facts: Mapping[str, Any]
    ) -> None:
        self._launch_id = _checked(launch_id, _LAUNCH_ID, "launch id")
        self._process_id = process_id
        self._key = process_key(key_of_launch, process_id)
        self._nonce = _nonce_text(nonce)
        self._hello = _encode(
            {
                "type": "hello",
                "version": VERSION,
                "launch_id": launch_id,
                "process_id": process_id,
                "nonce": self._nonce,
                "facts": facts,
            }
        )

    def hello(self) -> bytes:
        """Return the first frame: the only one that a hub without the key ever gets."""
        return frame(self._hello)

    def answer(self, challenge: bytes) -> tuple[bytes, Seals]:
        """Check the hub's proof and return the frame with ours; `bad-proof` when the hub has no key."""
        value = _decode(challenge)
        _expect(value, "challenge", ("nonce", "proof"))
        hub_nonce = _checked(value["nonce"], _HEX_256, "nonce")
        transcript = _transcript(self._launch_id, self._process_id, self._nonce, hub_nonce, self._hello)
        _check_proof(value["proof"], _proof(self._key, b"hub", transcript))
        session = _hmac(self._key, b"session\0" + transcript)
        answer = frame(_encode({"type": "proof", "proof": _proof(self._key, b"agent", transcript)}))
        return answer, Seals(session, outward=TO_HUB, inward=TO_AGENT)


class HubHandshake:
    """The hub's side, for one connection. Holds nothing that survives the connection."""

    def __init__(self, *, master_key: bytes, nonce: bytes) -> None:
        self._master_key = master_key
        self._nonce = _nonce_text(nonce)
        self._key = b""
        self._transcript = b""
        self.launch_id = ""
        self.process_id = ""
        self.facts: dict[str, Any] = {}
        """What the agent says about its process: to be believed only after `finish`."""

    def challenge(self, hello: bytes) -> bytes:
        """Read a hello and return the frame that proves our key to whoever holds the process's."""
        value = _decode(hello)
        if value.get("type") == "hello" and value.get("version") != VERSION:
            raise ProtocolError("wrong-version", f"an agent of version {value.get('version')!r}")
        _expect(value, "hello", ("version", "launch_id", "process_id", "nonce", "facts"))
        self.launch_id = _checked(value["launch_id"], _LAUNCH_ID, "launch id")
        self.process_id = _checked(value["process_id"], _PROCESS_ID, "process id")
        agent_nonce = _checked(value["nonce"], _HEX_256, "nonce")
        if not isinstance(value["facts"], dict):
            raise ProtocolError("malformed", "facts are not an object")
        self.facts = value["facts"]
        self._key = process_key(launch_key(self._master_key, self.launch_id), self.process_id)
        self._transcript = _transcript(self.launch_id, self.process_id, agent_nonce, self._nonce, hello)
        proof = _proof(self._key, b"hub", self._transcript)
        return frame(_encode({"type": "challenge", "nonce": self._nonce, "proof": proof}))

    def finish(self, proof: bytes) -> Seals:
        """Check the agent's proof; `bad-proof` when it has no key."""
        value = _decode(proof)
        _expect(value, "proof", ("proof",))
        _check_proof(value["proof"], _proof(self._key, b"agent", self._transcript))
        session = _hmac(self._key, b"session\0" + self._transcript)
        return Seals(session, outward=TO_AGENT, inward=TO_HUB)


def _nonce_text(nonce: bytes) -> str:
    if len(nonce) != NONCE_BYTES:
        raise ProtocolError("bad-nonce", f"a nonce has {NONCE_BYTES} bytes")
    return nonce.hex()


def _check_proof(given: object, wanted: str) -> None:
    text = _checked(given, _HEX_256, "proof")
    if not hmac.compare_digest(text.encode(), wanted.encode()):
        raise ProtocolError("bad-proof", "the other end does not hold the key of this process")
