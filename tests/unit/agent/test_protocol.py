"""The handshake and the sealed frames: what is accepted, and the named reason for everything else."""

import hashlib
import hmac
import json
import os

import pytest
from homeostat_agent.protocol import (
    HEADER_BYTES,
    MAX_FRAME_BYTES,
    MAX_HANDSHAKE_BYTES,
    TO_AGENT,
    TO_HUB,
    AgentHandshake,
    FrameReader,
    HubHandshake,
    Opener,
    ProtocolError,
    Sealer,
    frame,
    launch_key,
    process_key,
)

MASTER = bytes(range(32))
LAUNCH = "ab" * 16
PROCESS = "0b9c7b4e-6f2a-4c0f-8e1d-2a4f3c5d6e7f"
FACTS = {"pid": 7, "command": "app.py"}


def body_of(whole):
    return whole[HEADER_BYTES:]


def agent_side(master=MASTER, process=PROCESS, nonce=b"a" * 32):
    return AgentHandshake(
        launch_id=LAUNCH, key_of_launch=launch_key(master, LAUNCH), process_id=process, nonce=nonce, facts=FACTS
    )


def shaken():
    agent, hub = agent_side(), HubHandshake(master_key=MASTER, nonce=b"h" * 32)
    challenge = hub.challenge(body_of(agent.hello()))
    proof, agent_seals = agent.answer(body_of(challenge))
    return agent_seals, hub.finish(body_of(proof)), hub


def reason(call, *arguments):
    with pytest.raises(ProtocolError) as caught:
        call(*arguments)
    return caught.value.reason


def test_keys_are_derived_as_the_architecture_says():
    key = hmac.new(MASTER, b"launch:" + LAUNCH.encode(), hashlib.sha256).digest()
    assert launch_key(MASTER, LAUNCH) == key
    assert process_key(key, PROCESS) == hmac.new(key, b"process:" + PROCESS.encode(), hashlib.sha256).digest()


def test_two_ends_with_the_same_key_agree_and_can_talk_both_ways():
    agent, hub, handshake = shaken()
    assert handshake.process_id == PROCESS
    assert handshake.launch_id == LAUNCH
    assert handshake.facts == FACTS
    assert agent.inward.open(body_of(hub.outward.seal("welcome", {"now_ms": 1}))) == ("welcome", {"now_ms": 1})
    assert hub.inward.open(body_of(agent.outward.seal("logs", {"a": [1, "é"]}))) == ("logs", {"a": [1, "é"]})


def test_no_key_and_no_proof_of_the_handshake_can_be_read_from_the_hello():
    text = agent_side().hello()
    key = launch_key(MASTER, LAUNCH)
    for secret in (MASTER, key, process_key(key, PROCESS)):
        assert secret not in text
        assert secret.hex().encode() not in text


def test_a_hub_with_another_master_key_does_not_convince_the_agent():
    agent, hub = agent_side(), HubHandshake(master_key=os.urandom(32), nonce=b"h" * 32)
    assert reason(agent.answer, body_of(hub.challenge(body_of(agent.hello())))) == "bad-proof"


def test_an_agent_with_another_key_does_not_convince_the_hub():
    agent, hub = agent_side(), HubHandshake(master_key=MASTER, nonce=b"h" * 32)
    hub.challenge(body_of(agent.hello()))
    forged = json.dumps({"type": "proof", "proof": "0" * 64}).encode()
    assert reason(hub.finish, forged) == "bad-proof"


def test_the_hubs_own_proof_sent_back_to_it_is_not_a_proof():
    agent, hub = agent_side(), HubHandshake(master_key=MASTER, nonce=b"h" * 32)
    challenge = json.loads(body_of(hub.challenge(body_of(agent.hello()))))
    assert reason(hub.finish, json.dumps({"type": "proof", "proof": challenge["proof"]}).encode()) == "bad-proof"


