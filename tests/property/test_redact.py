"""Redaction on text that nobody wrote with care: it rests, it ends, and both engines agree."""

import re
import sys
import time
from collections.abc import Callable

import pytest
from homeostat_agent.redact import MAX_CHARS, clean_text, plain_text, rules
from hypothesis import example, given, settings
from hypothesis import strategies as st

from homeostat.telemetry import redact
from homeostat.testing.secret_lines import secret_lines

PIECES = (
    "password=", "pwd:", "secret", "token", "key", "api_key", "Authorization: ", "Bearer ", "Basic ", "Cookie: a=",
    "AKIA", "A" * 16, "ghp_", "sk-", "sk-ant-", "eyJ", "a1B2c3D4" * 5, "0" * 32, "deadbeef", "xoxb-", "AIza",
    "-----BEGIN RSA PRIVATE KEY-----", "-----END", "https://", "postgres://", "file://", "user:pw@", "example.com",
    "github.com", "@", ".", "..", "/", "//", "\\", "C:\\", "~/", "/home/a/b/c", "/srv/app/x.py", "10.0.0.1", "8.8.8.8",
    "1.2.3", "::1", "::", ":", "2001:db8::1", "fe80", "12:34:56", "[", "]", "[EMAIL]", "[REDACTED_KEY]",
    "[EXTERNAL_IP]", "192.168.x.x", "[TEXT]", '"', "'", '\\"', "(", ")", ",", ";", "&", "=", "?", "#", "%40", "-",
    "_", " ", "\n", "\t", "\x00", "\x1b[31m", "\ud800", "\u200b", "\u017f", "\u212a", "é", "\U0001f600",
    "x", "7", "None", "token_", "client_key", "sid=", "-u ", "--user ", "sshpass -p ", "mnemonic ",
    "otp: 1234", "&quot;", "%3D", "${X}", "s3cr3t!x", "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA", "hvs.", "SG.", "glpat-",
    "\\n", "('", "', '", "(b'", ' value="', " is ", " was ", "1.2.3.4.5.6", "12345.1.1.1", "v1.2.3.4", "~/a", "=/b",
    "/a=/b/c/d",
)  # fmt: skip

hostile = st.lists(st.sampled_from(PIECES), max_size=24).map("".join)
anything = st.text(max_size=400)
texts = hostile | anything | st.tuples(hostile, anything, hostile).map("".join)


@settings(max_examples=400)
@given(texts, st.sampled_from(("", "/srv/app", "/", "C:\\")))
def test_cleaning_twice_is_cleaning_once(text: str, repository: str) -> None:
    once = clean_text(text, repository=repository)
    assert clean_text(once, repository=repository) == once


@settings(max_examples=300)
@given(texts, st.integers(min_value=0, max_value=60))
def test_a_cut_neither_raises_nor_breaks_rest(text: str, limit: int) -> None:
    once = clean_text(text, max_chars=limit)
    assert len(once) <= limit
    assert clean_text(once, max_chars=limit) == once


@settings(max_examples=400)
@given(texts)
def test_agent_and_hub_agree(text: str) -> None:
    assert redact.clean(text) == clean_text(text)


neighbours = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)


@settings(max_examples=400)
@given(st.lists(neighbours | hostile, max_size=12), st.sampled_from((20_000, 40, 8)))
@example(["sha256:", "a1B2c3D4" * 5], 20_000)
@example(["see 8.8.8.8", "8.8.8.8", "9", ".8.8.8.8", "x 8.8.8.8"], 20_000)
@example(["/a=/b/c/d", "/b/c/d /e/f/g", "=/b/c/d"], 20_000)
def test_texts_of_a_batch_are_cleaned_as_if_each_were_alone(batch: list[str], limit: int) -> None:
    assert redact.clean_all(batch, max_chars=limit) == [redact.clean(text, max_chars=limit) for text in batch]


@pytest.mark.skipif(not redact.HAS_RE2, reason="google-re2 is not installed")
@settings(max_examples=400)
@given(st.lists(neighbours | hostile, min_size=2, max_size=6))
def test_to_rules_that_are_applied_together_the_end_of_a_text_is_as_good_as_the_end_of_all(batch: list[str]) -> None:
    """Each such rule, not only in texts in which the screen finds it; and the screen itself misses none."""
    batch = [plain_text(text).replace("\n", " ") for text in batch]
    joined = redact._EDGE.join(batch)
    for rule in rules():
        pattern = re.compile(rule.quick or rule.pattern, re.ASCII)
        if rule.name in redact.TOGETHER:
            apart = redact._EDGE.join(pattern.sub(rule.replace, text) for text in batch)
            assert pattern.sub(rule.replace, joined) == apart, rule.name
        if any(re.search(rule.pattern, text, re.ASCII) for text in batch):
            assert re.search(rule.pattern, joined, re.ASCII), rule.name


