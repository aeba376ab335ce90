"""Redaction rules for credentials that their surroundings tell: headers, values after key-like words, long random text.

Those that are told by their own form are in `redact_forms`; what a value looks like, in `redact_values`.
"""

from __future__ import annotations

import re

from homeostat_agent.redact_forms import FORM_RULES
from homeostat_agent.redact_rules import BEARER, KEY, Rule, any_case, by_first_letter
from homeostat_agent.redact_values import (
    MARKS,
    is_interleaved,
    is_mixed,
    is_placeholder,
    is_prose,
    is_random,
    is_uuid,
    looks_like_password,
    looks_secret,
)

_WORDS = (
    *("pass", "pwd", "secret", "key", "token", "sess", "sid", "cred", "sig", "hmac", "auth", "salt", "nonce"),
    *("otp", "jwt", "sas", "code"),
)
"""Of all words below each holds one of these: the hints of their rules."""

_KEYS = (
    *("access", "secret", "private", "account", "storage", "encryption", "signing", "master", "auth", "app", "license"),
    *("subscription", "shared", "host", "deploy", "webhook", "service", "recovery", "hmac", "consumer", "function"),
    *("functions", "admin", "api"),
)
_TOKENS = (
    *(
        "access",
        "auth",
        "refresh",
        "id",
        "session",
        "bearer",
        "bot",
        "security",
        "csrf",
        "xsrf",
        "oauth",
        "api",
        "user",
    ),
    *("jwt", "sas", "service", "deploy", "vault", "private", "gitlab", "github", "slack", "npm", "push", "device"),
    *("verification", "reset", "client", "login"),
)
_PASSES = (
    *("db", "database", "user", "admin", "root", "mysql", "pg", "postgres", "smtp", "mail", "ftp", "ldap", "redis"),
    *("proxy", "ssh", "login", "store"),
)
_STRONG = any_case(
    by_first_letter(
        (
            *("passw(?:or)?ds?", "passphrase", "pwd", "passcode", "passkey", "secrets?"),
            *(f"{word}[_-]?keys?" for word in _KEYS),
            *(f"{word}[_-]?tokens?" for word in _TOKENS),
            *(f"{word}[_-]?pass" for word in _PASSES),
            *("jsessionid", "phpsessid", "credentials?", "signature", "hmac", "client-key-data"),
        )
    )
)
"""Words whose value is a credential, whatever it looks like."""

_WEAK = (
    r"pass|key|tokens?|auth|creds?|sig|salt|nonce|otp|[a-z]{0,10}\.?sid|session(?:[_-]?id)?|jwt|sas"
    r"|(?:verification|recovery|backup|security|mfa|2fa|login|confirmation)[ _-]?codes?"
)
"""Words whose value may be one: it goes when it looks like one."""

_SUFFIX = r"(?:[_-]?(?:hash|value|confirm(?:ation)?|string|str|text|plain|base64|b64|id|key|data|old|new|[0-9]{1,2}))?"
_SEPARATOR = r"(?:\\?[\"']|&quot;)?\]?[ \t]{0,3}(?:=>|:=|==|=|:|%3[Dd])[ \t]{0,3}(?:&quot;)?"
_QUOTED = r"[bBuUrRfF]{0,2}\"(?:[^\"\\\n]|\\[^\n])*\"?|[bBuUrRfF]{0,2}'(?:[^'\\\n]|\\[^\n])*'?"
_VALUE = (
    r"(?:\\\"[^\"\\\n]*(?:\\\")?"  # JSON inside JSON
    rf"|{_QUOTED}"
    r"|\[(?:REDACTED|REDACTED_KEY|EMAIL|EXTERNAL_IP|TEXT)\]"
    r"|[^\x00-\x20\"'`,;&<>]+)"
)


def _key(match: re.Match[str]) -> str:
    return KEY


def _after_head(match: re.Match[str]) -> str:
    return match.group(1) + KEY


def _unquote(value: str) -> tuple[str, str, str]:
    """Split a matched value into opening quote (with its prefix), content, and closing quote."""
    for mark in ('\\"', '"', "'"):
        start = value.find(mark, 0, 2 + len(mark))
        if start == 0 or (start > 0 and value[:start].isalpha()):
            body = value[start + len(mark) :]
            closed = body.endswith(mark)
            return mark, body[: -len(mark)] if closed else body, mark if closed else ""
    if value in MARKS:
        return "", value, ""
    bare = value.rstrip(")]}.:")
    return "", bare, value[len(bare) :]


def _assigned(match: re.Match[str]) -> str:
    """``password=x``: the value goes, whatever it looks like."""
    head, value = match.group(1), match.group(2)
    opening, body, closing = _unquote(value)
    working_directory = head[:3].lower() == "pwd" and body[:1] in ("/", "~")
    if working_directory or is_placeholder(body) or is_placeholder(body + closing):
        return match.group()
    if not opening and is_prose(head, body, match.string[match.end() : match.end() + 20]):
        return match.group()
    return head + opening + KEY + closing


