import pytest
from builders import POLICY, create, modify, tree

from homeostat.policy.rules.hidden_characters import RULE


@pytest.mark.parametrize(
    "char", ["\u202e", "\u2066", "\u200b", "\u200d", "\u00ad", "\x08", "\x1b", "\U000e0041", "\x00"]
)
def test_an_invisible_character_is_found_with_its_line(char):
    found = list(RULE.check(tree(create("a.py", f"x = 1\ny = '{char}'\n")), POLICY))
    assert [finding.line for finding in found] == [2]


@pytest.mark.parametrize(
    ("char", "name"), [("\u202e", "U+202E RIGHT-TO-LEFT OVERRIDE"), ("\x08", "U+0008"), ("\ufeff", "U+FEFF ZERO WIDTH")]
)
def test_what_cannot_be_seen_is_named(char, name):
    (found,) = RULE.check(tree(create("a.py", f"x = '{char}'\n")), POLICY)
    assert found.message.removesuffix(" NO-BREAK SPACE").endswith(f"character {name}")


def test_a_byte_order_mark_counts_only_inside_a_file():
    assert list(RULE.check(tree(create("a.py", "\ufeffx = 1\n")), POLICY)) == []
    assert list(RULE.check(tree(create("a.py", "x = '\ufeff'\n")), POLICY)) != []


@pytest.mark.parametrize("text", ["x = 'ü'\r\n", "\tx\n", "x = '日本'\n", "x = '🎉'\n"])
def test_visible_text_of_any_script_is_left_alone(text):
    assert list(RULE.check(tree(create("a.py", text)), POLICY)) == []


def test_what_was_there_before_is_left_alone():
    assert list(RULE.check(tree(modify("a.py", "a = '\u200b'\nb = 1\n", "a = '\u200b'\nb = 2\n")), POLICY)) == []
