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
    assert delivery.put("logs", {"n": 1}, None, size=60)
    assert not delivery.put("logs", {"n": 2}, None, size=60)
    assert delivery.put("logs", {"n": 3}, None, size=40)
    delivery.start()
    gate.set()
    wait_for(lambda: len(heard) == 2)
    assert delivery.put("logs", {"n": 4}, None, size=100)
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
        delivery.put("logs", {}, None, size=1)
    assert entered.wait(20)
    delivery.close()
    assert delivery.dropped == 2
    assert not delivery.put("logs", {}, None, size=1)
