"""Evidence: what a worker saw of a proof, as an in-toto Statement v1 in a DSSE envelope that it signed.

The subjects are the diff (by its digest) and the base and the candidate (by commit and tree); the predicate says how
both runs went, in what environment, under which policy. Outcomes of single tests and outputs stand in the
proposal's row; here are their digests. That the diff leads from base to candidate is the word of the hub that asked.

The key is written as a verifier key of signed notes. Nothing here needs more than the standard library and what
`homeostat.audit.notes` needs.
"""

import base64
import binascii
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from homeostat.audit.dsse import pae
from homeostat.audit.notes import NoteKey
from homeostat.core import canonical_json
from homeostat.core.canonical_json import JsonValue
from homeostat.core.digests import digest_bytes
from homeostat.core.errors import IntegrityFailure
from homeostat.model.proof import ProofSubject

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:homeostat:proof:v1"

EVIDENCE_DIGEST, EVIDENCE_KEY = "evidence_digest", "evidence_key"
"""Keys in the body of the ledger entry of a proof: the digest of the envelope, and the key that signed it."""

MAX_ENVELOPE_CHARS = 1 << 20


class Run(Protocol):
    """What is attested of a run (`homeostat.model.proof.TestRun`)."""

    @property
    def exit_code(self) -> int | None: ...
    @property
    def timed_out(self) -> bool: ...
    @property
    def duration_ms(self) -> int: ...
    @property
    def outcomes(self) -> Mapping[str, str]: ...
    @property
    def output_tail(self) -> str: ...
    @property
    def ran_from_candidate(self) -> bool | None: ...
    @property
    def problem(self) -> str: ...


def worker_key(public_key: str) -> NoteKey:
    """Return a worker's public key, given in base64, as it stands in the ledger."""
    public = base64.b64decode(public_key)
    return NoteKey.of(f"homeostat-worker/{hashlib.sha256(public).hexdigest()[:16]}", public)


def statement(
    subject: ProofSubject,
    *,
    trees: tuple[str, str],
    base: Run,
    candidate: Run,
    environment: Mapping[str, JsonValue],
    timings: Mapping[str, JsonValue],
) -> bytes:
    """Return the statement of a worker that saw both runs, as canonical JSON. `trees` are of base and candidate."""
    return canonical_json.encode(
        {
            "_type": STATEMENT_TYPE,
            "subject": [
                {"name": "diff", "digest": {"sha256": subject.diff_digest.removeprefix("sha256:")}},
                {"name": "base", "digest": {"gitCommit": subject.base, "gitTree": trees[0]}},
                {"name": "candidate", "digest": {"gitCommit": subject.candidate, "gitTree": trees[1]}},
            ],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "change": {"digest": subject.change_digest},
                "policy": {"digest": subject.policy_digest},
                "environment": dict(environment),
                "runs": {"base": run_facts(base), "candidate": run_facts(candidate)},
                "timings": dict(timings),
            },
        }
    )


def run_facts(run: Run) -> dict[str, JsonValue]:
    """Return what is attested of a run."""
    counts = Counter(run.outcomes.values())
    outcomes = canonical_json.encode(dict(run.outcomes))
    return {
        "exit_code": run.exit_code,
        "timed_out": run.timed_out,
        "duration_ms": run.duration_ms,
        "outcomes": {"digest": digest_bytes(outcomes), **{word: counts[word] for word in sorted(counts)}},
        "output_digest": digest_bytes(run.output_tail.encode("utf-8", "surrogatepass")),
        "changed_modules_loaded": run.ran_from_candidate,
        "problem": run.problem,
    }


def sign_envelope(payload: bytes, *, public_key: str, sign: Callable[[bytes], str]) -> str:
    """Return the DSSE envelope of a statement; key and signature are base64, as with `Signer`."""
    signature = {"keyid": str(worker_key(public_key)), "sig": sign(pae(PAYLOAD_TYPE, payload))}
    encoded = base64.b64encode(payload).decode("ascii")
    return canonical_json.encode({"payload": encoded, "payloadType": PAYLOAD_TYPE, "signatures": [signature]}).decode(
        "ascii"
    )


def open_envelope(envelope: str, key: NoteKey) -> Mapping[str, Any]:
    """Return the statement that this key signed; `IntegrityFailure` (``evidence-not-signed``) for anything else."""
    try:
        fields: Any = json.loads(envelope) if len(envelope) <= MAX_ENVELOPE_CHARS else None
        signature = fields["signatures"][0]
        payload = _decoded(fields["payload"])
        expected = {
            "payload": fields["payload"],
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": str(key), "sig": signature["sig"]}],
        }
        # One envelope has one spelling, so that no byte of it can be another one.
        if canonical_json.encode(expected) != envelope.encode("utf-8"):
            raise _unsigned("it is not an envelope of this key")
        if not key.verifies(pae(PAYLOAD_TYPE, payload), _decoded(signature["sig"])):
            raise _unsigned("the signature does not hold")
        said = json.loads(payload)
        if said["_type"] != STATEMENT_TYPE or said["predicateType"] != PREDICATE_TYPE:
            raise _unsigned("it is no statement about a proof")
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise _unsigned(f"it cannot be read ({type(error).__name__})") from None
    return dict(said)


def read_subject(said: Mapping[str, Any]) -> tuple[ProofSubject, tuple[str, str]]:
    """Return what a statement is of, and the trees of base and candidate. `IntegrityFailure` when it does not say."""
    try:
        diff, base, candidate = (item["digest"] for item in said["subject"])
        predicate = said["predicate"]
        subject = ProofSubject(
            diff_digest="sha256:" + diff["sha256"],
            change_digest=predicate["change"]["digest"],
            policy_digest=predicate["policy"]["digest"],
            base=base["gitCommit"],
            candidate=candidate["gitCommit"],
        )
        return subject, (base["gitTree"], candidate["gitTree"])
    except (ValueError, KeyError, TypeError) as error:
        raise _unsigned(f"its subjects cannot be read ({type(error).__name__})") from None


def evidence_fault(envelope: str, *, key: NoteKey, subject: ProofSubject, base: Run, candidate: Run) -> str:
    """Say why an envelope does not attest these runs of this change; empty when it does."""
    if not envelope:
        return "the worker signed nothing"
    try:
        said = open_envelope(envelope, key)
        attested, _ = read_subject(said)
    except IntegrityFailure as error:
        return error.message
    if attested != subject:
        return "what the worker signed is about another change"
    runs = {"base": run_facts(base), "candidate": run_facts(candidate)}
    if said["predicate"].get("runs") != runs:
        return "what the worker signed is about other runs"
    return ""


def _decoded(text: str) -> bytes:
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode("ascii") != text:
        raise binascii.Error("spare bits")
    return raw


def _unsigned(why: str) -> IntegrityFailure:
    return IntegrityFailure("evidence-not-signed", f"this is no evidence of the worker: {why}")
