"""Redaction rules for credentials: those of a known form, and values that follow key-like words."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections import Counter

from homeostat_agent.redact_rules import BEARER, EMAIL, EXTERNAL_IP, KEY, TEXT, Rule


def _key(match: re.Match[str]) -> str:
    return KEY


def _after_head(match: re.Match[str]) -> str:
    return match.group(1) + KEY


_KNOWN_FORMS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    # name, pattern, hints
    ("aws", r"\b(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z0-9]{16,}", ("akia", "asia", "abia", "acca", "aroa", "aida")),
    ("github", r"\bgh[pousr]_[A-Za-z0-9]{20,}", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")),
    ("github-fine", r"\bgithub_pat_[A-Za-z0-9_]{20,}", ("github_pat_",)),
    (
        "gitlab",
        r"\bgl(?:pat|dt|rt|cbt|ptt|ft|soat|imt|agent|oas)-[A-Za-z0-9_.-]{16,}",
        ("glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glsoat-", "glimt-", "glagent-", "gloas-"),
    ),
    ("slack", r"\bxox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{8,}", ("xox",)),
    ("slack-app", r"\bxapp-[0-9]-[A-Za-z0-9-]{8,}", ("xapp-",)),
    ("stripe", r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{8,}", ("k_live_", "k_test_")),
    ("stripe-hook", r"\bwhsec_[A-Za-z0-9+/=]{16,}", ("whsec_",)),
    ("llm", r"\bsk-(?:ant|proj|svcacct|admin|or|lf)-[A-Za-z0-9_-]{8,}", ("sk-",)),
    ("openai", r"\bsk-[A-Za-z0-9]{20,}", ("sk-",)),
    ("google", r"\bAIza[A-Za-z0-9_-]{30,}", ("aiza",)),
    ("google-oauth", r"\b(?:ya29\.|GOCSPX-|1//0)[A-Za-z0-9_-]{20,}", ("ya29.", "gocspx-", "1//0")),
    ("jwt", r"\beyJ[A-Za-z0-9_-]{15,}(?:\.[A-Za-z0-9_.-]*)?", ("eyj",)),
    ("sendgrid", r"\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,}", ("sg.",)),
    ("twilio", r"\b(?:AC|SK)[0-9a-f]{32}\b", ("ac", "sk")),
    ("mailgun", r"\bkey-[0-9a-f]{32}\b", ("key-",)),
    ("mailchimp", r"\b[0-9a-f]{32}-us[0-9]{1,2}\b", ("-us",)),
    ("npm", r"\bnpm_[A-Za-z0-9]{30,}", ("npm_",)),
    ("pypi", r"\bpypi-[A-Za-z0-9_-]{40,}", ("pypi-",)),
    ("digitalocean", r"\bdo[opr]_v1_[0-9a-f]{32,}", ("_v1_",)),
    ("shopify", r"\bshp(?:at|ca|pa|ss)_[0-9A-Fa-f]{20,}", ("shpat_", "shpca_", "shppa_", "shpss_")),
    ("square", r"\bsq0[a-z]{3}-[A-Za-z0-9_-]{20,}", ("sq0",)),
    ("facebook", r"\bEAA[A-Za-z0-9]{30,}", ("eaa",)),
    ("telegram", r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}", (":aa",)),
    ("discord", r"\b[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}", (".",)),
    ("databricks", r"\bdapi[0-9a-f]{32}", ("dapi",)),
    ("doppler", r"\bdp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._-]{20,}", ("dp.",)),
    ("vault", r"\bhv[sbr]\.[A-Za-z0-9_-]{20,}", ("hvs.", "hvb.", "hvr.")),
    (
        "prefixed",
        r"\b(?:lin_api|glsa|glc|gsk|hf|xai|pplx|r8|ntn|secret|rdme|sntrys|sntryu|figd)[_-][A-Za-z0-9_]{30,}",
        (
            "lin_api",
            "glsa_",
            "glc_",
            "gsk_",
            "hf_",
            "xai-",
            "pplx-",
            "r8_",
            "ntn_",
            "secret_",
            "rdme_",
            "sntry",
            "figd_",
        ),
    ),
    ("postman", r"\bPMAK-[0-9a-f]{20,}-[0-9a-f]{20,}", ("pmak-",)),
    ("new-relic", r"\bNR(?:AK|JS|II|RA)-[A-Za-z0-9_-]{16,}", ("nrak-", "nrjs-", "nrii-", "nrra-")),
    ("atlassian", r"\bAT(?:AT|CT|BB)[A-Za-z0-9_=-]{24,}", ("atat", "atct", "atbb")),
    ("age", r"\bAGE-SECRET-KEY-1[A-Z0-9]{20,}", ("age-secret-key-",)),
    (
        "docker",
        r"\b(?:dckr_pat|sbp|vcp|rubygems|tskey)[_-][A-Za-z0-9_-]{24,}",
        ("dckr_pat", "sbp_", "vcp_", "rubygems_", "tskey-"),
    ),
    ("password-hash", r"\$(?:2[abxy]|5|6|y|argon2id?|pbkdf2[a-z0-9-]{0,12})\$[A-Za-z0-9./$=,+-]{20,}", ("$",)),
)

_STRONG = (
    r"passw(?:or)?ds?|passphrase|pwd|passcode|secrets?|api[_-]?keys?"
    r"|(?:access|secret|private|account|storage|encryption|signing|master|auth|app|license|subscription)[_-]?keys?"
    r"|(?:access|auth|refresh|id|session|bearer|bot|security|csrf|xsrf|oauth|api|user|jwt|sas|service|deploy)[_-]?tokens?"
    r"|jsessionid|phpsessid|credentials?|signature|hmac"
)
"""Words whose value is a credential, whatever it looks like."""

_WEAK = r"pass|key|tokens?|auth|cred|sig|salt|nonce|otp|sid|session(?:[_-]?id)?|jwt|sas"
"""Words whose value may be one: it goes when it looks like one."""

_SUFFIX = r"(?:[_-]?(?:hash|value|confirm(?:ation)?|string|str|text|plain|base64|b64|id|key|old|new|[0-9]{1,2}))?"
_SEPARATOR = r"(?:\\?[\"'])?\]?[ \t]{0,3}(?:=>|:=|==|=|:)[ \t]{0,3}"
_VALUE = (
    r"(?:\\\"[^\"\\\n]*(?:\\\")?"  # JSON inside JSON
    r"|[bBuUrRfF]{0,2}\"(?:[^\"\\\n]|\\[^\n])*\"?"
    r"|[bBuUrRfF]{0,2}'(?:[^'\\\n]|\\[^\n])*'?"
    r"|\[(?:REDACTED|REDACTED_KEY|EMAIL|EXTERNAL_IP|TEXT)\]"
    r"|[^\x00-\x20\"'`,;&<>]+)"
)
_MARKS = frozenset((KEY, BEARER, EMAIL, EXTERNAL_IP, TEXT))
_NOT_SECRET = re.compile(
    r"(?i:none|null|nil|true|false|undefined|empty|missing|required|invalid|not|str|int|bool|string"
    r"|\*+|x{3,}|\.{3}|%[sdr]|\$?\{[a-z_.]*\}|<[a-z_ ]*>)?",
    re.ASCII,
)
_CREDENTIAL = re.compile(r"[A-Za-z0-9+/_.=~-]+", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


def _entropy(text: str) -> float:
    """Return Shannon's entropy of the characters, in bits a character."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values())