def _perhaps_assigned(match: re.Match[str]) -> str:
    """``key: x``, ``token=x``: the value goes when it looks like a credential."""
    head, value = match.group(1), match.group(2)
    opening, body, closing = _unquote(value)
    word = head.lower()
    exact = bool(opening) or "=" in head  # a program's own notation, not a sentence
    if body in MARKS:
        return match.group()
    if "key" in word:
        found = looks_secret(body, least=16)
    elif "sid" in word or "session" in word:
        found = looks_secret(body, least=12 if "=" in head else 20)  # shorter ones are counters in ordinary lines
    elif "otp" in word or "code" in word:
        found = len(body) >= 4 and any(c.isdigit() for c in body) and (exact or body.isdigit() or is_interleaved(body))
    elif "token" in word or "jwt" in word:
        found = is_uuid(body) or looks_secret(body, least=8) or (exact and len(body) >= 12 and body.isalnum())
    elif "sig" in word or "salt" in word or "nonce" in word:
        found = looks_secret(body, least=8)
    else:
        found = looks_secret(body, least=8) or looks_like_password(body)
    return head + opening + KEY + closing if found and not is_placeholder(body) else match.group()


_TRUSTED_WORD = r"(?i:passw|passphrase|pwd)"


def _mentioned(match: re.Match[str]) -> str:
    """``the secret key is 9f86d081...``: behind a key-like word, and with the looks of a credential."""
    head, value = match.group(1), match.group(2)
    body = value.rstrip(".,:;!?)]}'\"")
    if body in MARKS or body[:2] in ("0x", "0X"):
        return match.group()
    if re.search(_TRUSTED_WORD, head):
        found = looks_like_password(body)
    elif len(body) >= 16:
        found = is_mixed(body) and looks_secret(body, least=16)
    else:
        found = len(body) >= 8 and is_interleaved(body) and looks_like_password(body)
    return head + KEY + value[len(body) :] if found else match.group()


def _paired(match: re.Match[str]) -> str:
    """``('X-Api-Key', 'f3a9')``, ``set_password("x1")``: a literal beside the word, when it is no plain word."""
    opening, body, closing = _unquote(match.group(2))
    if body in MARKS or is_placeholder(body) or not (looks_like_password(body) or looks_secret(body, least=8)):
        return match.group()
    return match.group(1) + opening + KEY + closing


_PROSE_AFTER_BEARER = (
    r"(?:tokens?|auth(?:entication|orization)?|schemes?|headers?|credentials?|realm|errors?|is|was|not|or|and|of"
    r"|for|in|must|the|a)[.:,=]*"
)


def _bearer(match: re.Match[str]) -> str:
    if re.fullmatch(_PROSE_AFTER_BEARER, match.group(3).lower()):
        return match.group()  # prose about bearer tokens
    return match.group(1) + match.group(2) + BEARER


def _basic(match: re.Match[str]) -> str:
    """``Basic dXNlcjpwYXNz``, told from prose by decoding it."""
    import base64  # seldom needed

    value = match.group(2)
    try:
        decoded = base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except ValueError:
        return match.group()
    return match.group(1) + KEY if b":" in decoded else match.group()


def _authorization(match: re.Match[str]) -> str:
    head, scheme, value = match.group(1), match.group(2), match.group(3)
    if value.startswith("[REDACTED") or (scheme + value).lower().startswith("bearer"):
        return match.group()
    return head + scheme + KEY


_PUBLIC = ("sha256:", "sha512:", "sha256-", "sha384-", "sha512-", "md5:")
"""Before a fingerprint, which is no secret."""


def _random(match: re.Match[str]) -> str:
    value, start = match.group(), match.start()
    before = match.string[max(start - 8, 0) : start].lower()
    if before.endswith(_PUBLIC) or value.lower().startswith(_PUBLIC) or value.startswith("AAAA"):
        return value  # `AAAA...`: a public key of SSH
    return KEY if is_random(value) else value


HEADER_RULES: tuple[Rule, ...] = (
    Rule(
        "private-key",
        r"-----BEGIN[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[A-Za-z0-9+/=\r\n\t \\:,._@()]|-[A-Za-z0-9 ])*(?:-----END[A-Z0-9 ]{0,60}-----)?",
        _key,
        ("private key",),
    ),
    Rule("putty-key", r"(Private-Lines: [0-9]+)(?:[\r\n]+[A-Za-z0-9+/=]+)+", _after_head, ("private-lines",)),
    Rule("bearer", r"(\b(?i:bearer))([ \t:=]{1,4}|%20)([^\x00-\x20\"'`,;<>\\)\]}]+\]?)", _bearer, ("bearer",)),
    Rule(
        "authorization",
        r"((?i:authorization)[\"']?[ \t]{0,3}[:=][ \t]{0,3}[\"']?)"
        r"((?:[A-Za-z0-9-]{3,20}[ \t]{1,3})?)([^\x00-\x20\"'`,;]+)",
        _authorization,
        ("authorization",),
    ),
    Rule("basic", r"((?i:\bbasic)[ \t]{1,3})([A-Za-z0-9+/]{6,}={0,2})", _basic, ("basic",)),
    Rule(
        "cookie",
        r"((?i:cookie2?)[\"']?[ \t]{0,2}:[ \t]{0,2}[\"']?)[^\x00-\x20\"'`,=;]{1,200}=[^\x00-\x1f\"'`]+",
        _after_head,
        ("cookie",),
    ),
)
"""Tried before URLs: they hold whole lines together that later rules would take apart."""

