"""A change's whole story in one file, and what of it holds: for whoever has nothing else but the ledger's public key.

A bundle is canonical JSON: ``format``, ``proposal`` (its id), ``checkpoint`` (a signed note), ``entries`` (each with
its number, what was hashed of it, and its inclusion proof), ``row`` (the proposal's row, as it is digested) and
``commits`` (id → the raw commit, base64). `verify_bundle` checks, in this order:

1. It is a bundle, in the one spelling that it can have.
2. The checkpoint is signed by the ledger's key.
3. Every entry is in the tree that the checkpoint signs, and belongs to the story.
4. The entries lead from the submission to a last state, each to the next version: none in between was left out.
5. The row is the one that its last entry was written with.
6. The diff is the one of every entry of its revision, and the change is that diff on that base under that policy.
7. The proof was signed by a worker whose key the ledger names, for exactly this change.
8. What was applied was approved before, as that change, by a person to whom the ledger gives that right.
9. The commits are those that the entries name, each on its parent, and the tree that was applied is the proved one.

Every byte is bound by one of them. What a bundle cannot show is that nothing came *after* its last entry: that is for
a later one to say. Nothing is imported but `homeostat.core`, the neighbours that say what is signed and shown, and
the vocabulary of a proof; `tests/unit/cli/test_bundle.py` holds it to that.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from homeostat.audit.checkpoint import Checkpoint, entry_leaf, open_checkpoint
from homeostat.audit.evidence import EVIDENCE_DIGEST, EVIDENCE_KEY, open_envelope, read_subject
from homeostat.audit.merkle import verify_inclusion
from homeostat.audit.notes import NoteKey
from homeostat.core import canonical_json
from homeostat.core.digests import digest_bytes
from homeostat.core.errors import HomeostatError, IntegrityFailure

FORMAT = "homeostat-bundle/1"
MAX_BYTES = 64 << 20

ROW_COLUMNS = ("id", "state", "version", "diff_digest", "created_us", "updated_us", "finding_id", "document")
"""What of a row is digested into the entry that was written with it."""

_PARTS = {"format", "proposal", "checkpoint", "entries", "row", "commits"}
_ENTRY_PARTS = {"seq", "said", "proof"}
_COMMIT_KEYS = ("base_commit", "before", "commit", "parent", "revert_commit")
_APPLIED = frozenset({"applying", "canary", "observing", "awaiting_restart", "implemented", "reverting", "reverted"})
_HEX_OF_SHA1 = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleCheck:
    """One numbered check and its answer."""

    number: int
    name: str
    ok: bool
    detail: str


@dataclass(slots=True)
class _Story:
    """What the checks have made of a bundle so far. Only what an earlier check let pass is in it."""

    raw: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    entries: list[Mapping[str, Any]] = field(default_factory=list)
    moves: list[Mapping[str, Any]] = field(default_factory=list)
    document: Mapping[str, Any] = field(default_factory=dict)
    trees: tuple[str, str] = ("", "")
    """Of the base and the candidate that were proved."""

    proved_base: str = ""


class _WrongError(Exception):
    """What a check found; told in its detail."""


def verify_bundle(data: bytes, key: NoteKey) -> tuple[BundleCheck, ...]:
    """Run the checks in order, up to the first that fails: what comes after would rest on it."""
    story = _Story()
    steps: tuple[tuple[str, Callable[[], str]], ...] = (
        ("bundle readable", lambda: _read(story, data)),
        ("checkpoint", lambda: _check_checkpoint(story, key)),
        ("entries", lambda: _check_entries(story)),
        ("life", lambda: _check_life(story)),
        ("row", lambda: _check_row(story)),
        ("diff", lambda: _check_diff(story)),
        ("evidence", lambda: _check_evidence(story)),
        ("approval", lambda: _check_approval(story)),
        ("commits", lambda: _check_commits(story)),
    )
    checks: list[BundleCheck] = []
    for number, (name, step) in enumerate(steps, 1):
        try:
            checks.append(BundleCheck(number=number, name=name, ok=True, detail=step()))
        except _WrongError as wrong:
            checks.append(BundleCheck(number=number, name=name, ok=False, detail=str(wrong)))
        except HomeostatError as error:
            checks.append(BundleCheck(number=number, name=name, ok=False, detail=error.message))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            detail = f"it has another form than a bundle's ({type(error).__name__})"
            checks.append(BundleCheck(number=number, name=name, ok=False, detail=detail))
        if not checks[-1].ok:
            break
    return tuple(checks)


def holds(checks: Sequence[BundleCheck]) -> bool:
    """Tell whether the whole story holds: every check was made, and none failed."""
    return bool(checks) and all(check.ok for check in checks)


def encode_bundle(
    *,
    proposal: str,
    checkpoint: str,
    entries: Sequence[tuple[int, bytes, Sequence[bytes]]],
    row: Mapping[str, Any],
    commits: Mapping[str, bytes],
) -> bytes:
    """Return a bundle of these parts; whether its story holds is for `verify_bundle` to say."""
    return canonical_json.encode(
        {
            "format": FORMAT,
            "proposal": proposal,
            "checkpoint": checkpoint,
            "entries": [
                {"seq": seq, "said": said.decode("utf-8"), "proof": [_encoded(one) for one in proof]}
                for seq, said, proof in entries
            ],
            "row": {name: row[name] for name in ROW_COLUMNS},
            "commits": {name: _encoded(raw) for name, raw in commits.items()},
        }
    )


def named_commits(bodies: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Return every commit that the entries with these bodies name."""
    return frozenset(
        str(body[name]) for body in bodies for name in _COMMIT_KEYS if isinstance(body.get(name), str) and body[name]
    )


