"""A proposal's whole life as a true story, to be falsified: rows, ledger, witnesses, commits and backups that agree."""

from dataclasses import replace
from datetime import timedelta

from homeostat.adapters.keys import Ed25519Signer
from homeostat.audit.chain import EMPTY_HEAD, append, head_of
from homeostat.audit.checkpoint import checkpoint_trailer, entry_leaf, ledger_key, sign_checkpoint
from homeostat.audit.merkle import GrowingTree
from homeostat.audit.story import StoryInputs, verify_story
from homeostat.audit.story_parts import BackupResult, StoryPart
from homeostat.model.actor import Actor, Role
from homeostat.model.ledger import EntryDraft
from homeostat.model.proposal import Application, ProposalState, Review
from homeostat.testing.example_rows import PERSON, START, example_proposal, move_entry
from homeostat.testing.memory_tree import nodes_of

SIGNER = Ed25519Signer.generate()
KEY = ledger_key(SIGNER.public_key())
BEFORE, APPLIED, REVERT = "a" * 40, "b" * 40, "c" * 40
WITNESS = "d" * 40
S = ProposalState
OWNER = Actor(id=PERSON, role=Role.OWNER, name="Ada")


def ledger(drafts):
    entries, head = [], EMPTY_HEAD
    for number, draft in enumerate(drafts):
        entries.append(append(head, draft, at=START + timedelta(seconds=number), sign=SIGNER.sign))
        head = head_of(entries[-1])
    return entries


def life(*, until=S.IMPLEMENTED):
    """Return a proposal that went through its whole life, and the entries of it."""
    row = example_proposal()
    seen = row.change.change_digest
    review = Review(by=PERSON, at=START, decision="approved", change_digest=seen)
    application = Application(before_commit=BEFORE, commit=APPLIED, backup="20260105/b", at=START)
    steps = [
        ("validating", S.VALIDATING, {}, {}),
        ("validated", S.AWAITING_APPROVAL, {}, {}),
        ("approved", S.APPROVED, {"change_seen": seen}, {"review": review}),
        ("apply_started", S.APPLYING, {"commit": APPLIED}, {"application": application}),
        ("went_live", S.OBSERVING, {}, {}),
        ("implemented", S.IMPLEMENTED, {}, {}),
        (
            "revert_started",
            S.REVERTING,
            {"commit": REVERT},
            {"application": replace(application, revert_commit=REVERT)},
        ),
        ("reverted", S.REVERTED, {}, {}),
    ]
    made = EntryDraft(kind="token.made", actor=OWNER.id, subject=OWNER.id, body={"role": "owner"})
    drafts = [made, move_entry(row, "submitted", S.PENDING)]
    for event, to, facts, changes in steps:
        drafts.append(move_entry(row, event, to, **facts))
        row = replace(row, state=to, version=row.version + 1, **changes)
        if to is until:
            break
    return row, drafts


def checkpoint_of(entries, signer=SIGNER):
    tree = GrowingTree()
    for entry in entries:
        tree.append(entry_leaf(entry.entry_hash))
    return sign_checkpoint(tree.size, tree.root, public_key=signer.public_key(), sign=signer.sign)


def inputs_of(row, drafts, **changes):
    entries = ledger(drafts)
    head = head_of(entries[-1])
    part = StoryPart(
        proposals=[row],
        entries=entries,
        row_digests={},
        backups=[BackupResult(name="20260105/b", intact=True, detail="3 files")],
        commits=frozenset({BEFORE, APPLIED, REVERT}),
        records=(),
    )
    inputs = StoryInputs(
        entries=entries,
        parts=[part],
        db_head=head,
        head_file=head,
        trailers=[(WITNESS, head.trailer()), (WITNESS, head_of(entries[1]).trailer())],
        nodes=nodes_of(entries),
        checkpoints=[(WITNESS, checkpoint_trailer(checkpoint_of(entries[:size]))) for size in (len(entries), 2)],
        kept=(),
        key=KEY,
        later_trailers=[(WITNESS, head.trailer())],
        verify=SIGNER.verify,
        unrecorded=frozenset(),
        actors=[OWNER],
        token_digests={},
        problems={},
    )
    return changed(inputs, **changes)


def changed(inputs, **changes):
    """Return the inputs with other values, those of their one part among them."""
    (part,) = inputs.parts
    own = {name: value for name, value in changes.items() if hasattr(part, name)}
    of_all = {name: value for name, value in changes.items() if hasattr(inputs, name)}
    return replace(inputs, **of_all, parts=[replace(part, **own)])


def proposals_of(inputs):
    (part,) = inputs.parts
    return part.proposals


def failed(inputs):
    return {check.number: check.detail for check in verify_story(inputs) if not check.ok}


def cut(inputs, count, **changes):
    """Return the inputs of a ledger that ends after so many entries, with no witness."""
    entries = inputs.entries[:count]
    own = {"trailers": [], "later_trailers": [], "checkpoints": [], "nodes": nodes_of(entries)}
    return changed(inputs, entries=entries, db_head=head_of(entries[-1]), **{**own, **changes})
