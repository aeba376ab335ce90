"""Canaries in a real program, by commands over the real connection: routed, counted, told, and ended without a hub."""

import sys
import urllib.request
from collections import Counter

import pytest
from agents_harness import Place, clean_environment, connected, host, records, wait_for

from homeostat.telemetry.otlp_canaries import parse_canaries

IDENTITY = "00000000-0000-4000-8000-000000000001"

OLD = """
def answer(path):
    return first() + second(path)
def first():
    return "old "
def second(path):
    return "old"
"""
RAISING = "def second(path):\n    if path == '/bad':\n        raise KeyError(path)\n"
NEW = OLD.replace("old", "new").replace("def second(path):\n", RAISING)
APP = """
import answers
from wsgiref.simple_server import WSGIRequestHandler, make_server
class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass
def app(environ, start_response):
    try:
        words, status = answers.answer(environ["PATH_INFO"]), "200 OK"
    except KeyError:
        words, status = "failed", "500 Internal Server Error"
    start_response(status, [("Content-Type", "text/plain")])
    return [words.encode()]
server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
print(server.server_port, flush=True)
server.serve_forever()
"""
CHANGE = {
    "id": "c1",
    "mode": "safe",
    "modules": [{"path": "answers.py", "old_source": OLD, "new_source": NEW}],
}


class Program:
    """A program that serves, with the agent in it."""

    def __init__(self, place, process):
        self._place = place
        self.port = int(process.stdout.readline())

    def ask(self, path="/", user=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers={"X-User": user} if user else {}
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()


@pytest.fixture
def program(tmp_path):
    place = Place(tmp_path)
    place.write("answers.py", OLD)
    place.write("app.py", APP)
    environment = place.launch().environment(clean_environment())
    with host(sys.executable, "-W", "error", "app.py", env=environment, cwd=place.repository) as process:
        made = Program(place, process)
        made.place = place
        yield made


def command(hub, kind, body):
    (process,) = connected(hub)
    return hub._command(process.id, kind, body, timeout_s=20)


def canary(hub, **over):
    return command(hub, "canary", {"change": CHANGE, "percent": 50, "lease_s": 60, "key": None, **over})


def points(hub, name):
    """Return (arm, kind, number) of every point of a canary's metric that the hub has heard."""
    found = []
    for kind, body, _ in tuple(hub.heard):
        for metric in body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"] if kind == "metrics" else ():
            if metric["name"] != f"homeostat.canary.{name}":
                continue
            data = next(metric[part] for part in ("histogram", "sum", "gauge") if part in metric)
            for point in data["dataPoints"]:
                attributes = {item["key"]: item["value"]["stringValue"] for item in point["attributes"]}
                assert attributes["homeostat.change"] == "c1"
                number = point.get("count") or point.get("asInt") or point.get("asDouble")
                arm, failure = attributes.get("homeostat.arm", ""), attributes.get("error.type", "")
                found.append((arm, failure, float(number)))
    return found


def total(hub, name):
    sums = Counter()
    for arm, failure, number in points(hub, name):
        sums[arm, failure] += number
    return dict(sums)


def test_requests_are_routed_counted_and_promoted(program):
    with program.place.hub() as hub:
        assert canary(hub).outcome == "swapped"
        answers = Counter(program.ask() for _ in range(60))
        assert set(answers) == {"old old", "new new"}, "both functions of a request are on one arm"
        answers += Counter(program.ask("/bad") for _ in range(20))
        wanted = {("control", ""): answers["old old"], ("canary", ""): answers["new new"] + answers["failed"]}
        wait_for(lambda: total(hub, "duration") == wanted, what=wanted)
        assert total(hub, "failures") == {("canary", "500"): answers["failed"]}
        assert command(hub, "renew", {"change_id": "c1", "lease_s": 60, "percent": 100}).outcome == "swapped"
        assert {program.ask() for _ in range(10)} == {"new new"}
        assert command(hub, "promote", {"change_id": "c1"}).outcome == "swapped"
        assert {program.ask() for _ in range(10)} == {"new new"}
        wait_for(lambda: {point[2] for point in points(hub, "percent")} == {50.0, 100.0, 0.0})
        assert command(hub, "rollback", {"change_id": "c1"}).outcome == "swapped"
        assert program.ask() == "old old"


def test_new_code_runs_on_copies_and_what_was_found_is_told_over_the_wire(program):
    found = Counter()

    def compared(hub):
        found.clear()
        for kind, told, _ in tuple(hub.heard):
            for item in parse_canaries(told).records if kind == "metrics" else ():
                for what, count in item.shadow.calls.items() if item.shadow is not None else ():
                    found[what.function, what.outcome.value, what.difference] += count
        return found

    change = {**CHANGE, "id": IDENTITY}
    with program.place.hub() as hub:
        names = ["answers.py:second", "answers.py:first"]
        assert canary(hub, change=change, percent=0, shadowed=names).outcome == "swapped"
        wait_for(
            lambda: program.ask("/bad") == "old old" and compared(hub)["answers.py:second", "raised", "KeyError"] > 0
        )
        wait_for(
            lambda: (
                program.ask() == "old old"
                and compared(hub)["answers.py:second", "result", "another str"] > 0
                and compared(hub)["answers.py:first", "result", "another str"] > 0
            )
        )
        outcomes = {outcome for _, outcome, _ in found}
        assert outcomes <= {"raised", "result", "skipped"}, found
        assert canary(hub, change=change, percent=100).outcome == "swapped"
        assert program.ask() == "new new"
        assert command(hub, "rollback", {"change_id": IDENTITY}).outcome == "swapped"
        assert program.ask() == "old old"


def test_it_is_told_of_more_often_than_anything_else_while_it_runs(program):
    """Harm lasts until enough of it was told; four times a second instead of once."""

    def told_s(hub):
        bodies = [body for kind, body, _ in tuple(hub.heard) if kind == "metrics"]
        told = [metric for body in bodies for metric in body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]]
        shares = [metric["gauge"]["dataPoints"] for metric in told if metric["name"] == "homeostat.canary.percent"]
        return [int(points[0]["timeUnixNano"]) / 1e9 for points in shares]

    with program.place.hub() as hub:
        assert canary(hub).outcome == "swapped"
        # Nothing is asked of it after that, so without a canary there would be a second between any two.
        wait_for(lambda: any(last - first < 3 for first, last in zip(told_s(hub), told_s(hub)[5:], strict=False)))


