"""The queue between the agents' connections and the hub."""

import threading

import pytest
from agents_harness import wait_for

from homeostat.adapters.agents import delivery as delivery_module
from homeostat.adapters.agents.delivery import Delivery


@pytest.fixture
def gate():
    """Lets the listener through when it is set."""
    opened = threading.Event()
    yield opened
    opened.set()


def test_what_is_queued_is_bounded_in_bytes_too_and_room_comes_back(gate, monkeypatch):
    monkeypatch.setattr(delivery_module, "MAX_BYTES", 100)
    heard = []

    def listen(kind, body, process):
        gate.wait(20)
        heard.append(body)

    delivery = Delivery(on_telemetry=listen, on_processes_changed=lambda: None)
    assert delivery.put("logs", {"n": 1}, None, weight=60, sender="a")
    assert not delivery.put("logs", {"n": 2}, None, weight=60, sender="a")
    assert delivery.put("logs", {"n": 3}, None, weight=40, sender="a")
    delivery.start()
    gate.set()
    wait_for(lambda: len(heard) == 2)
    assert delivery.put("logs", {"n": 4}, None, weight=100, sender="a")
    delivery.close()
    assert heard == [{"n": 1}, {"n": 3}, {"n": 4}]
    assert delivery.dropped == 1


def test_word_of_changed_processes_is_never_dropped_and_may_be_joined(gate):
    calls = []

    def changed():
        calls.append(1)
        gate.wait(20)

    delivery = Delivery(on_telemetry=lambda *_: None, on_processes_changed=changed)
    delivery.start()
    delivery.processes_changed()
    wait_for(lambda: calls)
    for _ in range(5):
        delivery.processes_changed()
    gate.set()
    delivery.close()
    assert len(calls) == 2


def test_closing_does_not_wait_for_a_listener_that_hangs_and_counts_what_was_left(gate, monkeypatch):
    monkeypatch.setattr(delivery_module, "_DRAIN_S", 0.1)
    entered = threading.Event()

    def listen(kind, body, process):
        entered.set()
        gate.wait(20)

    delivery = Delivery(on_telemetry=listen, on_processes_changed=lambda: None)
    delivery.start()
    for _ in range(3):
        delivery.put("logs", {}, None, weight=1, sender="a")
    assert entered.wait(20)
    delivery.close()
    assert delivery.dropped == 2
    assert not delivery.put("logs", {}, None, weight=1, sender="a")


def test_a_sender_without_measure_loses_what_it_sends_and_takes_no_room_from_others(monkeypatch):
    monkeypatch.setattr(delivery_module, "MAX_BYTES", 100)
    delivery = Delivery(on_telemetry=lambda *_: None, on_processes_changed=lambda: None)
    assert [delivery.put("logs", {}, None, weight=20, sender="loud") for _ in range(7)] == [True] * 5 + [False] * 2
    assert delivery.put("logs", {}, None, weight=30, sender="quiet")
    assert not delivery.put("logs", {}, None, weight=20, sender="loud")
    assert delivery.put("logs", {}, None, weight=20, sender="quiet")
    assert not delivery.put("logs", {}, None, weight=101, sender="third")
    assert delivery.dropped == 2 + 2 + 1 + 1 + 1


def test_many_small_frames_of_one_make_room_for_those_of_another(monkeypatch):
    monkeypatch.setattr(delivery_module, "MAX_FRAMES", 10)
    delivery = Delivery(on_telemetry=lambda *_: None, on_processes_changed=lambda: None)
    taken = sum(delivery.put("logs", {}, None, weight=1, sender="loud") for _ in range(1_000))
    assert taken == 10
    assert all(delivery.put("logs", {}, None, weight=1, sender="quiet") for _ in range(5))


def test_whoever_had_the_least_of_the_time_is_heard_first():
    """The frames of one sender take long; another's do not have to wait until all of them are done."""
    heard, now_s = [], [100.0]

    def listen(kind, body, process):
        heard.append(body["of"])
        now_s[0] += 1.0 if body["of"] == "loud" else 0.01

    delivery = Delivery(on_telemetry=listen, on_processes_changed=lambda: None, monotonic_s=lambda: now_s[0])
    for sender in ("loud", "quiet"):
        for _ in range(8):
            delivery.put("logs", {"of": sender}, None, weight=1, sender=sender)
    delivery.start()
    wait_for(lambda: len(heard) == 16)
    delivery.close()
    assert heard == ["loud", *["quiet"] * 8, *["loud"] * 7]


def test_senders_that_come_and_go_leave_nothing_behind(monkeypatch):
    monkeypatch.setattr(delivery_module, "_MAX_LANES", 10)
    heard = []
    delivery = Delivery(on_telemetry=lambda kind, body, process: heard.append(body), on_processes_changed=lambda: None)
    delivery.start()
    for number in range(200):
        assert delivery.put("logs", {}, None, weight=1, sender=number)
        wait_for(lambda number=number: len(heard) == number + 1)
    assert len(delivery._lanes) <= 11
    delivery.close()
