"""What every store promises of errors, findings and vitals: run on the one in memory and on the one in SQLite."""

from dataclasses import replace
from datetime import timedelta

from homeostat.core.ids import FindingId, ProposalId
from homeostat.core.limits import MAX_SAMPLES_PER_CALL, MAX_SAMPLES_PER_TEMPLATE
from homeostat.model.finding import AGENTS, FindingState, GroupStanding, Recorded
from homeostat.model.vitals import LATENCY_BOUNDS_MS, STRETCH_S, UNATTESTED, stretch_start
from homeostat.testing.example_rows import (
    START,
    SteppingClock,
    example_canary_tick,
    example_entry,
    example_finding,
    example_occurrence,
    example_shadow_tick,
    example_tick,
    group_key,
)
from homeostat.testing.memory_store import MemoryStore

A, B = group_key("a"), group_key("b")


def at(seconds):
    return START + timedelta(seconds=seconds)


class TestErrors:
    def test_occurrences_are_counted_into_their_groups(self, store):
        early, late = example_occurrence(0), example_occurrence(5)
        (group,) = store.findings.record([(A, "no order <number>", late), (A, "no order <number>", early)]).groups
        assert (group.key, group.count, group.first_at, group.last_at) == (A, 2, at(0), at(5))
        assert group.message_template == "no order <number>"
        assert group.location == early.location
        assert group.samples == (late, early)
        touched = store.findings.record([(B, "other", example_occurrence(6)), (A, "no order <number>", early)]).groups
        assert [(item.key, item.count) for item in touched] == [(B, 1), (A, 3)]

    def test_a_batch_that_is_sent_again_counts_once_and_still_shows_its_groups(self, store):
        batch = [(A, "t", example_occurrence(0)), (B, "t", example_occurrence(1)), (A, "t", example_occurrence(2))]
        first = store.findings.record(batch, source="x", batch=group_key("batch 1")).groups
        assert store.findings.record(batch, source="x", batch=group_key("batch 1")).groups == first
        assert store.findings.error_counts() == {"error": 3}
        store.findings.record(batch, source="x", batch=group_key("batch 2"))
        assert store.findings.error_counts() == {"error": 6}

    def test_nothing_recorded_touches_nothing(self, store):
        assert store.findings.record([]) == Recorded()

    def test_a_group_takes_the_gravest_severity_and_the_latest_commit(self, store):
        store.findings.record([(A, "t", example_occurrence(1, severity="critical", commit="b" * 40))])
        (group,) = store.findings.record([(A, "t", example_occurrence(2, severity="warning", commit="c" * 40))]).groups
        assert (group.severity, group.commit) == ("critical", "c" * 40)
        (group,) = store.findings.record([(A, "t", example_occurrence(0, severity="error", commit="d" * 40))]).groups
        assert (group.severity, group.commit, group.first_at) == ("critical", "c" * 40, at(0))

    def test_only_the_newest_samples_are_kept_and_every_occurrence_is_counted(self, store):
        many = MAX_SAMPLES_PER_TEMPLATE * 2 + 5
        for number in range(0, many, MAX_SAMPLES_PER_CALL):
            numbers = range(number, min(number + MAX_SAMPLES_PER_CALL, many))
            batch = [(A, "t", example_occurrence(n)) for n in numbers]
            (group,) = store.findings.record(batch).groups
        assert group.count == many
        assert [item.at for item in group.samples] == [at(n) for n in range(many - MAX_SAMPLES_PER_TEMPLATE, many)]

    def test_of_a_storm_in_one_call_the_newest_few_are_kept_as_samples(self, store):
        storm = [(A, "t", example_occurrence(number)) for number in range(50)]
        store.findings.record([(A, "t", example_occurrence(0))])
        (group,) = store.findings.record(storm).groups
        assert group.count == 51
        assert [item.at for item in group.samples] == [at(0), *(at(n) for n in range(50 - MAX_SAMPLES_PER_CALL, 50))]

    def test_only_the_groups_that_are_wanted_are_returned(self, store):
        (group,) = store.findings.record([(B, "t", example_occurrence(0))]).groups
        finding = example_finding(group)
        store.findings.put_findings([(finding, example_entry("finding.opened"))])
        asked = []

        def wanted(standing):
            asked.append(standing)
            return standing.finding_state is None

        items = [(A, "t", example_occurrence(1)), (finding.group.key, "t", example_occurrence(2, severity="critical"))]
        (group,) = store.findings.record([*items, items[0]], wanted=wanted).groups
        assert (group.key, group.count) == (A, 2)
        assert asked == [
            GroupStanding(severity="error", count=2, finding_state=None),
            GroupStanding(
                severity="critical",
                count=finding.group.count + 1,
                finding_state=finding.state,
                finding_severity=finding.severity,
            ),
        ]

    def test_occurrences_since_a_moment_are_counted(self, store):
        store.findings.record(
            [(A, "t", example_occurrence(seconds)) for seconds in (0, 0.5, 1, 61, 3600)], source=AGENTS
        )
        store.findings.record([(A, "t", example_occurrence(61.25)), (B, "t", example_occurrence(70))], source=AGENTS)
        assert store.findings.count_since(A, at(-5)) == 6
        assert store.findings.count_since(A, at(1)) == 4
        assert store.findings.count_since(A, at(61)) == 3
        assert store.findings.count_since(A, at(3600)) == 1
        assert store.findings.count_since(A, at(3600.000001)) == 0
        assert store.findings.count_since(group_key("none"), at(0)) == 0

    def test_what_a_bot_tells_of_an_error_is_counted_and_is_no_evidence_of_when_it_occurred(self, store):
        """Else whoever may send telemetry decides whether a change mended what it should."""
        store.findings.record([(A, "t", example_occurrence(5))], source="bot-1")
        store.findings.record([(A, "t", example_occurrence(5.5))], source=AGENTS)
        (group,) = store.findings.record([(A, "t", example_occurrence(6))], source="bot-1").groups
        assert group.count == 3
        assert store.findings.count_since(A, at(0)) == 1

    def test_what_occurred_in_the_same_second_but_before_the_moment_does_not_count(self, store):
        store.findings.record([(A, "t", example_occurrence(seconds)) for seconds in (10.1, 10.2, 10.3)], source=AGENTS)
        assert store.findings.count_since(A, at(10.300001)) == 0
        assert store.findings.count_since(A, at(10.0)) == 3

    def test_all_time_counts_are_by_severity(self, store):
        store.findings.record(
            [(A, "t", example_occurrence(n, severity=word)) for n, word in enumerate(["error", "warning", "error"])]
        )
        store.findings.record([(B, "t", example_occurrence(9, severity="error"))])
        assert store.findings.error_counts() == {"error": 3, "warning": 1}


