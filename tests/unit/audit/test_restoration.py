"""A recorded restoration explains exactly what it says it does, and nothing beside it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from homeostat.adapters.keys import Ed25519Signer
from homeostat.audit.chain import EMPTY_HEAD, append, head_of
from homeostat.audit.restoration import RESTORED, Explained, Restoration, restoration_entry, restorations
from homeostat.testing.example_rows import PERSON, START, example_entry

SIGNER = Ed25519Signer.generate()
OLD, TIP, LATER = "a" * 40, "b" * 40, "c" * 40
KNOWN = Restoration(kept=3, lost_to=7, tip=TIP)


def ledger(*drafts):
    entries, head = [], EMPTY_HEAD
    for number, draft in enumerate(drafts):
        entries.append(append(head, draft, at=START + timedelta(seconds=number), sign=SIGNER.sign))
        head = head_of(entries[-1])
    return entries


def after_three(**changes):
    """Three kept entries, the record of a restoration with these changes, and one more."""
    record = restoration_entry(KNOWN, made_at="2026-01-05T09:30:00Z", by=PERSON)
    body = {name: value for name, value in {**record.body, **changes}.items() if value is not None}
    return ledger(*[example_entry()] * 3, replace(record, body=body), example_entry())


def test_the_record_says_what_was_kept_and_lost_where_git_stood_and_who_did_it():
    record = restoration_entry(KNOWN, made_at="2026-01-05T09:30:00Z", by=PERSON)
    assert (record.kind, record.actor, record.subject) == ("ledger.restored", PERSON, "")
    assert record.body == {"kept": 3, "lost_to": 7, "tip": TIP, "made_at": "2026-01-05T09:30:00Z"}
    assert restoration_entry(replace(KNOWN, tip=None), made_at="", by=PERSON).body["tip"] == ""


def test_a_restoration_is_read_out_of_the_ledger_as_it_was_recorded():
    assert restorations(after_three()) == (KNOWN,)
    assert restorations(after_three(tip="")) == (replace(KNOWN, tip=None),)


def test_every_restoration_is_read():
    again = restoration_entry(Restoration(kept=5, lost_to=9, tip=LATER), made_at="", by=PERSON)
    drafts = [*[example_entry()] * 3, restoration_entry(KNOWN, made_at="", by=PERSON), example_entry(), again]
    assert [found.lost_to for found in restorations(ledger(*drafts))] == [7, 9]


@pytest.mark.parametrize(
    "changes",
    [
        {"kept": 2},
        {"kept": 4},
        {"kept": 5},
        {"kept": "3"},
        {"kept": None},
        {"lost_to": "7"},
        {"lost_to": None},
        {"tip": 7},
        {"tip": None},
    ],
)
def test_one_that_stands_elsewhere_than_it_says_or_says_it_in_another_form_explains_nothing(changes):
    assert restorations(after_three(**changes)) == ()


def test_an_entry_of_another_kind_is_none_whatever_it_says():
    record = restoration_entry(KNOWN, made_at="", by=PERSON)
    assert restorations(ledger(*[example_entry()] * 3, replace(record, kind=f"{RESTORED}.later"))) == ()


@pytest.mark.parametrize(("seen", "explained"), [(3, False), (4, True), (7, True), (8, False)])
def test_what_was_lost_is_explained_from_its_first_entry_to_its_last(seen, explained):
    assert Explained([KNOWN]).explains(TIP, seen) is explained


def test_a_status_commit_is_explained_if_it_is_the_tip_or_older():
    asked = Explained([KNOWN])
    assert [asked.explains(commit, 5) for commit in (LATER, TIP, OLD, OLD)] == [False, True, True, True]


def test_a_restoration_without_a_tip_explains_no_commit():
    assert not Explained([replace(KNOWN, tip=None)]).explains(TIP, 5)
    assert not Explained([]).explains(TIP, 5)


def test_each_of_two_restorations_explains_its_own_from_its_own_tip_on():
    second = Restoration(kept=8, lost_to=9, tip=LATER)
    asked = Explained([KNOWN, second])
    assert [asked.explains(LATER, seen) for seen in (5, 9)] == [False, True]
    assert [asked.explains(TIP, seen) for seen in (5, 9, 8)] == [True, True, False]
