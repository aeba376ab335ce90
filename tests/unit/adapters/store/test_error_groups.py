"""What bounds the counting of errors: groups, samples and time."""

import pytest
from empty_database import put_empty_database

from homeostat.adapters.keys import Ed25519Signer
from homeostat.adapters.store import SqlStore
from homeostat.core.limits import MAX_BATCHES_REMEMBERED, MAX_ERROR_TEMPLATES, MAX_SAMPLES_PER_TEMPLATE
from homeostat.model.finding import AGENTS, CodeLocation
from homeostat.testing.example_rows import (
    START,
    SteppingClock,
    example_entry,
    example_finding,
    example_occurrence,
    example_tick,
    group_key,
)
from homeostat.testing.memory_store import MemoryStore

A = group_key("a")


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    if request.param == "memory":
        opened = MemoryStore(clock=SteppingClock())
    else:
        opened = SqlStore.open(
            put_empty_database(tmp_path / "h.sqlite"),
            signer=Ed25519Signer.generate(),
            clock=SteppingClock(),
            head_path=tmp_path / "head.json",
        )
    yield opened
    opened.close()


def count(store, table):
    with store._database.reading() as connection:
        return connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar()


def flood_of(number, *, source, since=2.0, **changes):
    """Return that many unlike errors, as `source` might send them in one batch."""
    return [(group_key(f"{source} {n}"), "t", example_occurrence(since + n / 1000, **changes)) for n in range(number)]


def test_a_flood_of_templates_drops_the_longest_unseen_but_none_with_a_finding(store):
    (first, _) = store.findings.record(
        [(group_key("kept"), "t", example_occurrence(0)), (group_key("gone"), "t", example_occurrence(1))],
        source=AGENTS,
    ).groups
    store.findings.put_findings([(example_finding(first), example_entry("finding.opened"))])
    flood = flood_of(MAX_ERROR_TEMPLATES, source="")
    touched = store.findings.record(flood, source=AGENTS).groups
    assert MAX_ERROR_TEMPLATES * 0.9 < len(touched) < MAX_ERROR_TEMPLATES
    assert store.findings.get_finding(example_finding(first).id) is not None
    assert store.findings.count_since(group_key("gone"), START) == 0
    assert store.findings.count_since(flood[0][0], START) == 0
    assert store.findings.count_since(flood[-1][0], START) == 1
    assert store.findings.error_counts() == {"error": MAX_ERROR_TEMPLATES + 2}


def test_a_flood_of_one_sender_pushes_out_its_own_errors_and_nobody_elses(store):
    honest = [(group_key(f"honest {n}"), "t", example_occurrence(0)) for n in range(100)]
    attested = (group_key("attested"), "t", example_occurrence(0))
    store.findings.record([attested], source="agent-bot")  # the imitator came first
    store.findings.record([attested], source=AGENTS)
    store.findings.record(honest, source="agent-honest")
    store.findings.record(flood_of(MAX_ERROR_TEMPLATES + 500, source="agent-bot"), source="agent-bot")
    groups = store.findings.record([*honest, attested], source="agent-honest").groups
    assert [group.count for group in groups] == [2] * 100 + [3]


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_a_line_that_logs_a_strangers_words_pushes_out_its_own_errors_and_not_those_of_the_same_program(store):
    honest = [
        (group_key(f"h {n}"), "t", example_occurrence(0, location=CodeLocation(path="a.py", function=f"f{n}", line=1)))
        for n in range(50)
    ]
    store.findings.record(honest, source=AGENTS)
    store.findings.record(flood_of(2 * MAX_ERROR_TEMPLATES, source="visitor"), source=AGENTS)
    assert [group.count for group in store.findings.record(honest, source=AGENTS).groups] == [2] * 50


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
class TestRowsInTheDatabase:
    def test_a_long_storm_takes_a_row_a_second_and_not_a_row_an_error(self, store):
        for _ in range(6):
            store.findings.record([(A, "t", example_occurrence(n / 100)) for n in range(500)], source=AGENTS)
            store.findings.record([(A, "t", example_occurrence(n / 100)) for n in range(500, 1000)], source=AGENTS)
        assert count(store, "error_seconds") == 10
        assert count(store, "error_samples") == MAX_SAMPLES_PER_TEMPLATE
        assert store.findings.count_since(A, START) == 6000

    def test_a_second_that_the_moment_parts_is_counted_but_for_one(self, store):
        store.findings.record([(A, "t", example_occurrence(n / 10)) for n in range(10)], source=AGENTS)
        since = example_occurrence(0.85).at
        assert store.findings.count_since(A, since) == 9  # exact would be 1: more errors, never fewer
        assert store.findings.count_since(A, example_occurrence(0.95).at) == 0

    def test_pruning_leaves_no_second_behind(self, store):
        store.findings.record([(A, "t", example_occurrence(n)) for n in range(100)], source=AGENTS)
        store.vitals.prune(before=example_tick(90).end)
        assert count(store, "error_seconds") == 10

    def test_what_an_evicted_group_had_goes_with_it(self, store):
        store.findings.record([(A, "t", example_occurrence(0))], source=AGENTS)
        store.findings.record(
            [(group_key(f"flood {n}"), "t", example_occurrence(1)) for n in range(MAX_ERROR_TEMPLATES)],
            source=AGENTS,
        )
        left = count(store, "error_groups")
        assert MAX_ERROR_TEMPLATES * 0.9 < left < MAX_ERROR_TEMPLATES
        assert [count(store, table) for table in ("error_samples", "error_seconds")] == [left, left]

    def test_only_the_newest_batches_are_remembered(self, store):
        for number in range(6):
            with store._database.writing() as connection:
                connection.exec_driver_sql(
                    f"INSERT INTO error_batches (id, digest) VALUES ({10_000 * number + 1}, 'old{number}')"
                )
        store.findings.record([(A, "t", example_occurrence(0))], batch=group_key("new"))
        assert count(store, "error_batches") == MAX_BATCHES_REMEMBERED // 10_000 + 1
