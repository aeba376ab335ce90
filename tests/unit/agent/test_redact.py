"""What must never leave the host, and what must stay readable."""

import base64

import pytest
from homeostat_agent.redact import LONG_QUOTE, MAX_CHARS, REFUSED, clean_text, settle

KEY = "[REDACTED_KEY]"
RANDOM = "q7Zp2mXv9Lk4Rt8Wb3Ny6Hd1"  # 24 characters that mean nothing

# In two parts each, so that scanners of this repository stay quiet.
KNOWN_FORMS = {
    "aws": "AKIA" + "IOSFODNN7EXAMPLE",
    "aws-temporary": "ASIA" + "IOSFODNN7EXAMPLE",
    "github": "ghp_" + RANDOM + RANDOM[:12],
    "github-fine": "github_pat_" + RANDOM + "_" + RANDOM,
    "gitlab": "glpat-" + RANDOM[:20],
    "slack": "xoxb-" + "1234567890-" + RANDOM,
    "stripe": "sk_live_" + RANDOM,
    "openai": "sk-proj-" + RANDOM + RANDOM,
    "openai-old": "sk-" + RANDOM + RANDOM,
    "anthropic": "sk-ant-api03-" + RANDOM,
    "google": "AIza" + "Sy" + RANDOM + "abcdefghi",
    "jwt": "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0." + RANDOM,
    "sendgrid": "SG." + RANDOM[:22] + "." + RANDOM + RANDOM[:19],
    "twilio": "SK" + "0123456789abcdef" * 2,
    "npm": "npm_" + RANDOM + RANDOM[:12],
    "pypi": "pypi-" + RANDOM + RANDOM,
    "telegram": "123456789:" + "AA" + RANDOM + RANDOM[:9],
    "hugging-face": "hf_" + RANDOM + RANDOM[:10],
    "vault": "hvs." + RANDOM,
    "bcrypt": "$2b$12$" + RANDOM + RANDOM,
}


