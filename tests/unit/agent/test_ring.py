"""The ring and the counter beneath it."""

import os
import signal
import sys
import threading

import pytest
from homeostat_agent.ring import Ring, Tally


def test_what_is_put_comes_out_in_order():
    ring = Ring(capacity=5)
    for number in range(3):
        ring.put(number)
    assert ring.drain(2) == [0, 1]
    assert ring.drain(10) == [2]
    assert ring.drain(10) == []
    assert ring.dropped == 0


def test_a_full_ring_drops_the_oldest_and_counts_it():
    ring = Ring(capacity=3)
    for number in range(10):
        ring.put(number)
    assert ring.dropped == 7
    assert ring.drain(10) == [7, 8, 9]
    assert ring.dropped == 7


def test_a_drain_of_nothing_takes_nothing():
    ring = Ring(capacity=3)
    ring.put(1)
    assert ring.drain(0) == []
    assert ring.drain(-1) == []
    assert len(ring) == 1


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_ring_without_room_is_refused(capacity: int):
    with pytest.raises(ValueError, match="at least one"):
        Ring(capacity=capacity)


def test_many_writers_and_two_readers_lose_nothing_without_counting_it():
    """Every item is either drained once or counted as dropped."""
    writers, each = 6, 4_000
    ring = Ring(capacity=500)
    drained: list[list[int]] = [[], []]
    running = threading.Event()
    running.set()

    def write(first: int) -> None:
        for number in range(first, first + each):
            ring.put(number)

    def read(into: list[int]) -> None:
        while running.is_set():
            into += ring.drain(50)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        readers = [threading.Thread(target=read, args=(into,)) for into in drained]
        threads = [threading.Thread(target=write, args=(index * each,)) for index in range(writers)]
        for thread in readers + threads:
            thread.start()
        for thread in threads:
            thread.join()
        running.clear()
        for thread in readers:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    got = drained[0] + drained[1] + ring.drain(10_000)
    assert len(got) == len(set(got))
    assert len(got) + ring.dropped == writers * each


def test_a_signal_handler_may_write_while_a_write_is_under_way():
    ring = Ring(capacity=1_000_000)
    seen = 0

    def handle(_number: int, _frame: object) -> None:
        nonlocal seen
        seen += 1
        ring.put("signal")

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        written = 0
        while seen < 20:
            ring.put("host")
            written += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(ring) + ring.dropped == written + seen


def test_a_child_begins_empty_and_the_parent_keeps_its_own():
    ring = Ring(capacity=2)
    for number in range(5):
        ring.put(number)
    pid = os.fork()
    if pid == 0:
        ring.reset_after_fork()
        ring.put("child")
        os._exit(0 if (ring.drain(9), ring.dropped) == (["child"], 0) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert ring.dropped == 3
    assert ring.drain(9) == [3, 4]


def test_a_tally_counts_exactly_under_contention():
    tally = Tally()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=lambda: [tally.add() for _ in range(5_000)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert tally.value == 40_000
    assert tally.value == 40_000, "reading it does not move it"