def test_a_user_stays_on_one_arm_by_a_header(program):
    with program.place.hub() as hub:
        assert canary(hub, key="header:X-User").outcome == "swapped"
        arms = {user: {program.ask(user=user) for _ in range(3)} for user in map(str, range(20))}
        assert all(len(found) == 1 for found in arms.values())
        assert set().union(*arms.values()) == {"old old", "new new"}
        wait_for(lambda: sum(total(hub, "duration").values()) == 20, what="20 users")


def test_a_lease_that_is_not_renewed_ends_the_canary_and_the_hub_is_told(program):
    with program.place.hub() as hub:
        assert canary(hub, percent=100, lease_s=0.5).outcome == "swapped"
        wait_for(lambda: program.ask() == "old old")
        wait_for(lambda: points(hub, "lapsed") == [("", "", 1.0)])
        wait_for(lambda: any("the lease of the canary of change c1 ran out" in item[0] for item in records(hub)))
        assert command(hub, "renew", {"change_id": "c1", "lease_s": 60}).outcome == "failed"
        (process,) = connected(hub)
        assert process.changes == ()
        assert canary(hub, percent=100).outcome == "swapped"
        assert program.ask() == "new new"


def test_where_the_hub_is_gone_every_call_goes_back_by_itself_and_the_next_hub_hears_of_it(program):
    with program.place.hub() as hub:
        assert canary(hub, percent=100, lease_s=2).outcome == "swapped"
        assert program.ask() == "new new"
    wait_for(lambda: program.ask() == "old old")
    with program.place.hub() as hub:
        wait_for(lambda: points(hub, "lapsed") == [("", "", 1.0)])
        wait_for(lambda: connected(hub)[0].changes == ())
