"""Signed notes: what one says, who vouches for it, and that nothing of it can be altered."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from homeostat.audit.notes import MAX_SIGNATURES, NoteKey, open_note, sign_note
from homeostat.core.errors import HomeostatError, IntegrityFailure, InvalidInput

TEXT = "homeostat\n42\nqSwyqW1iZq0y2l1xZl3lQ1sVh7P2QF6u1jPz2m4N6Xo=\n"


def signer(name, seed=1):
    private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return NoteKey.of(name, private.public_key().public_bytes_raw()), private.sign


HUB, WITNESS = signer("hub.example", 1), signer("witness.example/w", 2)
SIGNED = sign_note(TEXT, [HUB, WITNESS])


def test_a_note_says_its_text_and_who_of_those_that_were_asked_for_vouches():
    for keys, found in (
        (str(HUB[0]), (HUB[0],)),
        (WITNESS[0], (WITNESS[0],)),
        ([str(WITNESS[0]), HUB[0]], (HUB[0], WITNESS[0])),
    ):
        for note in (SIGNED, SIGNED.encode()):
            opened = open_note(note, keys)
            assert (opened.text, opened.signed_by) == (TEXT, found)


def test_a_note_that_none_of_them_signed_or_signed_otherwise_is_refused():
    stranger = signer("stranger.example", 3)[0]
    namesake = signer("hub.example", 4)[0]
    for keys in (stranger, namesake, []):
        with pytest.raises(IntegrityFailure) as failed:
            open_note(SIGNED, keys)
        assert failed.value.code == "note-not-signed"
    forged = SIGNED.replace("42", "43")
    with pytest.raises(IntegrityFailure, match="does not hold"):
        open_note(forged, HUB[0])


@given(st.integers(0, len(SIGNED.encode()) - 1), st.integers(0, 7))
def test_a_bit_that_is_altered_anywhere_but_in_the_name_of_another_is_found(place, bit):
    raw = bytearray(SIGNED.encode())
    raw[place] ^= 1 << bit
    try:
        opened = open_note(bytes(raw), [HUB[0], WITNESS[0]])
    except IntegrityFailure:
        return
    # The line of one key was made one of somebody who is not known: what is left is still vouched for by the other.
    assert opened.text == TEXT and len(opened.signed_by) == 1


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        TEXT,
        SIGNED[:-1],
        SIGNED.replace("\n\n", "\n"),
        SIGNED.replace("— hub", "- hub"),
        SIGNED.replace("\n", "\r\n"),
        SIGNED.replace("42", "4\t2"),
        SIGNED + "\n",
        SIGNED + "— nobody\n",
        SIGNED + "— no body AAAAAAAA\n",
        SIGNED + "— nobody AAAA\n",
        SIGNED + "— nobody not/base64!\n",
        TEXT + "\n" + "— nobody AAAAAAAA\n" * (MAX_SIGNATURES + 1),
        b"\xff\xfe" + SIGNED.encode(),
        "a" * 1_000_001,
        "\ud800" + SIGNED,
    ],
)
def test_what_is_no_note_is_said_to_be_none(note):
    with pytest.raises(IntegrityFailure) as failed:
        open_note(note, HUB[0])
    assert failed.value.code == "note-malformed"


def test_a_text_that_is_no_text_of_a_note_is_not_signed():
    for text in ("no newline at its end", "a\rb\n", "a\x00\n"):
        with pytest.raises(InvalidInput):
            sign_note(text, [HUB])
    several = "one\n\ntwo\n"
    assert open_note(sign_note(several, [HUB]), HUB[0]).text == several


def test_a_key_is_read_as_it_was_written_and_no_other_text_is_one():
    key, text = HUB[0], str(HUB[0])
    assert NoteKey.parse(text) == key
    raw = base64.b64encode(b"\x02" + key.public).decode()
    for wrong in (
        "",
        "hub.example",
        text[:-1],
        text + "A",
        text.replace(key.id.hex(), "00000000"),
        text.replace("hub", "h b"),
        f"{key.name}+{key.id.hex()}+{raw}",
        text.replace("hub.example", ""),
    ):
        with pytest.raises(InvalidInput):
            NoteKey.parse(wrong)
    with pytest.raises(HomeostatError):
        NoteKey.of("a+b", key.public)


def test_one_who_signed_twice_vouches_once():
    twice = sign_note(TEXT, [HUB, HUB])
    assert open_note(twice, HUB[0]).signed_by == (HUB[0],)
