"""The wire between agent and hub, against bytes nobody thought of."""

from homeostat_agent.protocol import (
    HEADER_BYTES,
    MAX_FRAME_BYTES,
    TO_HUB,
    FrameReader,
    HubHandshake,
    Opener,
    ProtocolError,
    Sealer,
    frame,
)
from hypothesis import given
from hypothesis import strategies as st

KEY = b"k" * 32
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
payloads = st.dictionaries(st.text(max_size=8), json_values, max_size=5)


@given(st.lists(st.binary(max_size=200), max_size=8), st.data())
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(bodies, data):
    stream = b"".join(map(frame, bodies))
    reader, out = FrameReader(MAX_FRAME_BYTES), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        reader.feed(stream[:size])
        stream = stream[size:]
        while (body := reader.next_body()) is not None:
            out.append(body)
    assert out == bodies
    assert not reader.mid_frame


@given(st.lists(payloads, min_size=1, max_size=5))
def test_what_is_sealed_is_opened_in_order_and_unchanged(items):
    sealer, opener = Sealer(KEY, TO_HUB), Opener(KEY, TO_HUB)
    for item in items:
        assert opener.open(sealer.seal("logs", item)[HEADER_BYTES:]) == ("logs", item)


@given(payloads, st.data())
def test_a_frame_with_any_byte_changed_added_or_taken_away_is_refused(payload, data):
    body = Sealer(KEY, TO_HUB).seal("logs", payload)[HEADER_BYTES:]
    at = data.draw(st.integers(0, len(body) - 1))
    changed = data.draw(
        st.sampled_from(
            [
                body[:at] + bytes([body[at] ^ data.draw(st.integers(1, 255))]) + body[at + 1 :],
                body[:at] + body[at + 1 :],
                body[:at] + b" " + body[at:],
                body[:at],
            ]
        )
    )
    try:
        Opener(KEY, TO_HUB).open(changed)
    except ProtocolError as error:
        assert error.reason in ("bad-mac", "malformed")
    else:
        raise AssertionError("an altered frame was opened")


@given(st.binary(max_size=300))
def test_no_bytes_of_a_stranger_do_more_than_end_the_handshake(body):
    try:
        HubHandshake(master_key=KEY, nonce=b"n" * 32).challenge(body)
    except ProtocolError as error:
        assert error.reason in ("malformed", "unexpected-type", "wrong-version")
    else:
        raise AssertionError("a stranger's bytes were taken for a hello")
