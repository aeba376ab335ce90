"""Log lines that hold a made-up secret, and ordinary lines that look as if they might: to measure redaction by.

The shapes are those the issuers document; every value is drawn from a seeded generator, so that no
real credential and nothing that looks like one stands in the sources.
"""

import base64
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["ORDINARY_LINES", "SecretLine", "leaks", "secret_lines"]

_ALNUM = string.ascii_letters + string.digits
_UPPER = string.ascii_uppercase + string.digits
_HEX = "0123456789abcdef"
_URLSAFE = _ALNUM + "_-"
_DIGITS = string.digits
_B64 = _ALNUM + "+/"

Draw = Callable[[random.Random], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretLine:
    """`text` must be cleaned of every part of `secret`."""

    kind: str
    text: str
    secret: str


def leaks(cleaned: str, secret: str) -> bool:
    """Tell whether eight characters in a row of the secret (all of it, when it is shorter) are still there."""
    width = min(len(secret), 8)
    return any(secret[at : at + width] in cleaned for at in range(len(secret) - width + 1))


def _some(alphabet: str, size: int) -> Draw:
    return lambda rng: "".join(rng.choices(alphabet, k=size))


def _with(head: str, alphabet: str, size: int) -> Draw:
    tail = _some(alphabet, size)
    return lambda rng: head + tail(rng)


def _jwt(rng: random.Random) -> str:
    def part(text: str) -> str:
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    claims = f'{{"sub":"{rng.randrange(10**9)}","iat":{rng.randrange(10**9, 2 * 10**9)}}}'
    return ".".join((part('{"alg":"HS256","typ":"JWT"}'), part(claims), _some(_URLSAFE, 43)(rng)))


def _joined(separator: str, *parts: Draw | str) -> Draw:
    return lambda rng: separator.join(part if isinstance(part, str) else part(rng) for part in parts)


def _pem(kind: str, lines: int, newline: str) -> Draw:
    def draw(rng: random.Random) -> str:
        body = newline.join(_some(_B64, 64)(rng) for _ in range(lines))
        return f"-----BEGIN {kind}-----{newline}{body}{newline}-----END {kind}-----"

    return draw


def _password(rng: random.Random) -> str:
    """What people choose: a word or two, digits, perhaps a mark."""
    words = ("sommer", "dragon", "Hunter", "letmein", "Tr0ub4dor", "correcthorse", "monkey", "Passw0rd", "qwerty")
    return (
        rng.choice(words)
        + rng.choice(("", "!", "$", "@", "#"))
        + str(rng.randrange(10, 9999))
        + rng.choice(("", "!", "*"))
    )


# Each of these is told by its form alone, wherever it stands.
_TOKENS: dict[str, Draw] = {
    "aws-id": _with("AKIA", _UPPER, 16),
    "aws-session-id": _with("ASIA", _UPPER, 16),
    "github": _with("ghp_", _ALNUM, 36),
    "github-server": _with("ghs_", _ALNUM, 36),
    "github-fine": lambda rng: "github_pat_" + _some(_ALNUM, 22)(rng) + "_" + _some(_ALNUM, 59)(rng),
    "gitlab": _with("glpat-", _URLSAFE[:-2], 20),
    "slack-bot": _joined("-", "xoxb", _some(_DIGITS, 12), _some(_DIGITS, 13), _some(_ALNUM, 24)),
    "slack-user": _joined("-", "xoxp", *[_some(_DIGITS, 12)] * 3, _some(_HEX, 32)),
    "slack-app": _joined("-", "xapp-1", _some(_UPPER, 11), _some(_DIGITS, 13), _some(_HEX, 64)),
    "stripe": _with("sk_" + "live_", _ALNUM, 24),
    "stripe-restricted": _with("rk_" + "live_", _ALNUM, 99),
    "stripe-webhook": _with("whsec_", _ALNUM, 32),
    "google": _with("AIza", _URLSAFE, 35),
    "google-oauth": _with("ya29.", _URLSAFE, 60),
    "google-client": _with("GOCSPX-", _URLSAFE, 28),
    "openai": lambda rng: "sk-" + _some(_ALNUM, 20)(rng) + "T3BlbkFJ" + _some(_ALNUM, 20)(rng),
    "openai-project": _with("sk-proj-", _URLSAFE, 64),
    "anthropic": _with("sk-ant-api03-", _URLSAFE, 80),
    "hugging-face": _with("hf_", string.ascii_letters, 34),
    "jwt": _jwt,
    "sendgrid": lambda rng: "SG." + _some(_URLSAFE, 22)(rng) + "." + _some(_URLSAFE, 43)(rng),
    "twilio": _with("SK", _HEX, 32),
    "mailgun": _with("key-", _HEX, 32),
    "mailchimp": lambda rng: _some(_HEX, 32)(rng) + "-us" + str(rng.randrange(1, 21)),
    "npm": _with("npm_", _ALNUM, 36),
    "pypi": _with("pypi-AgEIcHlwaS5vcmc", _URLSAFE, 80),
    "digitalocean": _with("dop_v1_", _HEX, 64),
    "shopify": _with("shpat_", _HEX, 32),
    "square": _with("sq0atp-", _URLSAFE, 22),
    "telegram": lambda rng: str(rng.randrange(10**8, 10**10)) + ":AA" + _some(_URLSAFE, 33)(rng),
    "discord": _joined(".", _with("M", _ALNUM, 23), _some(_URLSAFE, 6), _some(_URLSAFE, 27)),
    "databricks": _with("dapi", _HEX, 32),
    "vault": _with("hvs.", _URLSAFE, 24),
    "grafana": lambda rng: "glsa_" + _some(_ALNUM, 32)(rng) + "_" + _some(_HEX, 8)(rng),
    "postman": lambda rng: "PMAK-" + _some(_HEX, 24)(rng) + "-" + _some(_HEX, 34)(rng),
    "new-relic": _with("NRAK-", _UPPER, 27),
    "atlassian": lambda rng: "ATATT3xFfGF0" + _some(_URLSAFE, 170)(rng) + "=" + _some(_HEX.upper(), 8)(rng),
    "azure-client": lambda rng: _some(_ALNUM, 3)(rng) + "8Q~" + _some(_ALNUM + "_.~-", 34)(rng),
    "airtable": lambda rng: "pat" + _some(_ALNUM, 14)(rng) + "." + _some(_HEX, 64)(rng),
    "linear": _with("lin_api_", _ALNUM, 40),
    "docker": _with("dckr_pat_", _URLSAFE, 27),
    "slack-hook": _joined(
        "/", "https://hooks.slack.com/services", _with("T", _UPPER, 8), _with("B", _UPPER, 8), _some(_ALNUM, 24)
    ),
    "password-hash": lambda rng: "$2b$12$" + _some(_ALNUM + "./", 53)(rng),
    "pem": _pem("RSA PRIVATE KEY", 13, "\n"),
    "pem-escaped": _pem("PRIVATE KEY", 5, "\\n"),
    "pem-openssh": _pem("OPENSSH PRIVATE KEY", 6, "\n"),
    "pem-ec": _pem("EC PRIVATE KEY", 3, "\n"),
}  # fmt: skip

_TOKEN_PLACES = (
    "using {}",
    "{}",
    "ERROR auth failed for token {} (HTTP 401)",
    'payload={{"user": "bob", "value": "{}"}}',
    "retrying with '{}' after 3 s",
    "deploy[2231]: exported VALUE={}; starting",
    "2026-03-01 10:22:11,120 WARNING app.client: rejected <{}>",
    "args: ['--id', '{}', '--verbose']",
    "line 1\\n{}\\nline 3",
    "GET /v1/charge?token={}&amount=12 HTTP/1.1",
    "note:{}, see the ticket",
    'File "/srv/app/client.py", line 12, in call: ValueError: bad credential {}',
)

# These look like anything: only the word before them tells.
_VALUES: dict[str, Draw] = {
    "aws-secret": _some(_B64, 40),
    "hex-32": _some(_HEX, 32),
    "base64-32": _some(_B64, 32),
    "password": _password,
    "random-16": _some(_ALNUM, 16),
    "marks-14": lambda rng: "a" + _some(_ALNUM + "!$%^*-_+", 12)(rng) + "9",
}

_VALUE_PLACES = (
    "password={}",
    "PASSWORD={}",
    "DB_PASSWORD={} DB_HOST=db1",
    "export API_KEY={}",
    'config: {{"api_key": "{}", "region": "eu"}}',
    "{{'password': '{}', 'user': 'admin'}}",
    'body={{\\"client_secret\\":\\"{}\\",\\"grant_type\\":\\"client_credentials\\"}}',
    "client_secret: {}",
    "aws_secret_access_key = {}",
    "AWS_SECRET_ACCESS_KEY={}",
    'secret_key="{}"',
    "SECRET_KEY = '{}'",
    "auth_token={}&next=/home",
    "access_token: '{}'",
    "X-Api-Key: {}",
    "x-auth-token: {}",
    "connecting with user=app password={} host=10.1.2.3",
    "Server=db;Database=app;User Id=sa;Password={};",
    "login --password {} --user bob",
    "mysqldump --password={} app",
    "<password>{}</password>",
    "passphrase: {}",
    "refreshToken={}",
    "accessKey: {}",
    "privateKey={}",
    "ENCRYPTION_KEY={}",
    "smtp_pass={}",
    "passwd: {}",
    "pwd={};Encrypt=true",
    "the password is '{}'",
    "CREATE USER app IDENTIFIED BY '{}'",
    "ALTER ROLE app WITH PASSWORD '{}'",
    "AccountName=store;AccountKey={};EndpointSuffix=core.windows.net",
    "form: username=bob&password={}&submit=1",
    "settings.SECRET_KEY='{}'",
    "Setting(password='{}', timeout=3)",
    "spring.datasource.password={}",
    "jwt_secret: {}",
    "session_token={}",
    "webhook_secret={}",
)

_HEADER_PLACES = (
    "Authorization: Bearer {}",
    "authorization: bearer {}",
    "'Authorization': 'Bearer {}'",
    'headers={{"Authorization": "Bearer {}", "Accept": "*/*"}}',
    "curl -H 'Authorization: Bearer {}' https://api.example.com/v1",
    "Authorization: Token {}",
    "Authorization: {}",
    "Proxy-Authorization: ApiKey {}",
)

_URL_PLACES = (
    "postgres://app:{}@db.internal:5432/app",
    "could not connect to redis://:{}@cache:6379/0",
    "amqp://worker:{}@mq.example.com/%2f: connection refused",
    "cloning https://oauth2:{}@git.example.com/team/repo.git",
    "mongodb+srv://root:{}@cluster0.example.net/?retryWrites=true",
    "GET https://api.example.com/v1/items?api_key={}&page=2",
    "https://store.blob.core.windows.net/c/f?sv=2022-11-02&sig={}",
    "ftp://backup:{}@files.example.com/x",
    "curl -u admin:{} https://example.com",
)


def _told(kind: str, secret: str) -> str:
    """Return the part of a secret that must not be seen."""
    if kind.startswith("pem"):
        return secret.replace("\\n", "\n").split("\n")[1]
    return secret.rpartition("/")[2] if kind == "slack-hook" else secret


def _basic(rng: random.Random) -> tuple[str, str]:
    secret = base64.b64encode(f"admin:{_some(_ALNUM, 12)(rng)}".encode()).decode()
    return f"Authorization: Basic {secret}", secret


def secret_lines(seed: int = 7) -> Iterator[SecretLine]:
    """Yield some two thousand lines: every form in every place, each value in each place its word names."""
    rng = random.Random(seed)  # noqa: S311 - nothing here is to be kept from anybody
    for kind, draw in _TOKENS.items():
        for place in _TOKEN_PLACES:
            secret = draw(rng)
            yield SecretLine(kind=kind, text=place.format(secret), secret=_told(kind, secret))
    for kind, draw in _VALUES.items():
        for place in _VALUE_PLACES:
            secret = draw(rng)
            yield SecretLine(kind=f"value/{kind}", text=place.format(secret), secret=secret)
    for kind in ("hex-32", "random-16", "base64-32"):
        for place in _HEADER_PLACES:
            secret = _VALUES[kind](rng)
            yield SecretLine(kind="header", text=place.format(secret), secret=secret)
    for kind in ("password", "random-16", "hex-32"):
        for place in _URL_PLACES:
            secret = _VALUES[kind](rng).replace("#", "x")
            yield SecretLine(kind="url", text=place.format(secret), secret=secret)
    for _ in range(10):
        line, secret = _basic(rng)
        yield SecretLine(kind="basic", text=line, secret=secret)


ORDINARY_LINES = tuple(
    """\
authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost=h1 user=root
check pass; user unknown
Failed password for invalid user admin from h1 port 38926 ssh2
Accepted publickey for deploy from h1 port 51544 ssh2: RSA key fingerprint checked
Invalid password: user not found
password: incorrect
Password expired for account bob
password reset requested
token expired, refreshing
Token is invalid or expired
access token: expired
Bearer token is missing
the bearer of the ticket left
Authorization header missing
basic authentication is disabled
Basic usage is explained in the manual
KeyError: 'session'
key not found in cache
cache key: user profile
cache miss for key=orders:list:page:2
primary key violation on table orders
duplicate key value violates unique constraint "orders_pkey"
Key (id)=(42) already exists.
partition key = region
sorted by key, 120 entries
keyspace hits: 1200, misses: 12
loaded 3 secrets from the store
secret "db" not found in namespace default
mounting secret volume
credentials: default chain
no credentials supplied
Unable to locate credentials
signature verified
signature mismatch for package core
HMAC check passed
session 4821 opened for user root by (uid=0)
session closed
Session: 30546173_4261722401 initialized by client WindowsUpdateAgent
session id 0x14f05578bd80003 timed out
sessionid=42 established
Established session 0x14f05578bd8000c with negotiated timeout 10000
salt minion connected
nonce too low
otp verification failed
auth module pam_unix loaded
auth=none
author: bob, authority: root
pass 1 of 3 complete
pass: 12, fail: 0, skip: 3
passed=118 failed=2
bypass=true compass=north
passenger count: 12
passive mode on
token bucket refilled to 100
tokens: 512 prompt, 128 completion
max_tokens=4096
total_tokens: 1280
tokenizer loaded in 1.2 s
unexpected token '<' at position 0
SyntaxError: Unexpected token } in JSON at position 42
csrf failed: token missing
monkey patched socket
keyboard interrupt
keystore loaded, 3 entries
key-value store opened
hotkey: ctrl+alt+del
apikey header is required
private key loaded from file
public key accepted
public_key_algorithm=ed25519
encryption key rotated at 12:00
Adding #0 tokens and #1 secret keys for NM use for launching container
Executing with tokens:
Kind: mapreduce.job, Service: job_1445144423722_0020, Ident: (JobTokenIdentifier)
container_1445144423722_0020_01_000002 transitioned from NEW to RUNNING
blk_38865049064139660 terminating
req-3ea4052c-895d-4b64-9e2d-04d64c4d94ab 113d3a99c3da401fbd62cc2caa5b96d2 54fadb412c4e40cdbaed9335e4c35a9e
[instance: b9000564-fe1a-409b-b8cc-1e88b294cd1d] VM Started (Lifecycle Event)
commit 3ac919a7d9c1c1bd1f4b5b2b3b8b2b3c8d1f4b5b deployed
sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 pulled
ETag: "33a64df551425fcc55e4d42a148795d9f25f89d4"
GET /static/app.3f2a1b9c.js 200
trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7
request_id=7f1c2d3e-1111-4222-8333-444455556666 took 12 ms
X-Request-Id: 7f1c2d3e11114222
user_id=20931 order_id=88123 status=shipped
module.exports = require('./secret-santa')
worker-7d9c5b8f6-x2k4p became ready
pod/api-6d4cf56db6-9zq7k evicted
at com.example.auth.TokenService.verify(TokenService.java:112)
org.apache.hadoop.mapreduce.security.token.JobTokenIdentifier
java.security.InvalidKeyException: Illegal key size
class KeyManager(Base): loaded
SecretManager service started on port 8443
Loading key ring from keys.asc
compiling auth.c
TLS handshake: cipher TLS_AES_256_GCM_SHA384
ssh-rsa key exchange with diffie-hellman-group14-sha1
iterator key=value pairs written
sid=12 pid=4411 tid=4412
risk signature version 1.403.12.0
asset manifest: main.4e1243bd22c66e76c2ba9eddc1f91394e57f9f83.css
index.html?sid=3
password policy: minimum length 12
password_min_length=12
PASSWORD_HASHERS = default
passwordless login enabled
Changed password for user bob
User bob must change password at next logon
credential manager: ready
api_key missing
api-key rate limit exceeded (100/min)
Missing required setting: secret_key
set SECRET_KEY in the environment
secret_key=${SECRET_KEY}
password={{ vault_password }}
password=****
password: <redacted>
password=None token=null
token="" session=''
Sending email to operations
mod_jk child workerEnv in error state 6
jk2_init() Found child 6725 in scoreboard slot 10
PacketResponder 1 for block terminating
Notification time out: 3200
Changing view acls to: yarn,curi
SecurityManager: authentication disabled; ui acls disabled
ramdisk 0x8000 bytes, crc 0x1f2e3d4c
CPU0: Intel(R) Core(TM) i7, features: sse2 avx2
disk sda1: 81% used, 12 GB free
SELECT id, total FROM orders WHERE key = 12
cursor position 00A0F3D2
MAC 00:16:3e:5e:6c:00 joined
version 4.18.0-553.el8_10.x86_64
Package_for_KB2928120~31bf3856ad364e35~amd64~~6.1.1.2 applicable
sk-learn 1.4 imported
sk-SK locale chosen
npm_config_cache set
eyJ is how a JSON web token begins
AKIA is a prefix
ghp_ tokens are refused here
the secret is out
my secret of success
token of appreciation sent
key is required
credentials of the user were checked
""".splitlines()
)
"""Lines that hold no secret; what is changed in them as one is a false alarm."""