@pytest.mark.skipif(not redact.HAS_RE2, reason="google-re2 is not installed")
@settings(max_examples=400)
@given(texts)
@example("pas\u017fword=x")
@example("to\u212aen: aaaa1111")
def test_both_engines_find_the_same_matches(text: str) -> None:
    import re2

    text = plain_text(text)
    for rule in rules("/srv/app"):
        ours = [(m.span(), m.groups()) for m in re.finditer(rule.pattern, text, re.ASCII)]
        theirs = [(m.span(), m.groups()) for m in re2.finditer(rule.pattern, text)]
        assert ours == theirs, rule.name


@settings(max_examples=400)
@given(texts)
@example("key_code=aB3dE5gH7jK9mN1p")
@example("set_password(b'x1y2z3')")
@example('key="ApiKey" value="s3cr3t9xx"')
def test_hints_never_hide_a_match(text: str) -> None:
    text = plain_text(text)
    lowered = text.lower()
    for rule in rules("/srv/app"):
        # What a rule leaves as it is, it need not be tried on.
        if re.sub(rule.pattern, rule.replace, text, flags=re.ASCII) != text:
            assert any(hint in lowered for hint in rule.hints or ("",)), rule.name
            assert rule.at_least == 1 or lowered.count(rule.hints[0]) >= rule.at_least, rule.name
            assert re.search(rule.near, lowered, re.ASCII), rule.name


def test_hints_never_hide_a_labelled_secret() -> None:
    for line in secret_lines():
        text = plain_text(line.text)
        lowered = text.lower()
        for rule in rules():
            if re.sub(rule.pattern, rule.replace, text, flags=re.ASCII) != text:
                assert any(hint in lowered for hint in rule.hints or ("",)), (rule.name, text)
                assert re.search(rule.near, lowered, re.ASCII), (rule.name, text)


@settings(max_examples=400)
@given(texts)
def test_the_quick_pattern_of_a_rule_changes_what_its_pattern_changes(text: str) -> None:
    text = plain_text(text)
    for rule in rules("/srv/app"):
        if rule.quick:
            quickly = re.sub(rule.quick, rule.replace, text, flags=re.ASCII)
            assert quickly == re.sub(rule.pattern, rule.replace, text, flags=re.ASCII), rule.name


HOSTILE_UNITS = (
    "a", "a.", "a@", "a@a.", "1.", "1", "a:", ":", "::", "/", "/a", "//a", "'/", "'/a", '"', "\\", '\\"', "password=",
    "password='", "token: ", "eyJ", "eyJ-", "sk-", "ghp_", "-----BEGIN PRIVATE KEY-----", "-", "http://", "http://a@",
    "key", "key ", "bearer ", "basic a", "cookie: ", "$6$", "1-", "a-1-1-1-1", "x ", " '", "%40", "data:", "[", "1:",
    "data:a;base64,", "A", "MMMM", "é", "é@é.", "\n", "C:\\", "authorization: a ", "Private-Lines: 1\n", "0123456789:",
    "jdbc:oracle:a:", "a1:b2:", "~/", "mnemonic a", "mnemonic abc abc ", "-u a:", "-u", "secret ", "secret is ",
    "key 1",    "password('", "password', '", "pat", "M", "sl.", "aB1", "a1b2c3d4", "sid=", "token%3D", "&quot;", "EAA",
    "$2a$",    "_ghp_", "\\nAKIA", "access_key", "aaaaaaaa_key",
)  # fmt: skip


def _took_s(text: str) -> float:
    start = time.process_time()
    clean_text(text)
    return time.process_time() - start


def _compared(small: str, large: str, holds: Callable[[float, float], bool]) -> tuple[float, float]:
    """Return the least times of both, taken in turns until they hold, or often enough to know that they do not.

    Only their ratio counts, and what a busy machine adds to one turn it does not add to all of thirty.
    """
    small_s, large_s = _took_s(small), _took_s(large)
    for turn in range(30):
        if turn >= 2 and holds(small_s, large_s):
            break
        small_s, large_s = min(small_s, _took_s(small)), min(large_s, _took_s(large))
    return small_s, large_s


@pytest.mark.parametrize("unit", HOSTILE_UNITS)
def test_four_times_the_text_takes_about_four_times_as_long(unit: str) -> None:
    # A quadratic pattern would take 16 times as long; what is below a few milliseconds is noise.
    def holds(small_s: float, large_s: float) -> bool:
        return large_s < 9 * small_s + 0.004

    text = (unit * MAX_CHARS)[:MAX_CHARS]
    small_s, large_s = _compared(text[: MAX_CHARS // 4], text, holds)
    assert holds(small_s, large_s), f"{small_s:.4f} s, then {large_s:.4f} s"


def test_text_beyond_the_limit_costs_nothing() -> None:
    def holds(small_s: float, large_s: float) -> bool:
        return large_s < 4 * small_s + 0.02

    assert holds(*_compared("password=a " * MAX_CHARS, "password=a " * (10 * MAX_CHARS), holds))


def test_the_fallback_without_re2_says_so_and_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setitem(sys.modules, "re2", None)
    spec = importlib.util.spec_from_file_location("redact_without_re2", redact.__file__)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.HAS_RE2 is False
    text = "mail a@b.org from 8.8.8.8, password=x"
    assert module.clean(text) == redact.clean(text)