class TestFindings:
    def test_a_finding_is_new_once_and_again_when_its_state_changes(self, store):
        (group,) = store.findings.record([(A, "t", example_occurrence(0))]).groups
        finding = example_finding(group)
        entry = example_entry("finding.opened", subject=finding.id)
        assert list(store.findings.put_findings([(finding, entry)])) == [True]
        assert list(store.findings.put_findings([(replace(finding, title="Better words"), entry)])) == [False]
        assert store.findings.get_finding(finding.id).title == "Better words"
        resolved = replace(finding, state=FindingState.RESOLVED)
        assert list(store.findings.put_findings([(resolved, example_entry("finding.resolved"))])) == [True]
        assert [item.kind for item in store.ledger.entries()] == ["finding.opened", "finding.resolved"]

    def test_several_findings_are_stored_at_once_each_with_its_entry(self, store):
        groups = store.findings.record([(group_key(name), name, example_occurrence(0)) for name in "abc"]).groups
        made = [example_finding(group) for group in groups]
        entries = [example_entry("finding.opened", subject=finding.id) for finding in made]
        store.findings.put_findings([(made[1], entries[1])])
        assert list(store.findings.put_findings(list(zip(made, entries, strict=True)))) == [True, False, True]
        assert {finding.id for finding in store.findings.findings()} == {finding.id for finding in made}
        assert [item.subject for item in store.ledger.entries()] == [made[index].id for index in (1, 0, 2)]
        assert list(store.findings.put_findings([])) == []

    def test_a_finding_is_read_with_the_present_count_of_its_group(self, store):
        (group,) = store.findings.record([(A, "t", example_occurrence(0))]).groups
        finding = example_finding(group)
        store.findings.put_findings([(finding, example_entry("finding.opened"))])
        (group,) = store.findings.record([(A, "t", example_occurrence(3))]).groups
        assert store.findings.get_finding(finding.id) == replace(finding, group=group)
        assert [item.group.count for item in store.findings.findings()] == [2]

    def test_a_finding_brings_its_group_along_when_the_store_forgot_it(self, store):
        elsewhere = MemoryStore(clock=SteppingClock())
        (group,) = elsewhere.findings.record([(A, "t", example_occurrence(n)) for n in range(4)]).groups
        assert list(store.findings.put_findings([(example_finding(group), example_entry("finding.opened"))])) == [True]
        assert store.findings.get_finding(example_finding(group).id).group == group

    def test_findings_come_most_recent_first(self, store):
        groups = store.findings.record([(group_key(name), name, example_occurrence(0)) for name in "abc"]).groups
        for number, group in enumerate(groups):
            store.findings.put_findings(
                [(example_finding(group, found_at=at(number)), example_entry("finding.opened"))]
            )
        assert [item.found_at for item in store.findings.findings()] == [at(2), at(1), at(0)]
        assert [item.found_at for item in store.findings.findings(limit=1)] == [at(2)]

    def test_an_unknown_finding_is_none(self, store):
        assert store.findings.get_finding(FindingId("f-0000000000000000")) is None