def test_a_recorded_handshake_played_to_a_new_connection_fails():
    agent, hub = agent_side(), HubHandshake(master_key=MASTER, nonce=b"h" * 32)
    hello = body_of(agent.hello())
    proof, _ = agent.answer(body_of(hub.challenge(hello)))
    again = HubHandshake(master_key=MASTER, nonce=b"i" * 32)
    again.challenge(hello)
    assert reason(again.finish, body_of(proof)) == "bad-proof"


def test_a_recorded_challenge_played_to_a_new_hello_fails():
    hub = HubHandshake(master_key=MASTER, nonce=b"h" * 32)
    challenge = hub.challenge(body_of(agent_side().hello()))
    assert reason(agent_side(nonce=b"b" * 32).answer, body_of(challenge)) == "bad-proof"


def test_facts_altered_on_the_way_make_the_proof_fail():
    agent, hub = agent_side(), HubHandshake(master_key=MASTER, nonce=b"h" * 32)
    hello = json.loads(body_of(agent.hello()))
    hello["facts"]["pid"] = 8
    challenge = hub.challenge(json.dumps(hello, separators=(",", ":")).encode())
    assert reason(agent.answer, body_of(challenge)) == "bad-proof"


@pytest.mark.parametrize(
    ("alter", "expected"),
    [
        ({"version": 2}, "wrong-version"),
        ({"version": None}, "wrong-version"),
        ({"type": "proof"}, "unexpected-type"),
        ({"launch_id": "../" + "a" * 29}, "malformed"),
        ({"launch_id": 5}, "malformed"),
        ({"process_id": PROCESS.upper()}, "malformed"),
        ({"process_id": PROCESS + "\n"}, "malformed"),
        ({"nonce": "a" * 63}, "malformed"),
        ({"facts": []}, "malformed"),
        ({"more": 1}, "malformed"),
    ],
)
def test_a_hello_that_is_not_one_is_refused(alter, expected):
    hello = json.loads(body_of(agent_side().hello())) | alter
    hub = HubHandshake(master_key=MASTER, nonce=b"h" * 32)
    assert reason(hub.challenge, json.dumps(hello).encode()) == expected


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"\xff", b"nope", b"[" * 60_000, b'{"type":"hello","version":NaN}', b"null"]
)
def test_bytes_that_are_no_json_object_are_malformed_and_nothing_worse(body):
    assert reason(HubHandshake(master_key=MASTER, nonce=b"h" * 32).challenge, body) == "malformed"


def test_a_repeated_frame_ends_the_connection():
    agent, hub, _ = shaken()
    sealed = body_of(agent.outward.seal("logs", {}))
    hub.inward.open(sealed)
    assert reason(hub.inward.open, sealed) == "out-of-order"


def test_frames_that_change_places_end_the_connection():
    agent, hub, _ = shaken()
    agent.outward.seal("logs", {"n": 1})
    assert reason(hub.inward.open, body_of(agent.outward.seal("logs", {"n": 2}))) == "out-of-order"


def test_a_frame_sent_back_to_its_sender_ends_the_connection():
    agent, _, _ = shaken()
    assert reason(agent.inward.open, body_of(agent.outward.seal("command", {}))) == "bad-mac"


def test_a_frame_of_another_connection_with_the_same_key_ends_the_connection():
    other, _, _ = shaken()
    agent, hub = agent_side(nonce=b"z" * 32), HubHandshake(master_key=MASTER, nonce=b"h" * 32)
    proof, _ = agent.answer(body_of(hub.challenge(body_of(agent.hello()))))
    assert reason(hub.finish(body_of(proof)).inward.open, body_of(other.outward.seal("logs", {}))) == "bad-mac"


def test_a_changed_sequence_number_or_payload_does_not_keep_its_mac():
    agent, hub, _ = shaken()
    sealed = body_of(agent.outward.seal("logs", {"n": 1}))
    assert reason(hub.inward.open, sealed.replace(b'"seq":1', b'"seq":2')) == "bad-mac"
    assert reason(hub.inward.open, sealed.replace(b'"n":1', b'"n":2')) == "bad-mac"


