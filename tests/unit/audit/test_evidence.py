"""Evidence: what a worker signed counts as it is, for the change it is of, and in no other way."""

import base64
import json
from dataclasses import fields, replace

import pytest

from homeostat.adapters.keys import Ed25519Signer
from homeostat.audit.dsse import pae
from homeostat.audit.evidence import (
    PAYLOAD_TYPE,
    evidence_fault,
    open_envelope,
    read_subject,
    sign_envelope,
    statement,
    worker_key,
)
from homeostat.core.errors import IntegrityFailure
from homeostat.model.proof import ProofSubject
from homeostat.testing.fake_prover import test_run as run_of

SIGNER, OTHER = Ed25519Signer.from_seed(b"1" * 32), Ed25519Signer.from_seed(b"2" * 32)
KEY = worker_key(SIGNER.public_key())
SUBJECT = ProofSubject(
    diff_digest="sha256:" + "1" * 64,
    change_digest="sha256:" + "2" * 64,
    policy_digest="sha256:" + "3" * 64,
    base="a" * 40,
    candidate="b" * 40,
)
RED, GREEN = run_of({"t::a": "failed", "t::b": "passed"}), run_of({"t::a": "passed", "t::b": "passed"})


def said(subject=SUBJECT, base=RED, candidate=GREEN):
    return statement(subject, trees=("c" * 40, "d" * 40), base=base, candidate=candidate, environment={}, timings={})


def signed(payload=None, signer=SIGNER):
    return sign_envelope(payload or said(), public_key=signer.public_key(), sign=signer.sign)


def fault(envelope, **changes):
    given = {"key": KEY, "subject": SUBJECT, "base": RED, "candidate": GREEN, **changes}
    return evidence_fault(envelope, **given)


def test_what_the_worker_signed_counts_and_says_what_was_run():
    envelope = signed()
    assert fault(envelope) == ""
    opened = open_envelope(envelope, KEY)
    assert read_subject(opened) == (SUBJECT, ("c" * 40, "d" * 40))
    runs = opened["predicate"]["runs"]
    assert (runs["base"]["outcomes"]["failed"], runs["candidate"]["outcomes"]["passed"]) == (1, 2)
    assert opened["_type"] == "https://in-toto.io/Statement/v1"


def test_any_altered_byte_of_an_envelope_is_found():
    raw = signed().encode()
    for place in range(len(raw)):
        for bit in (1, 0x20):
            altered = raw[:place] + bytes([raw[place] ^ bit]) + raw[place + 1 :]
            assert fault(altered.decode("utf-8", "replace")), (place, bit)


@pytest.mark.parametrize(
    "envelope", ["", "{}", "null", "[]", "[" * 5000, '{"payload":"","payloadType":"","signatures":[]}', "x" * 2_000_000]
)
def test_what_is_no_envelope_counts_for_nothing(envelope):
    assert fault(envelope)


def test_another_key_counts_for_nothing_even_under_the_workers_name():
    assert "not an envelope of this key" in fault(signed(signer=OTHER))
    forged = json.loads(signed())
    forged["signatures"][0]["sig"] = OTHER.sign(pae(PAYLOAD_TYPE, base64.b64decode(forged["payload"])))
    assert "does not hold" in fault(json.dumps(forged, separators=(",", ":"), sort_keys=True))


@pytest.mark.parametrize("name", [item.name for item in fields(ProofSubject)])
def test_evidence_of_another_change_does_not_count(name):
    other = replace(SUBJECT, **{name: getattr(SUBJECT, name)[:-1] + "f"})
    assert "another change" in fault(signed(said(other)))


@pytest.mark.parametrize("other", [RED, replace(GREEN, exit_code=2), replace(GREEN, output_tail="else"), run_of({})])
def test_evidence_of_other_runs_does_not_count(other):
    assert "other runs" in fault(signed(), candidate=other)


@pytest.mark.parametrize(
    "altered", [{"_type": "x"}, {"predicateType": "x"}, {"subject": []}, {"subject": "x"}, {"predicate": {}}]
)
def test_a_signed_statement_of_another_form_does_not_count(altered):
    payload = json.dumps({**json.loads(said()), **altered}).encode()
    assert fault(signed(payload))
    with pytest.raises(IntegrityFailure):
        read_subject(open_envelope(signed(payload), KEY))