@pytest.mark.parametrize("name", KNOWN_FORMS)
@pytest.mark.parametrize("frame", ["%s", "got %s.", "<%s>", "x='%s'", "a,%s,b", "/%s/"])
def test_a_credential_of_known_form_goes_wherever_it_stands(name: str, frame: str) -> None:
    secret = KNOWN_FORMS[name]
    cleaned = clean_text(frame % secret)
    assert RANDOM[:8] not in cleaned
    assert secret[-8:] not in cleaned
    assert KEY in cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("password=hunter2", f"password={KEY}"),
        ("login(user='bob', password='hunter2')", f"login(user='bob', password='{KEY}')"),
        ('{"db_password": "p w d", "n": 1}', f'{{"db_password": "{KEY}", "n": 1}}'),
        (r'body="{\"secret\": \"abc\", \"n\": 1}"', rf'body="{{\"secret\": \"{KEY}\", \"n\": 1}}"'),
        ("api_key: abc", f"api_key: {KEY}"),
        ("X-Api-Key: abc123", f"X-Api-Key: {KEY}"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", f"AWS_SECRET_ACCESS_KEY={KEY}"),
        ("Server=db;User Id=sa;Password=s3cr;et", f"Server=db;User Id=sa;Password={KEY};et"),
        ("<password>hunter2</password>", f"<password>{KEY}</password>"),
        ("password: b'hunter2'", f"password: '{KEY}'"),
        ("password='unclosed and cut", f"password='{KEY}"),
        ("mysql --password hunter2 -h db", f"mysql --password {KEY} -h db"),
        ("pass\x00word=hunter2", f"password={KEY}"),
        ("pas\u200bsword=hunter2", f"password={KEY}"),
        ("token=abc123def456", f"token={KEY}"),
        (f"the secret key is {RANDOM}", f"the secret key is {KEY}"),
        ("Bearer x", "Bearer [REDACTED]"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [REDACTED]"),
        ("Authorization: Token abcdef", f"Authorization: Token {KEY}"),
        ("basic " + base64.b64encode(b"user:pw").decode(), f"basic {KEY}"),
        ("Set-Cookie: sid=abc; Path=/", f"Set-Cookie: {KEY}"),
    ],
)
def test_values_after_key_like_words_go_and_the_rest_stays(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


def test_a_private_key_goes_whole_even_when_its_end_was_cut_off() -> None:
    block = "-----BEGIN " + "EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMHcCAQEEIA\nabc=\n"
    assert clean_text(f"bad {block}-----END EC PRIVATE KEY-----\nnext") == f"bad {KEY}\nnext"
    assert clean_text(f"bad {block}") == f"bad {KEY}"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("https://api.shop.com/v1/users/17?q=x#y", "https://api.shop.com"),
        ("see (https://x.com/a), then", "see (https://x.com), then"),
        ("https://github.com/o/r/issues/1", "https://github.com/o/r/issues/1"),
        ("https://u:p@github.com/o/r", "https://github.com/o/r"),
        ("https://github.com.evil.org/o/r", "https://github.com.evil.org"),
        ("https://api.openai.com/v1?api_key=abc", f"https://api.openai.com/v1?api_key={KEY}"),
        ("postgres://u:p@db.local:5432/orders?sslmode=require", "postgres://db.local:5432"),
        ("redis://:p@ss@cache:6379/0", "redis://cache:6379"),
        ("amqp://u:p/q@mq/v", f"amqp://{KEY}"),
        ("http://[2001:db8::1]:80/x", "http://[[EXTERNAL_IP]]:80"),
        ("http://10.0.0.1:80/x", "http://192.168.x.x:80"),
        ("jdbc:oracle:thin:scott/tiger@db:1521:x", "jdbc:oracle:thin:@db:1521:x"),
    ],
)
def test_urls_keep_their_host_and_lose_the_rest(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("from 10.1.2.3 to 8.8.8.8:53", "from 192.168.x.x to [EXTERNAL_IP]:53"),
        ("172.16.0.1 172.32.0.1 169.254.0.1 127.0.0.1", "192.168.x.x [EXTERNAL_IP] 192.168.x.x 192.168.x.x"),
        ("IP 10.0.0.1.443 > 203.0.113.9.80:", "IP 192.168.x.x.443 > [EXTERNAL_IP].80:"),
        ("::1 fe80::1%eth0 2001:db8::8a2e:370:7334", "192.168.x.x 192.168.x.x%eth0 [EXTERNAL_IP]"),
        ("::ffff:8.8.8.8 ::ffff:10.0.0.1", "[EXTERNAL_IP] 192.168.x.x"),
        ("0:0:0:0:0:0:0:1:2181", "192.168.x.x:2181"),
        ("ip-10-0-0-1.ec2.internal", "ip-192.168.x.x.ec2.internal"),
        ("mail to a.b+c@example.co.uk!", "mail to [EMAIL]!"),
        ("jürgen@münchen.de", "[EMAIL]"),
        ("q=bob%40example.com", "q=[EMAIL]"),
    ],
)
def test_addresses_are_generalised(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("/srv/app/orders/pricing.py:12", "orders/pricing.py:12"),
        ("'/srv/app/orders/a b.py'", "'orders/a b.py'"),
        ("/srv/application/x/y", "/srv/application"),
        ("/mnt/srv/app/x", "/mnt/srv"),
        ("open '/home/al/my docs/tax.pdf'", "open '/home/al'"),
        ("GET /orders/17/items?user=bob HTTP/1.1", "GET /orders/17 HTTP/1.1"),
        ("GET /search?q=my+illness HTTP/1.1", "GET /search HTTP/1.1"),
        ("~/notes/diary.txt", "~/notes"),
        (r"C:\Users\alice\secret.txt", r"C:\Users\alice"),
        (r"\\server\share\dir\f.txt", r"\\server\share"),
        ("file:///home/al/x/y", "file:///home/al"),
        ("PATH=/usr/local/bin:/home/al/bin", "PATH=/usr/local:/home/al"),
    ],
)
def test_paths_are_relative_to_the_repository_or_two_components_long(text: str, cleaned: str) -> None:
    assert clean_text(text, repository="/srv/app") == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'total'",
        "TypeError: unsupported operand type(s) for +: 'int' and 'str'",
        "password check failed for user (root)",
        "token: expected ')' at line 3",
        "jwt.InvalidTokenError: Not enough segments",
        "missing bearer token",
        "basic authentication required",
        "password=None, token=None",
        "cache key=user:17:profile expired",
        "pass=12 fail=0",
        "pwd=/srv",
        "version 1.2.3, v1.2.3.4, 3.11.7",
        "at 12:34:56.789 on 2026-01-10T14:32:00Z",
        "std::vector<int> a::b x[1::2] Foo::Bar",
        "00:1a:2b:3c:4d:5e",
        "@app.get on 3 of 4 and/or 5/6",
        "orders/pricing.py in total()",
        "commit 9b2118d0c1f4ab0116e0d91c2e0d4ab0116f00aa",
        "id 550e8400-e29b-41d4-a716-446655440000 key=550e8400-e29b-41d4-a716-446655440000",
        "session 0x14ed93111f20027 closed",
        "GET /orders/{id}",
        "scikit sk-learn task-force disk-usage",
        "can't parse this, won't try that",
        "Größe überschritten: 12 €",
        "",
        "\n\t ",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert clean_text(text) == text


def test_long_quotations_are_user_text_and_short_ones_are_not() -> None:
    said = "please tell me about my health " * 10
    assert clean_text(f"bad prompt '{said}' given") == "bad prompt '[TEXT]' given"
    short = "a" * (LONG_QUOTE - 1)
    assert clean_text(f"bad name '{short}' given") == f"bad name '{short}' given"


def test_control_and_terminal_characters_are_dropped() -> None:
    assert clean_text("\x1b[31mred\x1b[0m\r\nnext\x07\u202e\ud800") == "red\nnext\ufffd"


def test_a_secret_across_the_cut_is_seen_whole() -> None:
    filler = "x" * (MAX_CHARS - 10) + " "
    cleaned = clean_text(filler + KNOWN_FORMS["aws"])
    assert len(cleaned) <= MAX_CHARS
    assert "AKIA" not in cleaned


def test_text_that_never_comes_to_rest_is_refused_as_a_whole() -> None:
    assert settle("a", lambda text: "b" + text, 100) == REFUSED
    assert settle("a", lambda text: "b", 100) == "b"
