"""Text of others inside our Markdown can be read and can do nothing."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.proposals.escape import block, code_span, fenced, inline, item

HOSTILE = st.text(alphabet="#*_`~<>[]()!&|\\-+=:./ \n\r\t0123abc\u2028\u202e\x0c\x1b\u200b", max_size=60)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Fix KeyError in get_order", "Fix KeyError in get_order"),
        ("a\n## Review", "a ## Review"),
        ("**Status**: approved", "\\*\\*Status\\*\\*: approved"),
        ("__Status__: approved", "\\_\\_Status\\_\\_: approved"),
        ("<!-- hidden", "&lt;!-- hidden"),
        ("[click](javascript:x)", "\\[click\\](javascript:x)"),
        ("![](http://x/y.png)", "!\\[\\](http://x/y.png)"),
        ("a | b", "a \\| b"),
        ("`code` & more", "\\`code\\` &amp; more"),
        ("red\x1b[31m", "redU+001B\\[31m"),
        ("abc\u202etxt", "abcU+202Etxt"),
        ("private \ue000, half \udc80", "private U+E000, half U+DC80"),
        ("  spaces   here ", "spaces here"),
        ("", ""),
    ],
)
def test_one_line(text: str, shown: str) -> None:
    assert inline(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("para one\n\n\n\npara two\n", "para one\n\npara two"),
        ("- a\n- b", "- a\n- b"),
        ("X marks\nwhat X", "X marks\nwhat X"),
        ("1. a\n2. b", "1. a\n2. b"),
        ("# Heading", "\\# Heading"),
        ("   ## Review", "\\## Review"),
        ("Title\n===", "Title\n\\==="),
        ("Title\n---", "Title\n\\---"),
        ("---", "\\---"),
        ("- - -", "\\- - -"),
        ("- # heading in a list", "- \\# heading in a list"),
        ("> quote", "&gt; quote"),
        ("+ plus", "\\+ plus"),
        ("```\ncode", "\\`\\`\\`\ncode"),
        ("~~~", "\\~\\~\\~"),
        ("    indented code", "indented code"),
        ("1234567. not a list", "1234567\\. not a list"),
        ("a\u2028# b", "a\n\\# b"),
        ("a\r# b", "a\n\\# b"),
        ("a\x0c# b", "a\n\\# b"),
    ],
)
def test_paragraphs(text: str, shown: str) -> None:
    assert block(text) == shown


@given(HOSTILE)
def test_no_line_of_a_block_is_a_heading_rule_fence_quote_or_html(text: str) -> None:
    for line in block(text).splitlines():
        bare = re.sub(r"^(- |[0-9]{1,3}[.)] )", "", line)
        for seen in (line, bare):
            assert not re.match(r"\s*(#|>|```|~~~|=+\s*$|\+( |$))", seen), line
            assert not re.match(r"\s*([-*_])(\s*\1){2,}\s*$", seen), line
        assert not re.search(r"(?<!\\)(\\\\)*[<`*\[\]]", line), line
        assert "<" not in line


@given(HOSTILE)
def test_an_item_of_a_list_begins_nothing_of_its_own(text: str) -> None:
    shown = item(text)
    assert len(shown.splitlines()) <= 1
    assert not re.match(r"#|>|[-+=*]|`{3}|~{3}|[0-9]{1,9}[.)]", shown)


@given(HOSTILE)
def test_one_line_stays_one_line(text: str) -> None:
    shown = inline(text)
    assert len(shown.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(\\\\)*[<`*\[\]|]", shown)


@given(st.text(alphabet="`~ab\n\r ", max_size=60))
def test_nothing_closes_a_fence_and_every_byte_is_in_it(text: str) -> None:
    shown = fenced(text, "diff")
    opening, _, rest = shown.partition("\n")
    fence = opening.removesuffix("diff")
    assert set(fence) == {"`"}
    assert len(fence) >= 3
    assert fence not in text
    assert rest.startswith(text)
    assert rest[len(text) :] in (fence, "\n" + fence)


@given(HOSTILE)
def test_a_code_span_is_not_ended_by_what_is_in_it(text: str) -> None:
    shown = code_span(text)
    ticks = re.match(r"`+", shown)
    assert ticks is not None
    inner = shown[len(ticks.group()) : -len(ticks.group())]
    assert ticks.group() not in re.findall(r"`+", inner)
    assert "\n" not in shown
