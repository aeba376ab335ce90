"""Check 10: the stored tree, and every checkpoint that was signed, held against the entries."""

from msgspec import structs
from true_story import WITNESS, changed, checkpoint_of, cut, failed, inputs_of, ledger, life, nodes_of

from homeostat.adapters.keys import Ed25519Signer
from homeostat.audit.chain import head_of
from homeostat.audit.checkpoint import checkpoint_trailer
from homeostat.audit.restoration import Restoration, restoration_entry
from homeostat.model.ledger import EntryDraft
from homeostat.testing.example_rows import PERSON


def rewritten(inputs):
    """Return the story of a ledger that its own key wrote anew, with another beginning, and no witness but one."""
    _, drafts = life()
    drafts[0] = EntryDraft(kind="token.made", actor=PERSON, subject=PERSON, body={"role": "owner", "more": 1})
    entries = ledger(drafts)
    head = head_of(entries[-1])
    return changed(
        inputs, entries=entries, db_head=head, head_file=head, trailers=[], checkpoints=[], nodes=nodes_of(entries)
    )


def test_a_history_that_the_key_itself_wrote_anew_is_found_by_an_older_checkpoint_alone():
    true = inputs_of(*life())
    kept = checkpoint_of(true.entries[:3])
    false = rewritten(true)
    assert "history was rewritten" in failed(changed(false, kept=[("the checkpoint kept.txt", kept)]))[10]
    in_git = changed(false, checkpoints=[(WITNESS, checkpoint_trailer(kept))])
    assert f"status commit {WITNESS[:12]} saw other entries among the first 3" in failed(in_git)[10]
    assert 10 not in failed(false)


def test_a_checkpoint_of_more_entries_than_there_are_is_a_ledger_cut_off():
    true = inputs_of(*life())
    kept = [("the checkpoint kept.txt", checkpoint_of(true.entries))]
    assert "cut off" in failed(cut(true, 5, kept=kept))[10]


def test_a_checkpoint_of_another_key_is_named():
    true = inputs_of(*life())
    kept = [("the checkpoint kept.txt", checkpoint_of(true.entries, Ed25519Signer.generate()))]
    assert "is not this ledger's" in failed(changed(true, kept=kept))[10]


def test_any_stored_node_that_is_altered_missing_or_too_many_is_found():
    true = inputs_of(*life())
    rows = nodes_of(true.entries)
    for place, (seq, hashes) in enumerate(rows):
        for byte in (0, len(hashes) - 1):
            other = hashes[:byte] + bytes([hashes[byte] ^ 1]) + hashes[byte + 1 :]
            assert set(failed(changed(true, nodes=[*rows[:place], (seq, other), *rows[place + 1 :]]))) == {10}
        assert set(failed(changed(true, nodes=[*rows[:place], *rows[place + 1 :]]))) == {10}
    assert set(failed(changed(true, nodes=[*rows, (99, b"")]))) == {10}
    assert set(failed(changed(true, nodes=[(2, None), *rows[1:]]))) == {10}


def test_what_a_restoration_gave_up_is_no_fault_of_the_checkpoints_before_it():
    row, drafts = life()
    kept, lost = drafts[:5], drafts[5:]
    before = ledger(drafts)
    restored = restoration_entry(
        Restoration(kept=len(kept), lost_to=len(kept) + len(lost), tip=WITNESS), made_at="", by=PERSON
    )
    entries = ledger([*kept, restored])
    inputs = changed(inputs_of(row, drafts), entries=entries, nodes=nodes_of(entries))
    old = (WITNESS, checkpoint_trailer(checkpoint_of(before)))
    assert 10 not in failed(changed(inputs, checkpoints=[old]))
    later = ("e" * 40, checkpoint_trailer(checkpoint_of(before)))
    assert "status commit eeeeeeeeeeee" in failed(changed(inputs, checkpoints=[later, old]))[10]


def test_a_malformed_hash_of_an_entry_is_named_and_not_raised():
    true = inputs_of(*life())
    entries = [*true.entries]
    entries[2] = structs.replace(entries[2], entry_hash="not a hash")
    found = failed(changed(true, entries=entries))
    assert "entry 3" in found[10] and 2 in found