class TestVitals:
    def test_ticks_read_back_by_the_time_they_ended(self, store):
        ticks = [example_tick(seconds) for seconds in (1, 2.5, 3)]
        assert store.vitals.latest() is None
        store.vitals.record_ticks(ticks[::-1])
        assert store.vitals.latest() == ticks[-1].end
        assert list(store.vitals.ticks(since=at(0), until=at(9))) == ticks
        assert list(store.vitals.ticks(since=at(1), until=at(2.5))) == [ticks[1]]

    def test_what_was_found_on_copies_reads_back_as_it_came_in(self, store):
        tick = example_canary_tick(1, percent=0, shadow=example_shadow_tick())
        store.canaries.record([tick, tick])
        assert [item for _, item in store.canaries.ticks(tick.change_id)] == [tick]

    def test_a_tick_that_is_sent_again_counts_once(self, store):
        tick = example_tick(1)
        store.vitals.record_ticks([tick, example_tick(2)])
        store.vitals.record_ticks([tick, example_tick(3), tick])
        assert list(store.vitals.ticks(since=at(0), until=at(9))) == [example_tick(n) for n in (1, 2, 3)]

    def test_two_parts_of_one_interval_are_two_ticks(self, store):
        parts = [example_tick(1), example_tick(1, errors_logged=9), example_tick(1, process_id="another")]
        store.vitals.record_ticks(parts[:1])
        store.vitals.record_ticks(parts[1:])
        assert list(store.vitals.ticks(since=at(0), until=at(9))) == parts

    def test_no_tick_is_no_tick(self, store):
        store.vitals.record_ticks([])
        assert list(store.vitals.ticks(since=at(0), until=at(9))) == []

    def test_a_missing_value_stays_missing(self, store):
        tick = example_tick(1, loop_lag_ms_max=None, memory_bytes=None, cpu_percent=0.0, routes={})
        store.vitals.record_ticks([tick])
        assert list(store.vitals.ticks(since=at(0), until=at(9))) == [tick]

    def test_the_whole_service_is_added_up_by_stretches_that_hold_what_ended_in_them(self, store):
        first = stretch_start(example_tick(1).end)
        at_s = [(first - START).total_seconds() + seconds for seconds in (1, STRETCH_S, STRETCH_S + 0.5)]
        ticks = [example_tick(seconds) for seconds in at_s]
        store.vitals.record_ticks([*ticks, replace(ticks[0], process_id="another", serves=True)])
        until = first + timedelta(seconds=2 * STRETCH_S)
        both = store.vitals.stretches(since=first, until=until)
        assert [item.start for item in both] == [first, first + timedelta(seconds=STRETCH_S)]
        assert (both[0].requests, both[0].errors, both[0].seconds, both[0].error_seconds) == (42, 6, 3.0, 3)
        assert both[0].latency == (6,) * (len(LATENCY_BOUNDS_MS) + 1)
        assert (both[0].serves, both[1].serves, both[1].requests) == (True, False, 14)
        assert store.vitals.stretches(since=first + timedelta(seconds=1), until=until) == both[1:]
        assert store.vitals.stretches(since=first, until=until - timedelta(seconds=1)) == both[:1]

    def test_stretches_count_once_what_is_sent_again_and_nothing_that_is_not_attested(self, store):
        tick = example_tick(1)
        store.vitals.record_ticks([tick, tick])
        store.vitals.record_ticks([tick, replace(tick, process_id=UNATTESTED + "x")])
        assert [item.requests for item in store.vitals.stretches(since=at(-60), until=at(60))] == [14]

    def test_old_stretches_are_forgotten_with_their_ticks(self, store):
        store.vitals.record_ticks([example_tick(seconds) for seconds in (1, 100)])
        store.vitals.prune(before=at(90))
        assert [item.requests for item in store.vitals.stretches(since=at(-60), until=at(200))] == [14]

    def test_old_ticks_are_forgotten_and_counted(self, store):
        store.vitals.record_ticks([example_tick(seconds) for seconds in (1, 2, 3)])
        assert store.vitals.prune(before=at(3)) == 2
        assert [tick.end for tick in store.vitals.ticks(since=at(0), until=at(9))] == [at(3)]
        assert store.vitals.prune(before=at(3)) == 0

    def test_pruning_forgets_when_errors_were_but_not_how_many(self, store):
        store.findings.record([(A, "t", example_occurrence(seconds)) for seconds in (0, 100)], source=AGENTS)
        store.vitals.prune(before=at(50))
        assert store.findings.count_since(A, at(0)) == 1
        assert store.findings.error_counts() == {"error": 2}


