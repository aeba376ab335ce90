"""Commands: when an agent refuses one, and what the clocks have to do with it."""

import pytest
from homeostat_agent.commands import Command, HubClock, digest_of, parse_command, parse_welcome
from homeostat_agent.protocol import ProtocolError

PROCESS = "0b9c7b4e-6f2a-4c0f-8e1d-2a4f3c5d6e7f"


def command(**over):
    body = over.pop("body", {"change_id": "c1"})
    fields = {
        "command_id": "1",
        "kind": "rollback",
        "process_id": PROCESS,
        "generation": 3,
        "digest": digest_of(body),
        "expires_ms": 10_000,
    }
    return Command(body=body, **(fields | over))


def refused(item, *, now_ms=9_999, generation=3):
    refusal = item.refusal(process_id=PROCESS, generation=generation, hub_now_ms=now_ms)
    return refusal and refusal[0]


def test_a_command_for_this_process_generation_content_and_time_is_accepted():
    assert refused(command()) is None


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"process_id": PROCESS[:-1] + "0"}, "wrong-process"),
        ({"digest": digest_of({"change_id": "c2"})}, "wrong-digest"),
        ({"digest": ""}, "wrong-digest"),
        ({"generation": 2}, "wrong-generation"),
        ({"generation": 4}, "wrong-generation"),
        ({"expires_ms": 9_999}, "expired"),
        ({"expires_ms": -1}, "expired"),
    ],
)
def test_a_command_that_is_not_for_here_and_now_is_refused(over, code):
    assert refused(command(**over)) == code


def test_a_ping_is_answered_at_any_generation():
    assert refused(command(kind="ping", body={}, generation=99)) is None


def test_a_command_comes_back_from_the_wire_as_it_was():
    again = parse_command(command().payload())
    assert again.payload() == command().payload()


@pytest.mark.parametrize(
    "alter",
    [
        {"type": "exec"},
        {"generation": "3"},
        {"generation": True},
        {"expires_at": 1.5},
        {"body": []},
        {"command_id": "x" * 65},
        {"command_id": None},
        {"more": 1},
    ],
)
def test_a_payload_that_is_no_command_ends_the_connection(alter):
    with pytest.raises(ProtocolError, match="malformed"):
        parse_command(command().payload() | alter)


def test_a_missing_field_ends_the_connection():
    payload = command().payload()
    del payload["digest"]
    with pytest.raises(ProtocolError, match="malformed"):
        parse_command(payload)


def test_the_digest_covers_every_part_of_the_content():
    body = {
        "change": {"id": "c", "mode": "safe", "modules": [{"path": "a.py", "old_source": "x\n", "new_source": "y\n"}]}
    }
    digests = {digest_of(body)}
    for path, value in (("id", "d"), ("mode", "aggressive"), ("modules", [])):
        digests.add(digest_of({"change": body["change"] | {path: value}}))
    assert len(digests) == 4
    assert digest_of({"b": 1, "a": 2}) == digest_of({"a": 2, "b": 1})


def test_the_agents_reading_of_the_hubs_clock_errs_towards_expired():
    # The hub read 500.000 s somewhere between our 10.0 (proof sent) and 10.4 (welcome received).
    clock = HubClock(proof_sent_s=10.0, hub_now_ms=500_000)
    for true_offset_ms in (489_600, 490_000):
        assert clock.now_ms(12.0) >= 12_000 + true_offset_ms
    assert clock.now_ms(12.0) <= 12_000 + 489_600 + 400


@pytest.mark.parametrize(
    ("kind", "payload"), [("command", {"now_ms": 1}), ("welcome", {}), ("welcome", {"now_ms": True})]
)
def test_anything_but_a_welcome_after_the_proof_is_refused(kind, payload):
    with pytest.raises(ProtocolError, match="unexpected-type"):
        parse_welcome(kind, payload)
