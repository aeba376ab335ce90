"""What every store promises, whichever it is: run on the one in memory and on the one in SQLite."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from homeostat.audit.chain import EMPTY_HEAD, ChainIntact, head_of, verify_integrity
from homeostat.core.digests import digest_bytes
from homeostat.core.errors import Conflict, InvalidInput, NotFound
from homeostat.core.ids import ActorId, ProposalId
from homeostat.model.actor import Actor, Role
from homeostat.model.proposal import ProposalState
from homeostat.ports.store import (
    ActorStore,
    FindingStore,
    LedgerStore,
    ProposalStore,
    RecordStore,
    VitalsStore,
)
from homeostat.testing.example_rows import (
    START,
    example_entry,
    example_proposal,
    group_key,
    move_entry,
)

A, B = group_key("a"), group_key("b")


def insert(store, proposal):
    return store.proposals.insert(proposal, move_entry(proposal, "submitted", proposal.state))


def at(seconds):
    return START + timedelta(seconds=seconds)


def test_both_stores_have_the_methods_of_the_ports(store):
    ports = {
        "proposals": ProposalStore,
        "records": RecordStore,
        "ledger": LedgerStore,
        "findings": FindingStore,
        "vitals": VitalsStore,
        "actors": ActorStore,
    }
    for name, port in ports.items():
        for method in (item for item in vars(port) if not item.startswith("_")):
            assert callable(getattr(getattr(store, name), method))


class TestProposals:
    def test_a_row_reads_back_as_it_was_inserted_with_its_entry_in_the_ledger(self, store):
        proposal = example_proposal()
        entry = insert(store, proposal)
        assert store.proposals.get(proposal.id) == proposal
        assert list(store.ledger.entries()) == [entry]
        assert (entry.seq, entry.subject, entry.body["to"]) == (1, proposal.id, "pending")

    def test_an_unknown_row_is_none(self, store):
        assert store.proposals.get(example_proposal().id) is None

    def test_inserting_an_id_again_is_a_conflict_and_writes_no_entry(self, store):
        insert(store, example_proposal())
        with pytest.raises(Conflict) as refused:
            insert(store, example_proposal(title="Another"))
        assert refused.value.code == "proposal-exists"
        assert store.ledger.head().size == 1
        assert store.proposals.get(example_proposal().id).title == "Change number 1"

    def test_a_save_counts_the_version_up_and_writes_its_entry(self, store):
        proposal = example_proposal()
        insert(store, proposal)
        moved = replace(proposal, state=ProposalState.VALIDATING)
        saved = store.proposals.save(moved, move_entry(proposal, "validating", ProposalState.VALIDATING))
        assert saved == replace(moved, version=2)
        assert store.proposals.get(proposal.id) == saved
        assert store.ledger.entries()[-1].body["to"] == "validating"

    def test_a_stale_save_is_a_conflict_and_writes_neither_row_nor_entry(self, store):
        proposal = example_proposal()
        insert(store, proposal)
        store.proposals.save(replace(proposal, title="First"), None)
        with pytest.raises(Conflict) as refused:
            store.proposals.save(replace(proposal, title="Second"), example_entry("proposal.noted"))
        assert refused.value.code == "stale-row"
        assert store.proposals.get(proposal.id).title == "First"
        assert store.ledger.head().size == 1

    def test_saving_what_was_never_inserted_is_not_found(self, store):
        with pytest.raises(NotFound):
            store.proposals.save(example_proposal(), example_entry("proposal.noted"))
        assert store.ledger.head() == EMPTY_HEAD

    def test_an_entry_that_cannot_be_written_takes_the_row_with_it(self, store):
        proposal = example_proposal()
        with pytest.raises(InvalidInput):
            store.proposals.insert(proposal, example_entry("proposal.submitted", body={"share": 0.5}))
        assert store.proposals.get(proposal.id) is None
        insert(store, proposal)
        with pytest.raises(InvalidInput):
            store.proposals.save(replace(proposal, title="New"), example_entry("not-dotted"))
        assert store.proposals.get(proposal.id) == proposal
        assert store.records.pending_records() == [(proposal.id, 1)]

    def test_rows_are_found_newest_first_by_state_prefix_and_page(self, store):
        rows = [example_proposal(number) for number in range(1, 6)]
        rows[3] = replace(rows[3], state=ProposalState.BLOCKED)
        for row in rows:
            insert(store, row)
        newest = rows[::-1]
        assert list(store.proposals.find()) == newest
        assert list(store.proposals.find(limit=2, offset=1)) == newest[1:3]
        assert list(store.proposals.find(states=frozenset({ProposalState.BLOCKED}))) == [rows[3]]
        assert list(store.proposals.find(states=frozenset())) == []
        assert list(store.proposals.find(prefix="00000003")) == [rows[2]]
        assert list(store.proposals.find(prefix="%")) == []
        assert list(store.proposals.find(prefix="0")) == newest
        assert list(store.proposals.find(limit=0)) == []

    def test_rows_are_counted_by_state(self, store):
        for number in (1, 2):
            insert(store, example_proposal(number))
        insert(store, example_proposal(3, state=ProposalState.REVERTED))
        assert store.proposals.count_by_state() == {ProposalState.PENDING: 2, ProposalState.REVERTED: 1}

    def test_every_row_with_a_diff_is_found_by_it_newest_first(self, store):
        first = example_proposal(1)
        again = replace(example_proposal(2), change=first.change, diff=first.diff)
        for row in (first, again, example_proposal(3)):
            insert(store, row)
        assert list(store.proposals.find_by_diff(first.change.diff_digest)) == [again, first]
        assert list(store.proposals.find_by_diff(digest_bytes(b"none"))) == []


class TestRecords:
    def test_each_change_with_an_entry_is_pending_until_it_is_recorded(self, store):
        proposal = example_proposal()
        insert(store, proposal)
        assert store.records.pending_records() == [(proposal.id, 1)]
        store.records.mark_recorded(proposal.id, 1)
        assert store.records.pending_records() == []
        store.proposals.save(proposal, example_entry("proposal.noted"))
        assert store.records.pending_records() == [(proposal.id, 2)]

    def test_a_change_without_an_entry_is_not_pending(self, store):
        proposal = example_proposal()
        insert(store, proposal)
        store.records.mark_recorded(proposal.id, 1)
        store.proposals.save(proposal, None)
        assert store.records.pending_records() == []

    def test_recording_an_older_version_leaves_the_newer_one_pending(self, store):
        proposal = example_proposal()
        insert(store, proposal)
        store.proposals.save(proposal, example_entry("proposal.noted"))
        store.records.mark_recorded(proposal.id, 1)
        assert store.records.pending_records() == [(proposal.id, 2)]
        store.records.mark_recorded(proposal.id, 2)
        store.records.mark_recorded(proposal.id, 1)
        assert store.records.pending_records() == []

    def test_what_lags_longest_comes_first(self, store):
        first, second = example_proposal(1), example_proposal(2)
        insert(store, first)
        insert(store, second)
        store.proposals.save(first, example_entry("proposal.noted"))
        assert [item[0] for item in store.records.pending_records()] == [first.id, second.id]
        store.records.mark_recorded(first.id, 2)
        store.proposals.save(replace(first, version=2), example_entry("proposal.noted"))
        assert [item[0] for item in store.records.pending_records()] == [second.id, first.id]

    def test_a_version_that_is_yet_to_come_cannot_be_marked(self, store):
        proposal = example_proposal()
        insert(store, proposal)
        with pytest.raises(Conflict):
            store.records.mark_recorded(proposal.id, 2)
        assert store.records.pending_records() == [(proposal.id, 1)]

    def test_an_unknown_proposal_cannot_be_marked(self, store):
        with pytest.raises(NotFound):
            store.records.mark_recorded(example_proposal().id, 1)


class TestLedger:
    def test_an_empty_ledger_has_the_empty_head(self, store):
        assert store.ledger.head() == EMPTY_HEAD
        assert list(store.ledger.entries()) == []

    def test_entries_are_numbered_linked_signed_and_read_in_order(self, store, signer):
        written = [store.ledger.append(example_entry("test.done", body={"n": number})) for number in range(5)]
        assert list(store.ledger.entries()) == written
        assert list(store.ledger.entries(after=2, limit=2)) == written[2:4]
        report = verify_integrity(store.ledger.entries(), verify=signer.verify)
        assert report == ChainIntact(head=store.ledger.head(), checked=5)
        assert store.ledger.head() == head_of(written[-1])

    def test_the_entries_about_one_subject_are_read_in_order_and_no_others(self, store):
        subjects = ["a", "b", "a", "c", "a", "a"]
        written = [store.ledger.append(example_entry("test.done", subject=subject)) for subject in subjects]
        mine = [entry for entry in written if entry.subject == "a"]
        assert list(store.ledger.entries(subject="a")) == mine
        assert list(store.ledger.entries(subject="a", after=mine[0].seq, limit=2)) == mine[1:3]
        assert list(store.ledger.entries(subject="nobody")) == []
        assert list(store.ledger.entries(subject="")) == []

    def test_what_append_returns_is_what_is_read_back_whatever_the_body_was_made_of(self, store):
        body = {"b": ("x", 1, None, True), "a": {"ü\u2028": ['"\\\x00\x7f']}}
        entry = store.ledger.append(example_entry("test.done", body=body))
        assert list(store.ledger.entries()) == [entry]

    def test_many_threads_at_once_leave_one_unbroken_chain(self, store, signer):
        rows = [example_proposal(number) for number in range(1, 9)]

        def work(row):
            insert(store, row)
            for _ in range(5):
                row = store.proposals.save(row, example_entry("proposal.noted", subject=row.id))
                store.proposals.find(limit=3)

        threads = [threading.Thread(target=work, args=(row,)) for row in rows]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        report = verify_integrity(store.ledger.entries(), verify=signer.verify)
        assert report == ChainIntact(head=store.ledger.head(), checked=48)
        assert {row.version for row in store.proposals.find()} == {6}

    def test_of_two_writers_with_the_same_version_one_wins(self, store):
        insert(store, example_proposal())
        results = []
        gate = threading.Barrier(4)

        def work(name):
            gate.wait(timeout=30)
            try:
                store.proposals.save(example_proposal(title=name), example_entry("proposal.noted"))
                results.append("won")
            except Conflict:
                results.append("lost")

        threads = [threading.Thread(target=work, args=(f"T{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert sorted(results) == ["lost", "lost", "lost", "won"]
        assert store.ledger.head().size == 2


class TestListing:
    def test_pages_go_on_behind_the_last_row_of_any_listing(self, store):
        states = [ProposalState.PENDING, ProposalState.REJECTED, ProposalState.BLOCKED]
        rows = [example_proposal(number, state=states[number % 3]) for number in range(1, 13)]
        for row in rows:
            insert(store, row)
        for wanted in (None, frozenset(states[:2]), frozenset(states[2:]), frozenset({ProposalState.FAILED})):
            whole = list(store.proposals.find(states=wanted))
            assert [row.id for row in whole] == [
                row.id
                for row in sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)
                if wanted is None or row.state in wanted
            ]
            paged, last = [], None
            while page := store.proposals.find(states=wanted, limit=2, after=last):
                paged += page
                last = page[-1]
            assert paged == whole
            assert list(store.proposals.find(states=wanted, limit=3, offset=1)) == whole[1:4]

    def test_tallies_follow_every_change_of_state(self, store):
        def counted():
            return {(item.month, item.state.value): item.count for item in store.records.tallies()}

        assert counted() == {}
        for number in (1, 2):
            insert(store, example_proposal(number))
        month = example_proposal().created_at.strftime("%Y/%m")
        assert counted() == {(month, "pending"): 2}
        moved = replace(example_proposal(1), state=ProposalState.VALIDATING)
        store.proposals.save(moved, move_entry(example_proposal(1), "validating", ProposalState.VALIDATING))
        assert counted() == {(month, "pending"): 1, (month, "validating"): 1}
        assert store.proposals.count_by_state() == {ProposalState.PENDING: 1, ProposalState.VALIDATING: 1}
        with pytest.raises(Conflict):
            store.proposals.save(moved, move_entry(example_proposal(1), "validating", ProposalState.VALIDATING))
        assert counted() == {(month, "pending"): 1, (month, "validating"): 1}


class TestActors:
    OWNER = Actor(id=ActorId("person-0123456789ab"), role=Role.OWNER, name="Ada")
    BOT = Actor(id=ActorId("agent-0123456789ab"), role=Role.AGENT, name="bot")

    def test_an_actor_is_found_by_its_token_and_id(self, store):
        store.actors.create(actor=self.OWNER, token_digest=digest_bytes(b"one"))
        assert store.actors.by_token(digest_bytes(b"one")) == self.OWNER
        assert store.actors.by_token(digest_bytes(b"two")) is None
        assert store.actors.get(self.OWNER.id) == self.OWNER
        assert store.actors.get(self.BOT.id) is None

    def test_actors_are_listed_by_role(self, store):
        store.actors.create(actor=self.OWNER, token_digest=digest_bytes(b"one"))
        store.actors.create(actor=self.BOT, token_digest=digest_bytes(b"two"))
        assert list(store.actors.list_actors()) == [self.BOT, self.OWNER]
        assert list(store.actors.list_actors(role=Role.OWNER)) == [self.OWNER]

    def test_neither_id_nor_token_is_used_twice(self, store):
        store.actors.create(actor=self.OWNER, token_digest=digest_bytes(b"one"))
        for actor, token in ((self.OWNER, b"two"), (self.BOT, b"one")):
            with pytest.raises(Conflict):
                store.actors.create(actor=actor, token_digest=digest_bytes(token))
        assert list(store.actors.list_actors()) == [self.OWNER]

    def test_an_erased_name_is_gone_with_its_token_and_the_ledger_still_verifies(self, store, signer):
        store.actors.create(actor=self.OWNER, token_digest=digest_bytes(b"one"))
        store.ledger.append(example_entry("proposal.approved", actor=self.OWNER.id))
        store.actors.erase_name(self.OWNER.id)
        assert store.actors.get(self.OWNER.id) == replace(self.OWNER, name=None)
        assert store.actors.by_token(digest_bytes(b"one")) is None
        assert isinstance(verify_integrity(store.ledger.entries(), verify=signer.verify), ChainIntact)
        store.actors.erase_name(self.OWNER.id)

    def test_an_unknown_name_cannot_be_erased(self, store):
        with pytest.raises(NotFound):
            store.actors.erase_name(self.OWNER.id)


def test_an_id_is_kept_as_text_and_never_as_a_number(store):
    proposal = example_proposal(id=ProposalId("00000000-0000-0000-0000-000000000000"))
    insert(store, proposal)
    assert store.proposals.get(proposal.id) == proposal
