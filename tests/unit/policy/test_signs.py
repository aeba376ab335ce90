"""What has no sign may be passed over: the words that patterns need are found in all that they match."""

import re

import pytest
from builders import POLICY, create, tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeostat.policy.rules.dangerous_calls import KINDS, RULE
from homeostat.policy.signs import Signs, needed_words


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"os\.(?:system|popen\w*)", {"system", "popen"}),
        (r"(?:requests|httpx)\.(?:get|put)", {"requests", "httpx"}),
        (r"[lf]?chmod", {"chmod"}),
        (r"loads?", {"load"}),
        (r"(?:abc)+d?", {"abc"}),
        (r"pexpect\.\w+", {"pexpect"}),
        (r"eval|exec", {"eval", "exec"}),
        (r"(?:.*\.)?exec_?(?:[vl])e", {"exec"}),
        (r"169\.254|metadata\.internal", {"169", "metadata"}),
    ],
)
def test_a_pattern_says_which_words_it_cannot_do_without(pattern, words):
    assert needed_words(re.compile(pattern)) == words


@pytest.mark.parametrize("pattern", [r"\w+", r"abc|\w+", r"(?:abc)?", r""])
def test_a_pattern_that_needs_no_word_is_refused(pattern):
    with pytest.raises(ValueError, match="no word in common"):
        needed_words(re.compile(pattern))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.what)
@settings(max_examples=8, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_whatever_a_kind_of_danger_matches_has_a_sign_of_it(kind, data):
    name = data.draw(st.from_regex(kind.names, fullmatch=True).filter(str.isprintable))
    assert Signs((kind.names,)).stand_in(f"x = {name}(y)")


@pytest.mark.parametrize(
    "line",
    [
        "ｏｓ.ｓystem('x')",
        "getattr(o, 's' 'ystem')(x)",
        "vars(o)[x]()",
        "x = '\\x2fetc\\x2fpasswd'",
        "x = '/etc/pas' 'swd'",
    ],
)
def test_what_hides_a_name_is_looked_at(line):
    assert Signs((re.compile("system"),), texts=(re.compile("/etc/passwd"),)).stand_in(line)


def test_a_source_without_a_sign_is_not_even_parsed():
    assert list(RULE.check(tree(create("a.py", "x = [1, 2\n" * 10_000)), POLICY)) == []
