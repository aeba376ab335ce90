import pytest
from builders import POLICY, create, modify, tree

from homeostat.policy.rules.secrets import RULE

# The samples are put together at run time so that this file itself holds no secret.
RANDOM = "q7Zp9" + "Lw2xV" + "c8Rt4" + "Yb6Nn"


def _found(text):
    return list(RULE.check(tree(create("a.py", text + "\n")), POLICY))


@pytest.mark.parametrize(
    "line",
    [
        "-----BEGIN " + "RSA PRIVATE KEY-----",
        "-----BEGIN " + "PRIVATE KEY-----",
        "key = 'AKIA" + "Q3EGX2T7KD5LMNOP'",
        "t = 'ghp_" + RANDOM * 2 + "'",
        "t = 'glpat-" + RANDOM + "'",
        "slack = 'xoxb-" + "1234567890-abcdefghij'",
        "openai = 'sk-proj-" + RANDOM * 2 + "'",
        "vault = 'hvs." + RANDOM * 2 + "'",
        "grafana = 'glsa_" + RANDOM * 2 + "_0a1b2c3d'",
        "google = 'AIza" + (RANDOM * 2)[:35] + "'",
        "db = 'postgres://admin:" + RANDOM + "@db.internal/x'",
        "password = '" + RANDOM + "'",
        'api_key: str = "' + RANDOM + '"',
        '"client_secret": "' + RANDOM + '"',
        "AUTH_TOKEN='" + RANDOM + "'",
        # Short ones of three kinds of characters, longer ones of two.
        "password = 'aB3" + "$xY9!'",
        "password = 'aB3" + "dE6gH'",
        "password = 'ab3" + "$ef6!'",
        "password = 'aBc" + "$eFg!'",
        "password = 'AB3" + "$EF6!'",
        "password = 'a1b2" + "c3d4e5f6'",
        # Behind something that is harmless.
        "from x import fw_somelongnameinsmallletters as n; key = 'hf_" + RANDOM + "'",
        "urls = 'db://test:test1234@localhost', 'db://admin:" + RANDOM + "@db.internal'",
    ],
)
def test_a_secret_in_an_added_line_is_found_and_not_repeated(line):
    found = _found(line)
    assert [finding.line for finding in found] == [1]
    assert RANDOM not in found[0].message


@pytest.mark.parametrize(
    "line",
    [
        "password = os.environ['PASSWORD']",
        "stripe = 'sk_" + "test_" + RANDOM + "'  # a key for tests",
        "from x import fw_" + "somelongnameinsmallletters",
        'password = "changeme"',
        'token = "<your-token-here>"',
        'secret = "${SECRET}"',
        "def check_password(password: str) -> bool:",
        'raise ValueError("password must have at least 8 characters")',
        "--hash=sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "api_key = settings.api_key",
        'url = "https://example.org/path?x=1"',
        'dsn = "postgres://user:password@localhost/test"'.replace("password", "{password}"),
        "secret_name = 'orders-database'",
        "db = 'postgresql+psycopg2://scott:" + "tiger@localhost/test'",
        "key = 'sk-proj-Put_Your_Key_1_here'",
        "password = 'a phrase of 4 Words'",
        "secret_name = 'AbCdEfGh'",
        "secret_name = 'abcdef12'",
        "secret_name = 'aaaaAAAA1111'",
        "dsn = 'postgres://test:test1234@localhost/test'",
        "commit = '4ab0116f3c2d1e0b9a8f7e6d5c4b3a2f1e0d9c8b'",
    ],
)
def test_ordinary_code_is_left_alone(line):
    assert _found(line) == []


def test_a_secret_that_was_there_before_is_not_reported_again():
    line = "password = '" + RANDOM + "'\n"
    assert list(RULE.check(tree(modify("a.py", line + "x = 1\n", line + "x = 2\n")), POLICY)) == []


def test_what_seems_to_be_there_is_named():
    assert _found("password = '" + RANDOM + "'")[0].message == "this line seems to hold a credential"
    assert _found("t = 'ghp_" + RANDOM * 2 + "'")[0].message == "this line seems to hold a GitHub token"


def test_a_changed_line_is_told_by_its_number_in_the_new_file():
    before = "a = 1\nb = 2\nc = 3\n"
    after = before.replace("c = 3", "password = '" + RANDOM + "'")
    assert [found.line for found in RULE.check(tree(modify("a.py", before, after)), POLICY)] == [3]


def test_a_file_that_is_no_text_is_looked_at_too():
    content = b"\xff\xfe\n" + f"password = '{RANDOM}'\n".encode()
    assert [found.line for found in RULE.check(tree(create("a.bin", content)), POLICY)] == [2]


@pytest.mark.parametrize("before", [0, 9_900, 90_050, 100_000])
def test_a_very_long_line_is_still_looked_at_at_its_beginning_and_its_end(before):
    assert _found("x" * before + " password = '" + RANDOM + "' " + "x" * (100_000 - before)) != []
