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
from homeostat.core.errors import IntegrityFailure
from homeostat.testing.example_rows import START, example_entry

SIGNER = Ed25519Signer.generate()
COMMIT = "c" * 40


def chain(count, mark="ours"):
    heads = [EMPTY_HEAD]
    for number in range(count):
        draft = example_entry("test.done", body={"n": number, "mark": mark})
        heads.append(head_of(append(heads[-1], draft, at=START, sign=SIGNER.sign)))
    return heads


HEADS = chain(6)


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
        encode_head(HEADS[1])[:-20],
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