class TestCanaries:
    def test_ticks_of_a_change_read_back_as_they_came_in_and_on_from_any_of_them(self, store):
        ticks = [example_canary_tick(seconds, failed=2) for seconds in (3, 1, 2.5)]
        other = example_canary_tick(2, change_id=ProposalId("00000000-0000-4000-8000-000000000002"))
        store.canaries.record([*ticks[:2], other])
        known = store.canaries.ticks(ticks[0].change_id)
        assert [tick for _, tick in known] == ticks[:2]
        store.canaries.record(ticks[2:])
        assert [tick for _, tick in store.canaries.ticks(ticks[0].change_id, after=known[-1][0])] == ticks[2:]
        assert [tick for _, tick in store.canaries.ticks(other.change_id)] == [other]

    def test_what_was_found_on_copies_reads_back_as_it_came_in(self, store):
        tick = example_canary_tick(1, percent=0, shadow=example_shadow_tick())
        store.canaries.record([tick, tick])
        assert [item for _, item in store.canaries.ticks(tick.change_id)] == [tick]

    def test_a_tick_that_is_sent_again_counts_once(self, store):
        tick = example_canary_tick(1)
        store.canaries.record([tick, tick])
        store.canaries.record([tick, example_canary_tick(1, failed=1)])
        store.canaries.record([])
        assert len(store.canaries.ticks(tick.change_id)) == 2

    def test_old_ticks_are_forgotten_and_counted(self, store):
        store.canaries.record([example_canary_tick(seconds) for seconds in (1, 2, 3)])
        assert store.canaries.prune(before=at(3)) == 2
        ((_, left),) = store.canaries.ticks(example_canary_tick(0).change_id)
        assert left.end == at(3)
