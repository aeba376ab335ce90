"""What bounds the counting of errors: groups, samples and time."""

import pytest

from homeostat.adapters.keys import Ed25519Signer
from homeostat.adapters.store import SqlStore
from homeostat.core.limits import MAX_ERROR_TEMPLATES, MAX_SAMPLES_PER_TEMPLATE
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
            tmp_path / "h.sqlite",
            signer=Ed25519Signer.generate(),
            clock=SteppingClock(),
            head_path=tmp_path / "head.json",
        )
    yield opened
    opened.close()


def count(store, table):
    with store._database.reading() as connection:
        return connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar()


def test_a_flood_of_templates_drops_the_longest_unseen_but_none_with_a_finding(store):
    (first, _) = store.findings.record(
        [(group_key("kept"), "t", example_occurrence(0)), (group_key("gone"), "t", example_occurrence(1))]
    )
    store.findings.put_finding(example_finding(first), example_entry("finding.opened"))
    flood = [(group_key(f"flood {n}"), "t", example_occurrence(2 + n)) for n in range(MAX_ERROR_TEMPLATES)]
    touched = store.findings.record(flood)
    assert len(touched) == MAX_ERROR_TEMPLATES - 1
    assert store.findings.get_finding(example_finding(first).id) is not None
    assert store.findings.count_since(group_key("gone"), START) == 0
    assert store.findings.count_since(flood[0][0], START) == 0
    assert store.findings.count_since(flood[1][0], START) == 1
    assert store.findings.error_counts() == {"error": MAX_ERROR_TEMPLATES + 2}


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
class TestRowsInTheDatabase:
    def test_a_long_storm_takes_a_row_a_second_and_not_a_row_an_error(self, store):
        for _ in range(3):
            store.findings.record([(A, "t", example_occurrence(n / 100)) for n in range(1000)])
        assert count(store, "error_seconds") == 10
        assert count(store, "error_samples") == MAX_SAMPLES_PER_TEMPLATE
        assert store.findings.count_since(A, START) == 3000

    def test_a_second_that_the_moment_parts_is_counted_but_for_one(self, store):
        store.findings.record([(A, "t", example_occurrence(n / 10)) for n in range(10)])
        since = example_occurrence(0.85).at
        assert store.findings.count_since(A, since) == 9  # exact would be 1: more errors, never fewer
        assert store.findings.count_since(A, example_occurrence(0.95).at) == 0

    def test_pruning_leaves_no_second_behind(self, store):
        store.findings.record([(A, "t", example_occurrence(n)) for n in range(100)])
        store.vitals.prune(before=example_tick(90).end)
        assert count(store, "error_seconds") == 10

    def test_what_an_evicted_group_had_goes_with_it(self, store):
        store.findings.record([(A, "t", example_occurrence(0))])
        store.findings.record(
            [(group_key(f"flood {n}"), "t", example_occurrence(1)) for n in range(MAX_ERROR_TEMPLATES)]
        )
        for table in ("error_groups", "error_samples", "error_seconds"):
            assert count(store, table) == MAX_ERROR_TEMPLATES
