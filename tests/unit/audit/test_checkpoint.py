"""Checkpoints: what one says is what the ledger's key signed, in every form that it is carried in."""

from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.adapters.keys import Ed25519Signer
from homeostat.audit.checkpoint import (
    checkpoint_trailer,
    entry_leaf,
    ledger_key,
    note_of_trailer,
    open_checkpoint,
    sign_checkpoint,
    unlike_roots,
)
from homeostat.audit.notes import NoteKey, sign_note
from homeostat.core.errors import IntegrityFailure

SIGNER, OTHER = Ed25519Signer.from_seed(b"1" * 32), Ed25519Signer.from_seed(b"2" * 32)
KEY = ledger_key(SIGNER.public_key())
ROOT = b"r" * 32


def signed(size=7, root=ROOT, signer=SIGNER):
    return sign_checkpoint(size, root, public_key=signer.public_key(), sign=signer.sign)


def written(text, key=KEY, signer=SIGNER):
    return sign_note(text, [(key, lambda said: b64decode(signer.sign(said)))])


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_what_was_signed_comes_back_also_through_a_trailer(size, root):
    note = signed(size, root)
    assert note_of_trailer(checkpoint_trailer(note)) == note
    assert checkpoint_trailer(note).isprintable()
    opened = open_checkpoint(note, KEY)
    assert (opened.origin, opened.size, opened.root) == (KEY.name, size, root)


def test_any_altered_byte_of_a_note_or_a_trailer_is_found():
    for whole, read in ((signed(), lambda raw: raw), (checkpoint_trailer(signed()), note_of_trailer)):
        raw = whole.encode()
        for place in range(len(raw)):
            altered = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
            with pytest.raises(IntegrityFailure):
                open_checkpoint(read(altered.decode("utf-8", "replace")), KEY)


def test_another_ledgers_key_is_none_of_ours():
    with pytest.raises(IntegrityFailure):
        open_checkpoint(signed(signer=OTHER), KEY)
    same_name = NoteKey.of(KEY.name, b64decode(OTHER.public_key()))
    with pytest.raises(IntegrityFailure):
        open_checkpoint(written(f"{KEY.name}\n1\n{'A' * 43}=\n", same_name, OTHER), KEY)


@pytest.mark.parametrize(
    "lines",
    [
        "elsewhere\n7\n" + "A" * 43 + "=\n",
        f"{KEY.name}\n07\n" + "A" * 43 + "=\n",
        f"{KEY.name}\n-7\n" + "A" * 43 + "=\n",
        f"{KEY.name}\n٣\n" + "A" * 43 + "=\n",
        f"{KEY.name}\n{2**63}\n" + "A" * 43 + "=\n",
        f"{KEY.name}\n" + "9" * 5000 + "\n" + "A" * 43 + "=\n",
        f"{KEY.name}\n7\nAAAA\n",
        f"{KEY.name}\n7\n" + "A" * 42 + "B=\n",
        f"{KEY.name}\n7\n",
    ],
)
def test_a_signed_note_that_is_no_checkpoint_is_none(lines):
    with pytest.raises(IntegrityFailure):
        open_checkpoint(written(lines), KEY)


@pytest.mark.parametrize("value", ["", "a b c", "a b c d e", "7 7 7 7", "\n"])
def test_a_trailer_of_another_form_is_none(value):
    with pytest.raises(IntegrityFailure):
        open_checkpoint(note_of_trailer(value), KEY)


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "0" * 62, "0" * 66])
def test_what_is_no_hash_is_no_leaf(text):
    with pytest.raises(IntegrityFailure):
        entry_leaf(text)


def test_roots_that_differ_or_are_not_reached_are_told_apart():
    notes = [("one", signed(5)), ("two", signed(9)), ("three", signed(signer=OTHER)), ("four", signed(3))]
    wrong = unlike_roots(notes, KEY, {5: b"x" * 32, 3: ROOT}.get)
    assert [line.partition(" ")[0] for line in wrong] == ["one", "two", "three"]
    assert "rewritten" in wrong[0] and "cut off" in wrong[1] and "not this ledger's" in wrong[2]
