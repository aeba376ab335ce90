"""Counting requests: exact, bounded, and without making one wait for another."""

import sys
import threading

import pytest
from homeostat_agent.capture.failures import Failures
from homeostat_agent.capture.traffic import LATENCY_BOUNDS_S, MAX_ERROR_TYPES, MAX_ROUTES, OTHER, Traffic, is_disconnect


def label(source: str, _status: int) -> str:
    return source


@pytest.fixture
def escaped() -> list[BaseException]:
    return []


@pytest.fixture
def gone() -> list[BaseException]:
    return []


@pytest.fixture
def failed() -> list[tuple[int, str]]:
    return []


@pytest.fixture
def traffic(escaped, failed, gone) -> Traffic:
    return Traffic(
        failures=Failures(),
        on_escape=lambda error, _where: escaped.append(error),
        on_ending=lambda request, where: failed.append((request.status, where)),
        on_disconnect=gone.append,
    )


def count(traffic: Traffic, route: str, *, error: BaseException | None = None, status: int = 200, seconds: float = 0.0):
    request = traffic.begin(route, label)
    request.status = status
    request.ended = request.started + seconds if seconds else 0.0
    traffic.finish(request, error, where="test")
    return request


def test_the_bounds_are_the_hubs():
    from homeostat.model.vitals import LATENCY_BOUNDS_MS

    assert [bound * 1000 for bound in LATENCY_BOUNDS_S] == pytest.approx(list(LATENCY_BOUNDS_MS))


def test_each_route_and_kind_of_error_has_its_own_series(traffic, escaped):
    count(traffic, "/a")
    count(traffic, "/a", status=404)
    count(traffic, "/a", status=503)
    count(traffic, "/a", error=KeyError("x"))
    count(traffic, "/b", status=500)
    taken = {key: series.requests for key, series in traffic.take().items()}
    assert taken == {("/a", ""): 2, ("/a", "503"): 1, ("/a", "KeyError"): 1, ("/b", "500"): 1}
    assert [type(error) for error in escaped] == [KeyError]
    assert traffic.take() == {}


def test_a_500_after_a_logged_exception_is_an_error_of_that_type(traffic):
    request = traffic.begin("/a", label)
    request.error_hint = "shop.PriceError"
    request.status = 500
    traffic.finish(request, None, where="test")
    answered = traffic.begin("/a", label)
    answered.error_hint = "shop.PriceError"
    answered.status = 200
    traffic.finish(answered, None, where="test")
    assert set(traffic.take()) == {("/a", "shop.PriceError"), ("/a", "")}


@pytest.mark.parametrize("index", range(len(LATENCY_BOUNDS_S)))
def test_a_bound_belongs_to_the_bucket_below_it(traffic, index):
    bound = LATENCY_BOUNDS_S[index]
    traffic._done.extend([("/a", "", bound), ("/a", "", bound * 1.001)])
    series = traffic.take()["/a", ""]
    assert [place for place, number in enumerate(series.buckets) if number] == [index, index + 1]
    assert series.requests == 2
    assert series.sum_s == pytest.approx(bound * 2.001)


def test_cancellation_and_exit_are_counted_but_are_no_error(traffic, escaped):
    import asyncio

    for error in (asyncio.CancelledError(), KeyboardInterrupt(), GeneratorExit()):
        count(traffic, "/a", error=error)
    assert {key: series.requests for key, series in traffic.take().items()} == {("/a", ""): 3}
    assert escaped == []


class ClientDisconnect(Exception):
    pass


class ClientDisconnected(OSError):
    pass


def test_a_client_that_went_away_is_no_error_and_a_lost_upstream_is(traffic, escaped, gone):
    count(traffic, "/a", error=ClientDisconnect())
    count(traffic, "/a", error=ClientDisconnected())
    broken = traffic.begin("/a", label)
    broken.disconnected = True
    traffic.finish(broken, BrokenPipeError(), where="test")
    count(traffic, "/a", error=ConnectionResetError("the database"))
    wrong = traffic.begin("/a", label)
    wrong.disconnected = True
    assert not is_disconnect(wrong, KeyError("x"))
    taken = {key: series.requests for key, series in traffic.take().items()}
    assert taken == {("/a", ""): 3, ("/a", "ConnectionResetError"): 1}
    assert len(escaped) == 1
    assert [type(error) for error in gone] == [ClientDisconnect, ClientDisconnected, BrokenPipeError]


def test_routes_beyond_the_limit_share_one_label(traffic):
    for number in range(MAX_ROUTES + 50):
        count(traffic, f"/r{number}")
    first = traffic.take()
    assert len(first) == MAX_ROUTES + 1
    assert first[OTHER, ""].requests == 50
    count(traffic, "/r0")
    count(traffic, "/new")
    assert set(traffic.take()) == {("/r0", ""), (OTHER, "")}, "a known route keeps its name"


def test_kinds_of_error_beyond_the_limit_share_one_label(traffic):
    for number in range(MAX_ERROR_TYPES + 10):
        count(traffic, "/a", error=type(f"Error{number}", (Exception,), {})())
    taken = traffic.take()
    assert len(taken) == MAX_ERROR_TYPES + 1
    assert taken["/a", OTHER].requests == 10


def test_a_route_that_cannot_be_read_is_a_counted_failure(traffic):
    request = traffic.begin("/a", lambda _source, _status: 1 / 0)  # type: ignore[arg-type,return-value]
    traffic.finish(request, None, where="test")
    assert traffic.take() == {}
    assert traffic._failures.as_dict() == {"request": 1}


def test_a_finished_request_holds_nothing_of_the_host(traffic):
    scope = {"body": object()}
    request = traffic.begin(scope, lambda source, _status: "/a" if source is scope else "?")
    traffic.finish(request, None, where="test")
    assert request.route() == "/a"
    assert scope["body"] not in [getattr(request, name) for name in request.__slots__]
    assert scope not in [getattr(request, name) for name in request.__slots__]


def test_many_threads_lose_no_request(traffic):
    total: dict[str, int] = {}
    running = threading.Event()
    running.set()

    def serve() -> None:
        for number in range(3_000):
            count(traffic, f"/r{number % 7}")

    def take() -> None:
        while running.is_set():
            for (route, _), series in traffic.take().items():
                total[route] = total.get(route, 0) + series.requests

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        taker = threading.Thread(target=take)
        threads = [threading.Thread(target=serve) for _ in range(6)]
        for thread in [taker, *threads]:
            thread.start()
        for thread in threads:
            thread.join()
        running.clear()
        taker.join()
    finally:
        sys.setswitchinterval(before)
    for (route, _), series in traffic.take().items():
        total[route] = total.get(route, 0) + series.requests
    assert sum(total.values()) == 18_000
    assert traffic._failures.as_dict() == {}


def test_counting_a_request_is_a_handful_of_calls(traffic):
    """What they cost is measured by `bench_agent`."""
    requests, calls = 2560, 0

    def called(_frame, event, _argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        for _ in range(requests):
            traffic.finish(traffic.begin("/a", label), None, where="test")
    finally:
        sys.setprofile(None)
    assert calls / requests < 24
    assert sum(series.requests for series in traffic.take().values()) == requests
