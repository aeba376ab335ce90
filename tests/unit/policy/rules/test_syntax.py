import pytest
from builders import POLICY, create, delete, tree

from homeostat.policy.rules.syntax import RULE


def _found(path, content):
    return [(finding.path, finding.line) for finding in RULE.check(tree(create(path, content)), POLICY)]


@pytest.mark.parametrize(
    ("path", "content", "line"),
    [
        ("a.py", "def f(:\n", 1),
        ("a.py", "x = 1\n  y = 2\n", 2),
        ("a.py", b"x = 1\x00\n", None),
        ("a.py", b"# coding: no-such\n", None),
        ("a.py", "(" * 5000, None),
        ("a.json", '{"a": 1,}', 1),
        ("a.json", "[" * 200_000, None),
        ("a.toml", "a = \n", None),
        ("a.toml", b"\xff\xfe", None),
        ("a.pyi", "def f() -> : ...\n", 1),
    ],
)
def test_a_file_that_does_not_parse_is_found(path, content, line):
    found = _found(path, content)
    assert [place[0] for place in found] == [path]
    if line is not None:
        assert found[0][1] == line


@pytest.mark.parametrize(
    ("path", "content"),
    [("a.py", "match x:\n    case 1: pass\n"), ("a.py", ""), ("a.json", "[]"), ("a.toml", "a = 1\n"), ("a.txt", "(((")],
)
def test_a_file_that_parses_or_has_no_syntax_is_left_alone(path, content):
    assert _found(path, content) == []


@pytest.mark.parametrize(
    ("path", "content", "named"),
    [
        ("a.py", "def f(:\n", "does not compile"),
        ("a.json", "{", "is not JSON"),
        ("a.toml", "a = \n", "TOMLDecodeError"),
        ("a.json", b"\xff{", "UnicodeDecodeError"),
    ],
)
def test_the_finding_says_what_is_wrong_with_the_file(path, content, named):
    (found,) = RULE.check(tree(create(path, content)), POLICY)
    assert named in found.message


def test_a_deleted_file_is_not_parsed():
    assert list(RULE.check(tree(delete("a.py", "def f(:\n")), POLICY)) == []
