"""The witnesses of the ledger's head: what each disagreement means, and that none is overlooked."""

import json
from dataclasses import replace

import pytest

from homeostat.adapters.keys import Ed25519Signer
from homeostat.audit.chain import EMPTY_HEAD, append, head_of
from homeostat.audit.head import (
    HeadFault,
    compare_head,
    encode_head,
    parse_head,
    parse_trailer,
)
from homeostat.audit.restoration import Restoration
from homeostat.core.errors import IntegrityFailure
from homeostat.testing.example_rows import START, example_entry

SIGNER = Ed25519Signer.generate()
COMMIT = "c" * 40


def chain(count, mark="ours", since=0):
    """Return the heads of a ledger; from its entry `since` on it is another one than without that."""
    heads = [EMPTY_HEAD]
    for number in range(count):
        draft = example_entry(
            "test.done", body={"n": number, "mark": mark if number + 1 < since or not since else "new"}
        )
        heads.append(head_of(append(heads[-1], draft, at=START, sign=SIGNER.sign)))
    return heads


HEADS = chain(6)
OTHER = chain(6, since=4)


def compare(db_size, file_head, *trailers, heads=HEADS):
    hashes = {head.size: head.entry_hash for head in heads[1 : db_size + 1]}
    return compare_head(heads[db_size], file_head, trailers, hash_at=hashes.get, verify=SIGNER.verify)


def faults(report):
    return [item.fault for item in report.findings]


def test_a_head_file_reads_back_as_it_was_written():
    for head in (HEADS[0], HEADS[4]):
        assert parse_head(encode_head(head)) == head


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b"\xff\xfe",
        b" " * 5000,
        encode_head(HEADS[1]).rstrip()[:-20],
        json.dumps({**json.loads(encode_head(HEADS[1])), "size": "1"}).encode(),
        json.dumps({**json.loads(encode_head(HEADS[1])), "size": -1}).encode(),
        json.dumps({**json.loads(encode_head(HEADS[1])), "size": True}).encode(),
        json.dumps({**json.loads(encode_head(HEADS[1])), "size": 0}).encode(),
        json.dumps({**json.loads(encode_head(HEADS[1])), "format": 2}).encode(),
        json.dumps({**json.loads(encode_head(HEADS[1])), "entry_hash": "A" * 64}).encode(),
        json.dumps({**json.loads(encode_head(HEADS[1])), "signature": None}).encode(),
        json.dumps({**json.loads(encode_head(HEADS[1])), "more": 1}).encode(),
    ],
)
def test_anything_else_in_the_head_file_is_an_integrity_failure(data):
    with pytest.raises(IntegrityFailure) as failure:
        parse_head(data)
    assert failure.value.code == "ledger-head-unreadable"
    assert "homeostat verify" in failure.value.hint


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"more": 1}, "it is not a head file"),
        ({"format": 2}, "its format is not known here"),
        ({"size": "1"}, "its fields are not of their types"),
        ({"entry_hash": "A" * 64}, "its hash is not one"),
    ],
)
def test_what_is_wrong_with_a_head_file_is_said(change, why):
    with pytest.raises(IntegrityFailure) as failure:
        parse_head(json.dumps({**json.loads(encode_head(HEADS[1])), **change}).encode())
    assert failure.value.message == f"the ledger's head file cannot be read: {why}"


def test_a_file_that_is_too_long_for_a_head_is_none_even_if_it_reads_like_one():
    head = encode_head(HEADS[1])
    assert parse_head(head + b" " * 100) == HEADS[1]
    with pytest.raises(IntegrityFailure):
        parse_head(head + b" " * 100_000)


def restored_compare(*trailers):
    """A ledger that was restored to entry 3 when Git had seen 6, and went on to 5."""
    hashes = {head.size: head.entry_hash for head in OTHER[1:6]}
    return compare_head(
        OTHER[5],
        OTHER[5],
        trailers,
        hash_at=hashes.get,
        verify=SIGNER.verify,
        restored=[Restoration(kept=3, lost_to=6, tip=COMMIT)],
    )


def test_what_a_restoration_explains_is_no_finding():
    older = ("d" * 40, HEADS[4].trailer())
    report = restored_compare(("e" * 40, OTHER[5].trailer()), (COMMIT, HEADS[6].trailer()), older)
    assert (report.findings, report.trailers, report.head) == ((), 3, OTHER[5])


def test_what_a_restoration_does_not_explain_is_as_suspect_as_ever():
    later = ("e" * 40, HEADS[6].trailer())
    kept_differs = ("f" * 40, "2:" + "a" * 64)
    unreadable = ("9" * 40, "nonsense")
    report = restored_compare(later, (COMMIT, HEADS[6].trailer()), kept_differs, unreadable)
    assert [(item.fault, item.commit) for item in report.findings] == [
        (HeadFault.TRAILER_AHEAD, "e" * 40),
        (HeadFault.TRAILER_DIFFERS, "f" * 40),
        (HeadFault.TRAILER_UNREADABLE, "9" * 40),
    ]