def _looks_secret(value: str, *, least: int) -> bool:
    """Tell whether a value after a word that only may mean a credential looks like one."""
    if len(value) < least or not _CREDENTIAL.fullmatch(value) or _UUID.fullmatch(value):
        return False
    if not (any(c.isdigit() for c in value) and any(c.isalpha() for c in value)):
        return False
    return _entropy(value[:128]) >= min(3.0, math.log2(least))


def _unquote(value: str) -> tuple[str, str, str]:
    """Split a matched value into opening quote (with its prefix), content, and closing quote."""
    for mark in ('\\"', '"', "'"):
        start = value.find(mark, 0, 2 + len(mark))
        if start == 0 or (start > 0 and value[:start].isalpha()):
            body = value[start + len(mark) :]
            closed = body.endswith(mark)
            return mark, body[: -len(mark)] if closed else body, mark if closed else ""
    if value in _MARKS:
        return "", value, ""
    bare = value.rstrip(")]}.:")
    return "", bare, value[len(bare) :]


def _assigned(match: re.Match[str]) -> str:
    """``password=x``: the value goes, whatever it looks like."""
    head, value = match.group(1), match.group(2)
    opening, body, closing = _unquote(value)
    working_directory = head[:3].lower() == "pwd" and body[:1] in ("/", "~")
    if working_directory or _NOT_SECRET.fullmatch(body) or body in (KEY, BEARER):
        return match.group()
    return head + opening + KEY + closing


