"""The chain: how an entry is made, and that nothing in it can be changed unseen."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from msgspec import structs

from homeostat.adapters.keys import Ed25519Signer
from homeostat.audit.chain import (
    EMPTY_HEAD,
    MAX_BODY_BYTES,
    ZERO_HASH,
    ChainBroken,
    ChainFault,
    ChainIntact,
    append,
    entry_bytes,
    first_format_bytes,
    head_of,
    head_statement,
    parse_utc_text,
    utc_text,
    verify_integrity,
)
from homeostat.core.errors import Bug, InvalidInput
from homeostat.testing.example_rows import START, example_entry

SIGNER = Ed25519Signer.generate()
STRANGER = Ed25519Signer.generate()


def chain(count, *, signer=SIGNER, start=EMPTY_HEAD, mark="m"):
    entries, head = [], start
    for number in range(count):
        draft = example_entry("test.done", subject=f"s-{number}", body={"n": number, "mark": mark})
        entries.append(append(head, draft, at=START + timedelta(seconds=number), sign=signer.sign))
        head = head_of(entries[-1])
    return entries


def verify(entries, **options):
    return verify_integrity(entries, verify=SIGNER.verify, **options)


def test_an_entry_is_the_next_number_linked_to_the_head_and_signed():
    first, second = chain(2)
    assert (first.seq, first.prev_hash) == (1, ZERO_HASH)
    assert (second.seq, second.prev_hash) == (2, first.entry_hash)
    assert SIGNER.verify(f"homeostat-ledger-head/v1\n2\n{second.entry_hash}\n".encode(), second.signature)


def test_the_hashed_bytes_are_canonical_json_of_everything_but_hash_and_signature():
    (entry,) = chain(1)
    assert entry_bytes(entry, "") == (
        b'{"actor":"person-0123456789ab","at":"2026-01-05T09:30:00.000000Z","body":{"mark":"m","n":0},'
        b'"format":2,"kind":"test.done","prev_hash":"' + b"0" * 64 + b'","prev_signature":"","seq":1,"subject":"s-0"}'
    )
    assert entry.entry_hash == hashlib.sha256(entry_bytes(entry, "")).hexdigest()


def test_what_is_signed_names_its_purpose_so_that_no_other_signature_passes_for_it():
    assert head_statement(7, "ab") == b"homeostat-ledger-head/v1\n7\nab\n"


def test_a_whole_chain_verifies_and_says_how_much_it_saw():
    entries = chain(5)
    assert verify(entries) == ChainIntact(head=head_of(entries[-1]), checked=5)
    assert verify(iter(entries)) == ChainIntact(head=head_of(entries[-1]), checked=5)


def test_a_chain_verifies_from_a_head_that_is_trusted():
    entries = chain(5)
    assert verify(entries[3:], start=head_of(entries[2])) == ChainIntact(head=head_of(entries[-1]), checked=2)


def test_no_entries_are_intact_but_count_as_nothing():
    assert verify([]) == ChainIntact(head=EMPTY_HEAD, checked=0)


def test_a_clock_that_steps_back_is_no_tampering():
    first = append(EMPTY_HEAD, example_entry("a.b"), at=START, sign=SIGNER.sign)
    second = append(head_of(first), example_entry("a.b"), at=START - timedelta(days=1), sign=SIGNER.sign)
    assert verify([first, second]) == ChainIntact(head=head_of(second), checked=2)


ALTERATIONS = {
    "seq": 4,
    "at_text": utc_text(START + timedelta(microseconds=1)),
    "kind": "test.other",
    "actor": "person-ffffffffffff",
    "subject": "other",
    "body_text": '{"mark":"x","n":1}',
    "prev_hash": "1" * 64,
    "entry_hash": "1" * 64,
    "signature": STRANGER.sign(b"x"),
}


@pytest.mark.parametrize("field", ALTERATIONS)
@pytest.mark.parametrize("place", [0, 2, 4])
def test_every_altered_field_of_any_entry_is_found_there(field, place):
    entries = chain(5)
    altered = structs.replace(entries[place], **{field: ALTERATIONS[field] if field != "seq" else 9})
    report = verify([*entries[:place], altered, *entries[place + 1 :]])
    assert isinstance(report, ChainBroken)
    assert report.seq == place + 1
    assert report.intact == (head_of(entries[place - 1]) if place else EMPTY_HEAD)


@pytest.mark.parametrize(
    ("altered", "fault"),
    [
        ({"subject": "x"}, ChainFault.HASH),
        ({"prev_hash": "2" * 64}, ChainFault.LINK),
        ({"seq": 8}, ChainFault.NUMBER),
        ({"signature": ""}, ChainFault.SIGNATURE),
        ({"signature": "é"}, ChainFault.SIGNATURE),
        ({"at_text": "2026-01-05T09:30:01Z"}, ChainFault.HASH),
        ({"body_text": '{"mark": "m","n":1}'}, ChainFault.HASH),
        ({"body_text": "no JSON"}, ChainFault.HASH),
        ({"body_text": '{"x":"\ud800"}'}, ChainFault.MALFORMED),
    ],
)
def test_the_report_names_what_is_wrong(altered, fault):
    entries = chain(3)
    report = verify([entries[0], structs.replace(entries[1], **altered), entries[2]])
    assert isinstance(report, ChainBroken)
    assert (report.seq, report.fault) == (2, fault)
    assert report.detail.startswith("entry 2")
    if fault is ChainFault.MALFORMED:
        assert report.detail == "entry 2 cannot be encoded: UnicodeEncodeError"


@pytest.mark.parametrize("order", [[0, 2], [1, 2], [0, 2, 1], [0, 1, 1, 2], [2, 1, 0]])
def test_missing_swapped_and_repeated_entries_are_found(order):
    entries = chain(3)
    assert isinstance(verify([entries[number] for number in order]), ChainBroken)


def test_an_entry_that_was_altered_and_hashed_anew_fails_at_its_signature():
    entries = chain(3)
    forged = _hashed_anew(structs.replace(entries[1], body_text='{"mark":"forged","n":1}'), entries[0].signature)
    report = verify([entries[0], forged, entries[2]])
    assert isinstance(report, ChainBroken)
    assert (report.seq, report.fault) == (2, ChainFault.SIGNATURE)


def test_a_chain_signed_by_another_key_fails_at_its_first_entry():
    report = verify(chain(3, signer=STRANGER))
    assert isinstance(report, ChainBroken)
    assert (report.seq, report.fault) == (1, ChainFault.SIGNATURE)


def test_entries_appended_without_the_key_fail():
    entries = chain(3)
    report = verify([*entries, *chain(1, signer=STRANGER, start=head_of(entries[-1]))])
    assert isinstance(report, ChainBroken)
    assert report.seq == 4


def test_an_entry_of_another_ledger_of_the_same_key_does_not_fit():
    ours, theirs = chain(3), chain(3, mark="theirs")
    assert isinstance(verify([ours[0], theirs[1], ours[2]]), ChainBroken)


def test_a_signature_moved_from_another_entry_does_not_fit():
    entries = chain(3)
    assert isinstance(
        verify([entries[0], structs.replace(entries[1], signature=entries[0].signature), entries[2]]), ChainBroken
    )


def test_a_signature_spelled_otherwise_does_not_count():
    """Base64 leaves bits of its last digit unused: the same bytes have several spellings."""
    (entry,) = chain(1)
    body, tail = entry.signature[:-3], entry.signature[-3]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    spelled = body + letters[letters.index(tail) | 1] + "=="
    assert spelled != entry.signature
    assert isinstance(verify([structs.replace(entry, signature=spelled)]), ChainBroken)
    assert isinstance(verify([structs.replace(entry, signature=entry.signature + "\n")]), ChainBroken)


def _hashed_anew(entry, prev_signature):
    return structs.replace(entry, entry_hash=hashlib.sha256(entry_bytes(entry, prev_signature)).hexdigest())


class TestOneSignatureForMany:
    """Only every so many signatures are checked; what that leaves an attacker without the key."""

    LONG = 2_500

    def test_a_long_chain_needs_few(self):
        asked = []
        entries = chain(self.LONG)
        report = verify_integrity(entries, verify=lambda *args: asked.append(args) or SIGNER.verify(*args))
        assert report == ChainIntact(head=head_of(entries[-1]), checked=self.LONG)
        assert len(asked) == 3

    @pytest.mark.parametrize("place", [0, 1, 998, 999, 1000, 1001, 2498, 2499])
    @pytest.mark.parametrize("field", ["signature", "subject"])
    def test_an_altered_field_is_found_at_its_entry_wherever_it_is(self, place, field):
        entries = chain(self.LONG)
        entries[place] = structs.replace(entries[place], **{field: ALTERATIONS[field]})
        report = verify(entries)
        assert isinstance(report, ChainBroken)
        assert (report.seq, report.intact.size) == (place + 1, place)
        assert report.fault is (ChainFault.SIGNATURE if field == "signature" else ChainFault.HASH)

    @pytest.mark.parametrize("place", [3, 999, 1000, 1700])
    def test_a_history_rewritten_from_some_entry_on_fails_there(self, place):
        """Whoever lacks the key can compute every hash and link anew, and sign with a key of their own."""
        entries = chain(self.LONG)[:place]
        report = verify([*entries, *chain(self.LONG - place, signer=STRANGER, start=head_of(entries[-1]))])
        assert isinstance(report, ChainBroken)
        assert (report.seq, report.fault, report.intact) == (place + 1, ChainFault.SIGNATURE, head_of(entries[-1]))

    def test_signatures_of_the_key_that_were_moved_about_are_found(self):
        entries = chain(5)
        entries[1], entries[2] = (
            structs.replace(entries[1], signature=entries[2].signature),
            structs.replace(entries[2], signature=entries[1].signature),
        )
        report = verify(entries)
        assert isinstance(report, ChainBroken)
        assert (report.seq, report.fault) == (2, ChainFault.SIGNATURE)

    def test_a_good_signature_at_the_end_does_not_save_a_forged_one_before(self):
        """The last signature vouches for the signatures before it, because each entry binds the one before."""
        entries = chain(5)
        for forged in ("", STRANGER.sign(b"x"), entries[1].signature[:-1]):
            altered = [*entries[:2], structs.replace(entries[2], signature=forged), *entries[3:]]
            assert isinstance(verify(altered), ChainBroken)


def first_format(count):
    """Return a chain as it was made before entries bound the signature of the one before."""
    entries, head = [], EMPTY_HEAD
    for number in range(count):
        made = append(head, example_entry("test.done", body={"n": number}), at=START, sign=SIGNER.sign)
        entry_hash = hashlib.sha256(first_format_bytes(made)).hexdigest()
        signature = SIGNER.sign(head_statement(made.seq, entry_hash))
        entries.append(structs.replace(made, entry_hash=entry_hash, signature=signature))
        head = head_of(entries[-1])
    return entries


class TestTheFirstFormat:
    def test_its_bytes_are_those_that_old_ledgers_were_hashed_from(self):
        second = first_format(2)[1]
        assert first_format_bytes(second) == (
            b'{"actor":"person-0123456789ab","at":"2026-01-05T09:30:00.000000Z","body":{"n":1},"format":1,'
            b'"kind":"test.done","prev_hash":"' + second.prev_hash.encode() + b'","seq":2,"subject":"s-1"}'
        )

    def test_a_ledger_that_began_with_it_verifies_and_goes_on_in_the_new_one(self):
        old = first_format(3)
        entries = [*old, *chain(3, start=head_of(old[-1]))]
        assert verify(old) == ChainIntact(head=head_of(old[-1]), checked=3)
        assert verify(entries) == ChainIntact(head=head_of(entries[-1]), checked=6)

    @pytest.mark.parametrize("place", [0, 1, 2, 3, 4])
    @pytest.mark.parametrize("field", ALTERATIONS)
    def test_every_altered_field_is_found_at_its_entry(self, field, place):
        old = first_format(3)
        entries = [*old, *chain(2, start=head_of(old[-1]))]
        entries[place] = structs.replace(entries[place], **{field: ALTERATIONS[field] if field != "seq" else 9})
        report = verify(entries)
        assert isinstance(report, ChainBroken)
        assert report.seq == place + 1

    def test_it_cannot_come_back_after_an_entry_of_the_new_one(self):
        """Else the signature of the entry before could be exchanged unseen."""
        entries = chain(2)
        made = append(head_of(entries[-1]), example_entry("test.done"), at=START, sign=SIGNER.sign)
        entry_hash = hashlib.sha256(first_format_bytes(made)).hexdigest()
        old = structs.replace(made, entry_hash=entry_hash, signature=SIGNER.sign(head_statement(3, entry_hash)))
        report = verify([*entries, old])
        assert isinstance(report, ChainBroken)
        assert (report.seq, report.fault) == (3, ChainFault.HASH)


class TestWhatAppendRefuses:
    @pytest.mark.parametrize(
        "body", [{"x": 0.5}, {"x": float("nan")}, {"x": b""}, {"x": 2**53}, {"x": "\ud800"}, {1: 2}]
    )
    def test_a_body_without_canonical_form(self, body):
        with pytest.raises(InvalidInput) as refused:
            append(EMPTY_HEAD, example_entry("a.b", body=body), at=START, sign=SIGNER.sign)
        assert refused.value.code == "not-canonical"

    def test_a_body_that_is_too_large(self):
        with pytest.raises(InvalidInput) as refused:
            append(EMPTY_HEAD, example_entry("a.b", body={"x": "y" * MAX_BODY_BYTES}), at=START, sign=SIGNER.sign)
        assert refused.value.code == "entry-too-large"
        assert str(MAX_BODY_BYTES) in refused.value.message
        largest = example_entry("a.b", body={"x": "y" * (MAX_BODY_BYTES - len('{"x":""}'))})
        assert verify([append(EMPTY_HEAD, largest, at=START, sign=SIGNER.sign)]).checked == 1

    @pytest.mark.parametrize("kind", ["", "approved", "Proposal.approved", "proposal.", "proposal approved", "a.b\n"])
    def test_a_kind_that_is_not_dotted_lower_case(self, kind):
        with pytest.raises(InvalidInput) as refused:
            append(EMPTY_HEAD, example_entry(kind), at=START, sign=SIGNER.sign)
        assert (refused.value.code, repr(kind) in refused.value.message) == ("bad-entry-kind", True)

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"actor": ""}, "bad-entry"),
            ({"subject": "x" * 501}, "bad-entry"),
            ({"subject": "\udfff"}, "not-canonical"),
            ({"actor": "\udfff"}, "not-canonical"),
        ],
    )
    def test_an_actor_or_subject_that_is_none(self, changes, code):
        with pytest.raises(InvalidInput) as refused:
            append(EMPTY_HEAD, replace(example_entry("a.b"), **changes), at=START, sign=SIGNER.sign)
        assert refused.value.code == code

    def test_nothing_about_the_longest_subject(self):
        longest = example_entry("a.b", subject="x" * 500)
        assert append(EMPTY_HEAD, longest, at=START, sign=SIGNER.sign).subject == "x" * 500

    def test_a_time_without_zone_is_our_own_mistake(self):
        with pytest.raises(Bug):
            append(EMPTY_HEAD, example_entry("a.b"), at=datetime(2026, 1, 1), sign=SIGNER.sign)  # noqa: DTZ001


def test_the_callers_body_may_change_afterwards_without_harm():
    body = {"list": [1, 2]}
    entry = append(EMPTY_HEAD, example_entry("a.b", body=body), at=START, sign=SIGNER.sign)
    body["list"].append(3)
    assert entry.body == {"list": [1, 2]}
    assert verify([entry]).checked == 1


def test_times_of_other_zones_are_written_in_utc():
    at = datetime(2026, 7, 1, 1, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert utc_text(at) == "2026-06-30T20:00:00.000000Z"
    entry = append(EMPTY_HEAD, example_entry("a.b"), at=at, sign=SIGNER.sign)
    assert entry.at == at
    assert json.loads(entry_bytes(entry, ""))["at"] == "2026-06-30T20:00:00.000000Z"


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.000000+00:00",
        "2026-01-01T00:00:00.000000",
        "2026-01-01T02:00:00.000000+02:00",
        "2026-01-01 00:00:00.000000Z",
        "20260101T000000.000000Z",
        "2026-01-01T00:00:00.000000z",
        "",
    ],
)
def test_only_one_spelling_of_a_time_is_read(text):
    with pytest.raises(ValueError):
        parse_utc_text(text)


@pytest.mark.parametrize("at", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), START])
def test_a_time_reads_back_as_it_was_written(at):
    assert parse_utc_text(utc_text(at)) == at
