"""Writes of many threads in one transaction: who is served with whom, and what fails with what."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from homeostat.adapters.keys import Ed25519Signer
from homeostat.adapters.store import SqlStore
from homeostat.adapters.store.together import Together
from homeostat.core.errors import InvalidInput, OutcomeUnknown, Unavailable
from homeostat.improvement.findings import decide, may_change
from homeostat.testing.example_rows import START, SteppingClock, example_entry, example_occurrence, group_key

DEADLINE_S = 30


class Desk:
    """Work that holds its first round until all the others wait, and fails as its orders say."""

    def __init__(self, at_most=16):
        self.rounds = []
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.together = Together(self.work, at_most=at_most)

    def work(self, orders):
        self.rounds.append(list(orders))
        if len(self.rounds) == 1:
            self.begun.set()
            assert self.go_on.wait(DEADLINE_S)
        for order in orders:
            if isinstance(order, BaseException):
                raise order
        return [f"did {order}" for order in orders]

    def serve(self, first, later):
        """Return what each got: an answer or an error. All of `later` wait while `first` is being done."""
        with ThreadPoolExecutor(len(later) + 1) as pool:
            futures = [pool.submit(self.together.do, first)]
            assert self.begun.wait(DEADLINE_S)
            for count, order in enumerate(later, start=1):
                futures.append(pool.submit(self.together.do, order))
                while len(self.together._queue) < count:
                    assert not futures[-1].done()
            self.go_on.set()
            return [future.exception(DEADLINE_S) or future.result() for future in futures]


def test_who_waits_while_another_writes_is_served_with_all_who_wait():
    desk = Desk()
    assert desk.serve("a", list("bcd")) == ["did a", "did b", "did c", "did d"]
    assert desk.rounds == [["a"], ["b", "c", "d"]]
    assert desk.together.do("later") == "did later"


def test_no_round_takes_more_than_it_may_and_those_left_over_are_served_in_their_order():
    desk = Desk(at_most=2)
    assert desk.serve("a", list("bcdef")) == [f"did {name}" for name in "abcdef"]
    assert desk.rounds == [["a"], ["b", "c"], ["d", "e"], ["f"]]


def test_an_order_that_fails_by_its_own_fault_fails_alone():
    bad = InvalidInput("not-storable", "a lone surrogate")
    desk = Desk()
    assert desk.serve("a", ["b", bad, "c"]) == ["did a", "did b", bad, "did c"]
    assert desk.rounds == [["a"], ["b", bad, "c"], ["b"], [bad], ["c"]]


@pytest.mark.parametrize("error", [Unavailable("disk-full", "full"), OutcomeUnknown("commit-unknown", "?")])
def test_when_the_disk_fails_all_of_the_round_are_told_and_nothing_is_done_again(error):
    desk = Desk()
    assert desk.serve("a", ["b", error, "c"]) == ["did a", error, error, error]
    assert len(desk.rounds) == 2
    assert desk.together.do("later") == "did later"


def test_errors_of_many_senders_at_once_are_each_counted_once_and_make_each_finding_once(tmp_path):
    store = SqlStore.open(
        tmp_path / "h.sqlite", signer=Ed25519Signer.generate(), clock=SteppingClock(), head_path=tmp_path / "head.json"
    )
    start = threading.Barrier(8)

    def decided(group, existing):
        finding = decide(group, floor=3, now=START, existing=existing)
        return finding and (finding, example_entry("finding.opened", subject=finding.id))

    def send(sender):
        start.wait(DEADLINE_S)
        found = []
        for number in range(10):
            items = [(group_key(name), "t", example_occurrence(number)) for name in "abc"]
            for _ in range(2):  # what is sent again is not counted again, whoever is served with it
                done = store.findings.record(
                    items,
                    batch=group_key(f"{sender} {number}"),
                    wanted=lambda standing: may_change(standing, floor=3),
                    decide=decided,
                )
                found.extend(done.findings)
        return found

    with ThreadPoolExecutor(8) as pool:
        found = [finding for each in pool.map(send, range(8)) for finding in each]
    assert sorted(finding.group.key for finding in found) == sorted(map(group_key, "abc"))
    assert [finding.group.count for finding in store.findings.findings()] == [80] * 3
    assert store.findings.error_counts() == {"error": 240}
    assert len(store.ledger.entries()) == 3
    store.close()


def test_a_request_that_cannot_be_stored_takes_none_of_the_others_with_it(tmp_path):
    store = SqlStore.open(
        tmp_path / "h.sqlite", signer=Ed25519Signer.generate(), clock=SteppingClock(), head_path=tmp_path / "head.json"
    )
    bad = (group_key("bad"), "\ud800", example_occurrence(0))
    good = (group_key("good"), "t", example_occurrence(0))
    start = threading.Barrier(8)

    def send(number):
        start.wait(DEADLINE_S)
        for _ in range(10):
            if number % 2:
                store.findings.record([good])
            else:
                with pytest.raises(InvalidInput):
                    store.findings.record([good, bad])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(8)))
    assert store.findings.error_counts() == {"error": 40}
    store.close()
