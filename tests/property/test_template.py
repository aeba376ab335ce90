"""Templates of any text: bounded, at rest, and blind to the values in it."""

import string

from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.telemetry.template import _MASKS, MAX_TEMPLATE_CHARS, _masked, masked

PIECES = (
    "order", "'x'", '"y z"', "'", '"', "17", "-3.5", "1e9", "0x1f", "deadbeef01", "a-1", "b_2", "=", "x=", "/", "/a/b",
    "https://h/p", "<*>", "<", ">", "[EMAIL]", "192.168.x.x", "[EXTERNAL_IP]", ":", ",", "|", "%", "ms", "Jan 1",
    "2026-01-10T14:32:00Z", "12:34:56", "blk_-99", "550e8400-e29b-41d4-a716-446655440000", " ", "\n", "é", "#", ".",
    "h.com", "(", ")", "e9", "can't", "x" * 50,
)  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=20).map("".join) | st.text(max_size=300)


@settings(max_examples=500)
@given(texts)
def test_masking_twice_is_masking_once(text: str) -> None:
    once = masked(text)
    assert masked(once) == once
    assert len(once) <= MAX_TEMPLATE_CHARS


@settings(max_examples=500)
@given(texts)
def test_hints_never_hide_a_match(text: str) -> None:
    for pattern, _, hints in _MASKS:
        assert not pattern.search(text) or any(hint in text for hint in hints), pattern.pattern


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from(["order", "failed", "while", "reading", "for"]), min_size=1, max_size=8),
    st.lists(st.integers() | st.text(string.ascii_letters, max_size=8), min_size=2, max_size=2),
    st.integers(min_value=0, max_value=7),
)
def test_values_in_one_place_give_one_template(words: list[str], values: list[object], place: int) -> None:
    def message(value: object) -> str:
        written = f"'{value}'" if isinstance(value, str) else str(value)
        return " ".join([*words[:place], written, *words[place:]])

    assert masked(message(values[0])) == masked(message(values[1]))


@settings(max_examples=500)
@given(texts, st.integers(min_value=0, max_value=9))
def test_a_template_known_from_a_message_with_other_digits_is_the_message_s_own(text: str, step: int) -> None:
    other = text.translate({ord(str(digit)): str((digit + step) % 10) for digit in range(10)})
    masked(other)
    assert masked(text) == _masked(text.strip())
    assert masked(other) == _masked(other.strip())