def test_each_disagreement_says_who_saw_what():
    other = chain(6, mark="theirs")
    file, trailer, unreadable, gone = (
        compare(6, other[2]),
        compare(6, HEADS[6], (COMMIT, other[2].trailer())),
        compare(6, HEADS[6], (COMMIT, "nonsense")),
        compare_head(
            HEADS[6],
            HEADS[6],
            [(COMMIT, HEADS[2].trailer())],
            hash_at={6: HEADS[6].entry_hash}.get,
            verify=SIGNER.verify,
        ),
    )
    held, seen = HEADS[2].entry_hash[:12], other[2].entry_hash[:12]
    said = f"saw entry 2 as {seen}, but the database holds {held}: its history was rewritten"
    assert file.findings[0].detail == f"the head file {said}"
    assert trailer.findings[0].detail == f"status commit cccccccccccc {said}"
    assert unreadable.findings[0].detail == "status commit cccccccccccc carries no readable ledger head: 'nonsense'"
    assert "but the database holds none: its history" in gone.findings[0].detail
    assert compare(2, HEADS[6]).findings[0].detail == (
        f"the head file saw entry 6 ({HEADS[6].entry_hash[:12]}), but the database ends at 2: "
        "its end was cut off, or an older database was put back"
    )


def test_a_trailer_reads_back_what_the_head_writes():
    head = parse_trailer(HEADS[3].trailer())
    assert (head.size, head.entry_hash) == (3, HEADS[3].entry_hash)
    assert parse_trailer(EMPTY_HEAD.trailer()) == EMPTY_HEAD


@pytest.mark.parametrize(
    "value",
    [
        "",
        "3",
        "3:",
        "x:" + "a" * 64,
        "03:" + "a" * 64,
        "3:" + "A" * 64,
        "-1:" + "a" * 64,
        "0:" + "a" * 64,
        "3:" + "a" * 64 + " more",
        "3:" + "0" * 64,
        "99999999999999999:" + "a" * 64,
    ],
)
def test_a_trailer_of_another_form_is_none(value):
    assert parse_trailer(value) is None


def test_witnesses_that_agree_find_nothing():
    report = compare(
        6, HEADS[6], (COMMIT, HEADS[6].trailer()), (COMMIT, HEADS[2].trailer()), (COMMIT, HEADS[0].trailer())
    )
    assert (report.findings, report.lag, report.tampering, report.trailers) == ((), None, (), 3)


@pytest.mark.parametrize("behind", [0, 1, 5])
def test_a_file_that_knows_less_lags_and_is_no_tampering(behind):
    report = compare(6, HEADS[behind])
    assert faults(report) == [HeadFault.FILE_BEHIND]
    assert report.lag is not None
    assert report.tampering == ()


def test_a_missing_file_is_lag_and_with_an_empty_database_nothing():
    assert faults(compare(1, None)) == [HeadFault.FILE_MISSING]
    assert compare(1, None).tampering == ()
    assert compare(0, None).findings == ()


@pytest.mark.parametrize("size", [0, 3, 5])
def test_a_file_that_knows_more_says_that_the_end_was_cut_off(size):
    report = compare(size, HEADS[6])
    assert faults(report) == [HeadFault.FILE_AHEAD]
    assert report.tampering == report.findings
    assert f"saw entry 6 ({HEADS[6].entry_hash[:12]}), but the database ends at {size}" in report.findings[0].detail


@pytest.mark.parametrize("size", [2, 6])
def test_a_file_with_another_hash_at_its_size_says_that_history_was_rewritten(size):
    report = compare(6, chain(6, mark="theirs")[size])
    assert faults(report) == [HeadFault.FILE_DIFFERS]
    assert "rewritten" in report.tampering[0].detail


@pytest.mark.parametrize("change", [{"signature": ""}, {"signature": HEADS[3].signature}, {"size": 7}, {"size": 2}])
def test_a_file_whose_signature_does_not_fit_is_forged_whatever_it_claims(change):
    assert faults(compare(6, replace(HEADS[4], **change))) == [HeadFault.FILE_FORGED]


def test_a_trailer_that_knows_more_than_the_database_names_its_commit():
    report = compare(4, HEADS[4], (COMMIT, HEADS[5].trailer()), ("d" * 40, HEADS[4].trailer()))
    assert faults(report) == [HeadFault.TRAILER_AHEAD]
    assert report.tampering[0].commit == COMMIT
    assert "status commit cccccccccccc" in report.tampering[0].detail


def test_a_database_and_file_restored_together_are_found_by_the_trailers_alone():
    report = compare(2, HEADS[2], *((COMMIT, head.trailer()) for head in HEADS))
    assert faults(report) == [HeadFault.TRAILER_AHEAD] * 4


def test_a_trailer_with_another_hash_is_found():
    theirs = chain(6, mark="theirs")
    assert faults(compare(6, HEADS[6], (COMMIT, theirs[2].trailer()))) == [HeadFault.TRAILER_DIFFERS]


def test_a_trailer_that_cannot_be_read_is_not_passed_over():
    assert faults(compare(6, HEADS[6], (COMMIT, "6"))) == [HeadFault.TRAILER_UNREADABLE]


def test_a_hole_in_the_database_is_not_taken_for_agreement():
    hashes = {head.size: head.entry_hash for head in HEADS if head.size not in (0, 3)}
    report = compare_head(HEADS[6], HEADS[3], [(COMMIT, HEADS[3].trailer())], hash_at=hashes.get, verify=SIGNER.verify)
    assert faults(report) == [HeadFault.FILE_DIFFERS, HeadFault.TRAILER_DIFFERS]
