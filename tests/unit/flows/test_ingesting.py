from datetime import timedelta

import pytest
from homeostat_agent.canary.counts import ArmCounts
from homeostat_agent.canary.report import CanaryReport
from homeostat_agent.context import HostContext
from homeostat_agent.otlp import encode_metrics

from homeostat.core.errors import OutcomeUnknown, Unavailable
from homeostat.core.ids import ProcessId, ProposalId
from homeostat.flows.ingesting import ingest_logs, ingest_metrics, ingest_vitals
from homeostat.model.finding import AGENTS, FindingState
from homeostat.telemetry.otlp import CumulativeReader
from homeostat.telemetry.own_word import OwnWord
from homeostat.testing.world import World


def error(message, *, at_s, severity=17):
    return {
        "timeUnixNano": str(int(at_s * 1e9)),
        "severityNumber": severity,
        "body": {"stringValue": message},
        "attributes": [
            {"key": "exception.type", "value": {"stringValue": "KeyError"}},
            {"key": "exception.message", "value": {"stringValue": message}},
            {"key": "code.file.path", "value": {"stringValue": "shop.py"}},
            {"key": "code.function.name", "value": {"stringValue": "price"}},
            {"key": "code.line.number", "value": {"intValue": "2"}},
        ],
    }


def logs(*records):
    return {"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {"name": "shop"}, "logRecords": list(records)}]}]}


def take(world, body, source="agent-1"):
    return ingest_logs(world.deps, body, source=source)


def now_s(world):
    return world.clock.now().timestamp()


def test_the_third_like_error_makes_a_finding_and_the_fourth_does_not_make_another():
    world = World()
    opened = [take(world, logs(error(f"'coupon{n}'", at_s=now_s(world)))).findings for n in range(4)]
    assert [len(found) for found in opened] == [0, 0, 1, 0]
    (finding,) = world.deps.findings.findings()
    assert finding.state is FindingState.OPEN and finding.group.count == 4
    assert [entry.kind for entry in world.store.ledger.entries()] == ["finding.opened"]


def test_a_request_that_is_sent_again_counts_once_unless_its_times_do_not_tell():
    world = World()
    told = logs(error("a", at_s=now_s(world)), error("b", at_s=now_s(world)))
    for _ in range(3):
        take(world, told)
    assert world.deps.findings.error_counts() == {"error": 2}
    for _ in range(3):
        take(world, logs(error("c", at_s=int(now_s(world)))))
    assert world.deps.findings.error_counts() == {"error": 5}


def test_errors_and_the_finding_made_of_them_are_stored_together_or_not_at_all():
    world = World()
    told = logs(*(error("boom", at_s=now_s(world)) for _ in range(3)))
    world.store.faults.fail_before_commit = 1
    with pytest.raises(Unavailable):
        take(world, told)
    assert not world.deps.findings.error_counts() and not world.deps.findings.findings()
    world.store.faults.fail_after_commit = 1
    with pytest.raises(OutcomeUnknown):
        take(world, told)
    for _ in range(2):
        assert world.deps.findings.error_counts() == {"error": 3}
        assert [finding.group.count for finding in world.deps.findings.findings()] == [3]
        assert not take(world, told).findings


def test_a_critical_error_is_a_finding_at_once():
    world = World()
    assert len(take(world, logs(error("boom", at_s=now_s(world), severity=21))).findings) == 1


def test_nothing_private_is_stored():
    world = World()
    take(world, logs(*(error("ann@example.org from 10.0.0.7", at_s=now_s(world)) for _ in range(3))))
    assert "ann@example.org" not in repr(world.deps.findings.findings())
    assert "10.0.0.7" not in repr(world.deps.findings.findings())


def test_an_empty_or_partly_bad_body_is_counted_not_fatal():
    world = World()
    assert take(world, {}).accepted == 0
    done = take(world, logs(error("x", at_s=now_s(world)), {"severityNumber": "??"}))
    assert done.accepted == 1


@pytest.mark.parametrize("attested", [True, False])
def test_metrics_become_ticks_that_say_whether_an_agent_sent_them(attested):
    world = World()
    start = int((now_s(world) - 1) * 1e9)
    point = {
        "startTimeUnixNano": str(start),
        "timeUnixNano": str(start + 10**9),
        "count": "5",
        "sum": 0.5,
        "explicitBounds": [],
        "bucketCounts": ["5"],
        "attributes": [{"key": "http.route", "value": {"stringValue": "/price"}}],
    }
    body = {
        "resourceMetrics": [
            {
                "scopeMetrics": [
                    {
                        "metrics": [
                            {
                                "name": "http.server.request.duration",
                                "unit": "s",
                                "histogram": {"aggregationTemporality": 1, "dataPoints": [point]},
                            }
                        ]
                    }
                ]
            }
        ]
    }
    if attested:
        assert ingest_vitals(world.deps, body, process_id=ProcessId("me"), words=OwnWord()).accepted == 1
    else:
        assert ingest_metrics(world.deps, body, reader=CumulativeReader()).accepted == 1
    (tick,) = world.store.vitals.ticks(
        since=world.clock.now().replace(year=2000), until=world.clock.now().replace(year=2100)
    )
    assert tick.requests == 5
    assert tick.attested is attested


def test_what_an_agent_tells_is_of_its_own_process_whatever_it_says():
    world = World()
    spoofed = logs(*(error("boom", at_s=now_s(world)) for _ in range(3)))
    spoofed["resourceLogs"][0]["resource"] = {
        "attributes": [{"key": "service.instance.id", "value": {"stringValue": "another"}}]
    }
    (finding,) = ingest_logs(world.deps, spoofed, source=AGENTS, process_id=ProcessId("me")).findings
    assert {sample.process_id for sample in finding.group.samples} == {"me"}


def test_nobody_hides_an_error_by_sending_the_like_of_it_first():
    """A repetition is known by what was said and when; another process, or a bot, can say the same at the same time."""
    world = World()
    told = logs(error("a", at_s=now_s(world)))
    take(world, told, source="bot-1")
    for process in ("liar", "me"):
        ingest_logs(world.deps, told, source=AGENTS, process_id=ProcessId(process))
    assert world.deps.findings.error_counts() == {"error": 3}


CHANGE = ProposalId("00000000-0000-4000-8000-000000000009")


def canary_body(world, *, units, failed=0, percent=10.0, of="me", seconds=1.0):
    """Return what an agent tells of a second of a canary, as it writes it."""
    counts = ArmCounts(None)
    for _ in range(units):
        counts.add_unit(0.01)
    for _ in range(failed):
        counts.add_failure("KeyError")
    report = CanaryReport(change_id=CHANGE, percent=percent, arms={True: counts}, lapsed=False)
    end_ns = int(now_s(world) * 1e9)
    snapshot = {
        "requests": {},
        "errors_logged": 0,
        "canaries": [report],
        "start_unix_ns": end_ns - int(seconds * 1e9),
        "end_unix_ns": end_ns,
    }
    context = HostContext(repository="/srv/shop", commit=None, service_name="shop", process_id=of)
    return encode_metrics(snapshot, context)


def tell(world, words, body):
    ingest_vitals(world.deps, body, process_id=ProcessId("me"), words=words)
    return [tick for _, tick in world.deps.canaries.ticks(CHANGE)]


def test_what_an_agent_counted_of_a_canary_is_kept_as_its_own_and_in_the_time_that_is_believed():
    world, words = World(), OwnWord()
    body = canary_body(world, units=20, failed=3, of="another")
    (tick,) = tell(world, words, body)
    assert (tick.process_id, tick.percent, tick.control.units, tick.canary.units) == ("me", 10, 0, 20)
    assert dict(tick.canary.failures) == {"KeyError": 3}
    assert (tick.end - tick.start).total_seconds() == 1.0
    assert len(tell(world, words, body)) == 1
    world.clock.move(timedelta(seconds=1))
    assert len(tell(world, words, canary_body(world, units=20))) == 2


@pytest.mark.parametrize("told", [{"units": 3, "failed": 4}, {"units": 3, "percent": 0.0}])
def test_what_cannot_be_of_a_canary_is_not_kept(told):
    world = World()
    assert tell(world, OwnWord(), canary_body(world, **told)) == []


def test_a_bot_tells_of_no_canary():
    world = World()
    ingest_metrics(world.deps, canary_body(world, units=20), reader=CumulativeReader())
    assert world.deps.canaries.ticks(CHANGE) == []