def _read(story: _Story, data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise _WrongError(f"it has more than {MAX_BYTES >> 20} MB")
    raw = json.loads(data)
    if not isinstance(raw, dict) or set(raw) != _PARTS or raw["format"] != FORMAT:
        raise _WrongError(f"it is no bundle of the format {FORMAT}")
    # INVARIANT: what is signed and shown below is bound byte by byte; so nothing may stand between, or twice.
    if canonical_json.encode(raw) != data:
        raise _WrongError("it is not spelled as a bundle is: something was added, or written in another way")
    if set(raw["row"]) != set(ROW_COLUMNS) or any(set(item) != _ENTRY_PARTS for item in raw["entries"]):
        raise _WrongError("it has parts that a bundle has not, or lacks some")
    story.raw = raw
    return f"the story of {raw['proposal']}"


def _check_checkpoint(story: _Story, key: NoteKey) -> str:
    note = story.raw["checkpoint"]
    story.checkpoint = open_checkpoint(note, key)
    if note.count("\n— ") != 1:
        raise _WrongError("it has signatures beside that of the ledger's key, which say nothing here")
    return f"signed by {key.name}, over {story.checkpoint.size} entries"


def _check_entries(story: _Story) -> str:
    checkpoint = story.checkpoint
    assert checkpoint is not None, "the check before has opened it"
    last = 0
    for item in story.raw["entries"]:
        seq, said = item["seq"], item["said"].encode("utf-8")
        if type(seq) is not int or seq <= last:
            raise _WrongError(f"entry {seq} does not come after {last}")
        leaf = entry_leaf(hashlib.sha256(said).hexdigest())
        proof = [_decoded(one) for one in item["proof"]]
        verify_inclusion(seq - 1, checkpoint.size, leaf, proof, checkpoint.root)
        entry = json.loads(said)
        if entry["seq"] != seq:
            raise _WrongError(f"entry {seq} says that it is {entry['seq']}")
        story.entries.append(entry)
        last = seq
    proposal = story.raw["proposal"]
    story.moves = [entry for entry in story.entries if entry["subject"] == proposal and "to" in entry["body"]]
    people = {entry["actor"] for entry in story.moves}
    known = {proposal, story.raw["row"]["finding_id"], *people}
    strangers = [entry["seq"] for entry in story.entries if entry["subject"] not in known]
    if strangers:
        raise _WrongError(f"entry {strangers[0]} does not belong to the story")
    return f"{len(story.entries)} are in the ledger, {len(story.moves)} of them moved the proposal"


def _check_life(story: _Story) -> str:
    state, version = "", 0
    for entry in story.moves:
        body = entry["body"]
        if body["from"] != state:
            raise _WrongError(f"entry {entry['seq']} goes from {body['from']!r}, and the one before led to {state!r}")
        # What leads back to a state can be left out, and the states still fit: a deferral, or a revert that was undone.
        if type(body["version"]) is not int or body["version"] != version + 1:
            raise _WrongError(f"entry {entry['seq']} has version {body['version']!r} after {version}: some are missing")
        state, version = body["to"], body["version"]
    if not story.moves:
        raise _WrongError("no entry tells of the proposal")
    opened = [entry["seq"] for entry in story.entries if entry["kind"].startswith("finding.")]
    why = f"found in telemetry (entry {opened[0]}), " if opened else ""
    if story.raw["row"]["finding_id"] is not None and not opened:
        raise _WrongError("the finding that it rests on is not told of")
    return f"{why}submitted with entry {story.moves[0]['seq']}, {state} since entry {story.moves[-1]['seq']}"


def _check_row(story: _Story) -> str:
    row, last = story.raw["row"], story.moves[-1]
    if digest_bytes(canonical_json.encode(row)) != last["body"]["row_digest"]:
        raise _WrongError(f"the row is not the one that entry {last['seq']} was written with")
    if row["id"] != story.raw["proposal"] or row["state"] != last["body"]["to"]:
        raise _WrongError(f"the row stands elsewhere than entry {last['seq']} led")
    story.document = json.loads(row["document"])
    return f"as entry {last['seq']} has it: title, reason, evidence, review and application"


def _check_diff(story: _Story) -> str:
    document = story.document
    diff_digest = digest_bytes(document["diff"].encode("utf-8"))
    whole = {
        "base_commit": document["base_commit"],
        "diff_digest": diff_digest,
        "policy_digest": document["policy_digest"],
    }
    change = digest_bytes(canonical_json.encode(whole))
    for entry in _of_revision(story):
        if (entry["body"]["diff_digest"], entry["body"]["change_digest"]) != (diff_digest, change):
            raise _WrongError(f"entry {entry['seq']} is of another diff, base or policy")
    return f"{diff_digest[:19]} on {document['base_commit'][:12]}"


def _check_evidence(story: _Story) -> str:
    proofs = [entry for entry in _of_revision(story) if "verdict" in entry["body"]]
    proof = story.document["proof"]
    if not proofs or proof is None:
        if any(entry["body"]["to"] in _APPLIED for entry in _of_revision(story)):
            raise _WrongError("it was applied, and nothing proved it")
        return "nothing was proved yet"
    body = proofs[-1]["body"]
    if EVIDENCE_DIGEST not in body:
        if body["verdict"] == "passed":
            raise _WrongError(f"entry {proofs[-1]['seq']} calls it proved, and no worker signed for that")
        return f"{body['verdict']}, and nothing was run that a worker signed for"
    if digest_bytes(proof["evidence"].encode("utf-8")) != body[EVIDENCE_DIGEST]:
        raise _WrongError(f"the evidence is not what entry {proofs[-1]['seq']} names")
    key = NoteKey.parse(body[EVIDENCE_KEY])
    said = open_envelope(proof["evidence"], key)
    subject, story.trees = read_subject(said)
    story.proved_base = subject.base
    wanted = (body["diff_digest"], body["change_digest"], story.document["base_commit"])
    if (subject.diff_digest, subject.change_digest, subject.base) != wanted:
        raise _WrongError("the evidence is of another change")
    for name in ("base", "candidate"):
        outcomes = digest_bytes(canonical_json.encode(proof[name]["outcomes"]))
        if said["predicate"]["runs"][name]["outcomes"]["digest"] != outcomes:
            raise _WrongError(f"the outcomes of {name} are not those that the worker signed")
    return f"{body['verdict']}, signed by {key.name}"


def _check_approval(story: _Story) -> str:
    approval: Mapping[str, Any] | None = None
    for entry in story.moves:
        body = entry["body"]
        if entry["kind"] == "proposal.approved":
            if not _may_approve(story, entry) or body["change_seen"] != body["change_digest"]:
                raise _WrongError(f"entry {entry['seq']} is no approval of a person who saw this change")
            approval = entry
        elif body["to"] == "pending":
            approval = None
        elif body["to"] in _APPLIED and (
            approval is None or approval["body"]["change_digest"] != body["change_digest"]
        ):
            raise _WrongError(f"entry {entry['seq']} ({entry['kind']}) has no approval of this change before it")
    if approval is None:
        return "nobody has approved it"
    alone = ", without a second pair of eyes" if approval["body"]["unreviewed"] else ""
    return f"by {approval['actor']} with entry {approval['seq']}{alone}"


def _may_approve(story: _Story, approval: Mapping[str, Any]) -> bool:
    return approval["actor"].startswith("person-") and any(
        entry["kind"] == "token.made"
        and entry["subject"] == approval["actor"]
        and entry["body"]["role"] == "owner"
        and entry["seq"] < approval["seq"]
        for entry in story.entries
    )


def _check_commits(story: _Story) -> str:
    commits = {name: _decoded(raw) for name, raw in story.raw["commits"].items()}
    named = named_commits([entry["body"] for entry in story.moves])
    if set(commits) != named:
        raise _WrongError("its commits are not those that the entries name")
    for name, raw in commits.items():
        kind = hashlib.sha1 if len(name) == _HEX_OF_SHA1 else hashlib.sha256
        if kind(b"commit %d\x00%b" % (len(raw), raw)).hexdigest() != name:
            raise _WrongError(f"commit {name[:12]} was altered")
    for entry in story.moves:
        body = entry["body"]
        commit, parent = body.get("commit"), body.get("before") or body.get("parent")
        if commit and parent and f"\nparent {parent}\n".encode() not in _head_of(commits[commit]):
            raise _WrongError(f"commit {commit[:12]} does not follow {parent[:12]}, as entry {entry['seq']} says")
        if entry["kind"] == "proposal.apply_started" and body["change_digest"] == story.document["change_digest"]:
            _check_applied(story, commits[body["commit"]], body)
    return f"{len(commits)} are as they are named"


def _check_applied(story: _Story, commit: bytes, body: Mapping[str, Any]) -> None:
    """What was applied on the very base of the proof is the tree that was proved."""
    if body["before"] == story.proved_base and not commit.startswith(f"tree {story.trees[1]}\n".encode()):
        raise _WrongError(f"commit {body['commit'][:12]} has another tree than the candidate that was proved")


def _head_of(commit: bytes) -> bytes:
    return commit.partition(b"\n\n")[0] + b"\n"


def _of_revision(story: _Story) -> list[Mapping[str, Any]]:
    """Return the moves of the last revision; of a proposal that was taken up again, those before as well."""
    edits = [place for place, entry in enumerate(story.moves) if entry["kind"] == "proposal.edited"]
    return story.moves[edits[-1] if edits else 0 :]


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _decoded(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raw = b""
    if _encoded(raw) != text:
        raise IntegrityFailure("bundle-altered", f"{text[:40]!r} is not base64 as it is written")
    return raw