@pytest.mark.parametrize("body", [b"{}", b'{"seq":1}', b'{"mac":"' + b"0" * 64 + b'"}', b"\0" * 80])
def test_a_sealed_frame_without_its_mac_in_front_is_malformed(body):
    assert reason(Opener(b"k" * 32, TO_HUB).open, body) == "malformed"


@pytest.mark.parametrize(
    "rest",
    [
        b'"seq":true,"type":"logs","payload":{}}',
        b'"seq":1.5,"type":"logs","payload":{}}',
        b'"seq":"1","type":"logs","payload":{}}',
    ],
)
def test_a_number_that_is_not_the_next_whole_number_is_out_of_order_even_with_a_good_mac(rest):
    assert reason(Opener(b"k" * 32, TO_HUB).open, _sealed_by_hand(rest)) == "out-of-order"


@pytest.mark.parametrize(
    "rest",
    [
        b'"seq":1,"type":"logs","payload":[]}',
        b'"seq":1,"type":"","payload":{}}',
        b'"seq":1,"type":7,"payload":{}}',
        b'"seq":1,"payload":{}}',
        b'"seq":1,"type":"logs","payload":{},"more":1}',
        b'"seq":1,"type":"logs","payload":{"x":Infinity}}',
        b"",
    ],
)
def test_a_sealed_frame_of_the_wrong_shape_is_malformed_even_with_a_good_mac(rest):
    assert reason(Opener(b"k" * 32, TO_HUB).open, _sealed_by_hand(rest)) == "malformed"


def _sealed_by_hand(rest):
    mac = hmac.new(b"k" * 32, TO_HUB + b"\n" + rest, hashlib.sha256).hexdigest().encode()
    return b'{"mac":"' + mac + b'",' + rest


def test_a_sealed_frame_is_json_with_the_four_documented_fields():
    sealed = body_of(Sealer(b"k" * 32, TO_AGENT).seal("command", {"x": 1}))
    assert set(json.loads(sealed)) == {"mac", "seq", "type", "payload"}


def test_what_is_too_large_or_no_json_is_refused_before_a_number_is_spent_on_it():
    sealer, opener = Sealer(b"k" * 32, TO_HUB), Opener(b"k" * 32, TO_HUB)
    assert reason(sealer.seal, "logs", {"x": "y" * MAX_FRAME_BYTES}) == "too-large"
    assert reason(sealer.seal, "logs", {"x": object()}) == "not-json"
    assert reason(sealer.seal, "logs", {"x": float("nan")}) == "not-json"
    assert opener.open(body_of(sealer.seal("logs", {"x": 1}))) == ("logs", {"x": 1})


def test_a_length_over_the_limit_is_refused_before_its_bytes_have_come():
    reader = FrameReader()
    reader.feed((MAX_HANDSHAKE_BYTES + 1).to_bytes(4, "big"))
    assert reason(reader.next_body) == "too-large"
    reader = FrameReader(MAX_FRAME_BYTES)
    reader.feed(b"\xff\xff\xff\xff")
    assert reason(reader.next_body) == "too-large"


def test_a_stream_that_ends_within_a_frame_is_seen_to_be_cut_off():
    reader = FrameReader()
    reader.feed(frame(b"12345")[:-1])
    assert reader.next_body() is None
    assert reader.mid_frame
    reader.feed(b"5")
    assert reader.next_body() == b"12345"
    assert not reader.mid_frame


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 33])
def test_a_key_of_another_length_is_never_used(key):
    assert reason(launch_key, key, LAUNCH) == "bad-key"


def test_a_nonce_of_another_length_is_never_used():
    with pytest.raises(ProtocolError, match="bad-nonce"):
        agent_side(nonce=b"")