_LITERAL = r"\"[^\"\n ]{4,200}\"|'[^'\n ]{4,200}'"
_ASSIGNED_NEAR = rf"(?:{'|'.join(_WORDS)})[a-z0-9_-]{{0,28}}(?:[\\\"'\] \t]|&quot;){{0,8}}(?:[=:>]|%3d)"
_MENTIONED_WORD = (
    r"passwords?|passwd|pwd|passphrase|secret|token|credentials?|keys?"
    r"|(?:[a-z0-9_-]{1,30}[_-])?(?:password|passwd|secret|token|key)"
)
_QUOTED_AFTER = (
    r"(?:password|passwd|identified[ \t]{1,3}by|passphrase|secret)(?:[ \t]{1,3}(?:is|was|to|value))?[ \t]{1,3}"
)
_MENTIONED_LINK = r"(?:[ \t]{1,3}(?:is|was|of|value|id|used))?[ \t]{1,3}[\"'`(\[<]?"

KEY_RULES: tuple[Rule, ...] = (
    *FORM_RULES,
    Rule(
        "assigned",
        rf"((?:{_STRONG}){_SUFFIX}(?:{_SEPARATOR}|>))({_VALUE})",
        _assigned,
        _WORDS,
        near=_ASSIGNED_NEAR,
    ),
    Rule(
        "perhaps-assigned",
        rf"((?:\b|_)(?i:{_WEAK}){_SEPARATOR})({_VALUE})",
        _perhaps_assigned,
        _WORDS,
        near=_ASSIGNED_NEAR,
    ),
    Rule(
        "mentioned",
        rf"((?:\b|_)(?i:{_MENTIONED_WORD})(?i:{_MENTIONED_LINK}))([^\x00-\x20\"'`,;&<>()]{{6,}})",
        _mentioned,
        _WORDS,
        near=r"(?:passw(?:or)?ds?|pwd|passphrase|secret|token|credentials?|keys?)"
        rf"{_MENTIONED_LINK}[^\x00-\x20\"'`,;&<>()0-9]{{0,128}}[0-9!@$%^*]",
    ),
    Rule(
        "paired",
        rf"((?:{_STRONG}){_SUFFIX}(?:[\"']\)?[ ]{{0,2}},[ ]{{0,2}}[bBuU]?|[\"'][ ]{{1,3}}value[ ]?=[ ]?|\([bBuU]?))"
        rf"({_LITERAL})",
        _paired,
        _WORDS,
        near=rf"(?:{'|'.join(_WORDS)})[a-z0-9_-]{{0,28}}(?:[\"']\)?[ ]{{0,2}},|[\"'][ ]{{1,3}}value|\()",
    ),
    Rule(
        "option",
        r"(--?(?i:password|passwd|pass|token|secret|api-?key|auth-token|access-token|client-secret)[ \t=]{1,3})("
        + _VALUE
        + r")",
        _assigned,
        ("-",),
        near=r"-(?:pass|token|secret|api|auth|access|client)",
    ),
    Rule("sshpass", r"(\bsshpass[ \t]{1,3}-p[ \t]{0,3})([^\x00-\x20\"'`;&<>]+)", _after_head, ("sshpass",)),
    Rule(
        "user-option",
        r"((?:[ \t]-u|--user|--proxy-user)[ \t=]{1,3}[\"']?[A-Za-z0-9_.@-]{1,64}:)[^\x00-\x20\"'`,;&<>]+",
        _after_head,
        ("-u", "-user"),
    ),
    Rule(
        "quoted-after",
        rf"(\b(?i:{_QUOTED_AFTER}))({_LITERAL})",
        _assigned,
        ("'", '"'),
        near=rf"(?:{_QUOTED_AFTER})[\"']",
    ),
    Rule(
        "mnemonic",
        r"(\b(?i:mnemonic|seed[ _-]?phrase|recovery[ _-]?phrase)[\"']?(?: is)?[ \t:=]{1,3}[\"']?)"
        r"(?:[a-z]{3,8}[ ]){11,23}[a-z]{3,8}",
        _after_head,
        ("mnemonic", "phrase"),
    ),
    Rule(
        "random",
        r"[A-Za-z0-9+/_-]{32,}={0,2}",
        _random,
        near=r"[0-9][a-z][a-z0-9+/_-]{6}",
    ),
)