def _perhaps_assigned(match: re.Match[str]) -> str:
    """``key: x``, ``token=x``: the value goes when it looks like a credential."""
    head, value = match.group(1), match.group(2)
    opening, body, closing = _unquote(value)
    word = head.lower()
    if "key" in word:
        least = 16
    elif "sid" in word or "session" in word:
        least = 20  # shorter ones are counters and addresses of ordinary log lines
    else:
        least = 8
    return head + opening + KEY + closing if _looks_secret(body, least=least) else match.group()


def _mentioned(match: re.Match[str]) -> str:
    """``the secret key is 9f86d081...``: long and random, close after a key-like word."""
    return match.group(1) + KEY if _looks_secret(match.group(2), least=8) else match.group()


_PROSE_AFTER_BEARER = re.compile(
    r"(?:tokens?|auth(?:entication|orization)?|schemes?|headers?|credentials?|realm|errors?|is|was|not|or|and|of"
    r"|for|in|must|the|a)[.:,=]*",
    re.ASCII,
)


def _bearer(match: re.Match[str]) -> str:
    if _PROSE_AFTER_BEARER.fullmatch(match.group(3).lower()):
        return match.group()  # prose about bearer tokens
    return match.group(1) + match.group(2) + BEARER


def _basic(match: re.Match[str]) -> str:
    """``Basic dXNlcjpwYXNz``, told from prose by decoding it."""
    value = match.group(2)
    try:
        decoded = base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        return match.group()
    return match.group(1) + KEY if b":" in decoded else match.group()


def _authorization(match: re.Match[str]) -> str:
    head, scheme, value = match.group(1), match.group(2), match.group(3)
    if value.startswith("[REDACTED") or (scheme + value).lower().startswith("bearer"):
        return match.group()
    return head + scheme + KEY


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

KEY_RULES: tuple[Rule, ...] = (
    *(Rule(name, pattern, _key, hints) for name, pattern, hints in _KNOWN_FORMS),
    Rule(
        "assigned",
        r"((?i:" + _STRONG + r")" + _SUFFIX + r"(?:" + _SEPARATOR + r"|>))(" + _VALUE + r")",
        _assigned,
        ("pass", "pwd", "secret", "key", "token", "sessid", "jsessionid", "credential", "signature", "hmac"),
    ),
    Rule(
        "perhaps-assigned",
        r"((?:\b|_)(?i:" + _WEAK + r")" + _SEPARATOR + r")(" + _VALUE + r")",
        _perhaps_assigned,
        ("pass", "key", "token", "auth", "cred", "sig", "salt", "nonce", "otp", "sid", "session", "jwt", "sas"),
    ),
    Rule(
        "option",
        r"(--?(?i:password|passwd|pass|token|secret|api-?key|auth-token|access-token|client-secret)[ \t]{1,3})("
        + _VALUE
        + r")",
        _assigned,
        ("-pass", "-token", "-secret", "-api", "-auth", "-access", "-client"),
    ),
    Rule(
        "mentioned",
        r"(\b(?i:password|passwd|passphrase|secret|token|credentials?"
        r"|(?:api|access|secret|private|signing|encryption|auth)[ _-]?key)"
        r"(?i:[ \t]{1,3}(?:is|was|of|value|id|used))?[ \t:=]{1,3}[\"'`(\[<]?)([A-Za-z0-9+/_.=~-]{8,})",
        _mentioned,
        ("passw", "passphrase", "secret", "token", "credential", "key"),
    ),
)
