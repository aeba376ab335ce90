"""Installing and taking out again."""

import logging
import threading
import time

import pytest
from homeostat_agent.capture import AlreadyInstalled, install
from homeostat_agent.capture.process import Moment
from homeostat_agent.context import HostContext
from homeostat_agent.ring import Ring


def context(folder: object) -> HostContext:
    return HostContext(repository=str(folder), commit=None, service_name="s", process_id="p")


def test_a_second_installation_is_refused_and_the_first_goes_on(captured, tmp_path):
    with pytest.raises(AlreadyInstalled):
        install(Ring(), context(tmp_path))
    log = logging.Logger("x")
    log.addHandler(logging.NullHandler())
    log.error("still captured, once")
    assert len(captured.occurrences()) == 1


def test_it_can_be_installed_again_after_it_was_taken_out(tmp_path):
    log = logging.Logger("x")
    log.addHandler(logging.NullHandler())
    rings = [Ring(), Ring()]
    for ring in rings:
        capture = install(ring, context(tmp_path))
        log.error("one")
        capture.uninstall()
        log.error("nobody listens")
    assert [len(ring) for ring in rings] == [1, 1]


def test_what_someone_else_has_replaced_in_the_meantime_is_left_to_them(tmp_path):
    original = logging.Logger.callHandlers
    capture = install(Ring(), context(tmp_path))
    ours = logging.Logger.callHandlers

    def theirs(logger: logging.Logger, record: logging.LogRecord) -> None:
        ours(logger, record)

    logging.Logger.callHandlers = theirs  # type: ignore[method-assign]
    try:
        capture.uninstall()
        assert logging.Logger.callHandlers is theirs
        assert capture.failures.as_dict() == {"not-restored": 1}
    finally:
        logging.Logger.callHandlers = original  # type: ignore[method-assign]


def test_vitals_are_deltas_over_intervals_without_a_gap(captured):
    first = captured.capture.vitals()
    second = captured.capture.vitals()
    assert first["end_unix_ns"] == second["start_unix_ns"]
    assert first["start_unix_ns"] < first["end_unix_ns"] < second["end_unix_ns"]
    assert first["requests"] == {}
    assert first["loop_lag_ms_max"] is None, "no loop was seen: that is not known, it is not zero"
    assert first["memory_bytes"] > 1_000_000
    assert first["cpu_utilization"] >= 0


def test_an_interval_is_as_long_as_it_was_though_the_clock_was_set_meanwhile():
    second, hour = 1_000_000_000, 3_600_000_000_000
    start = Moment(unix_ns=10 * hour, monotonic_ns=0)
    for set_by in (hour, -hour, second):
        end = Moment(unix_ns=10 * hour + second + set_by, monotonic_ns=second)
        assert end.unix_ns - end.start_of_interval(start) == second
    undisturbed = Moment(unix_ns=10 * hour + second + 100, monotonic_ns=second)
    assert undisturbed.start_of_interval(start) == start.unix_ns, "no gap between two intervals"


def test_cpu_time_of_all_threads_is_counted(captured):
    def burn() -> None:
        while time.thread_time() < 0.1:
            sum(range(1000))

    began_s = time.monotonic()
    captured.capture.vitals()
    thread = threading.Thread(target=burn)
    thread.start()
    thread.join()
    share = captured.capture.vitals()["cpu_utilization"]
    # On a busy machine the same work is a smaller share, of a longer time.
    assert share >= 0.09 / (time.monotonic() - began_s)
