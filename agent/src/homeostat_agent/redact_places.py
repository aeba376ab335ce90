"""Redaction rules for where and who: URLs, e-mail and network addresses, paths, and what users sent."""

from __future__ import annotations

import re
from functools import lru_cache

from homeostat_agent.redact_rules import EMAIL, EXTERNAL_IP, INTERNAL_IP, KEY, TEXT, Rule

LONG_QUOTE = 200
"""Quoted text from this many characters on is taken for what a user sent."""

URL_HOSTS = frozenset(("api.openai.com", "api.anthropic.com", "github.com"))
"""Hosts whose paths and queries stay (secrets in them are replaced all the same)."""

PATH_PREFIXES: tuple[str, ...] = ()
"""Absolute paths under one of these are cut to the prefix, instead of to two components."""


def _internal_v4(a: int, b: int) -> bool:
    """Tell by the first two octets."""
    return (
        a in (0, 10, 127)
        or (a == 192 and b == 168)
        or (a == 172 and 16 <= b <= 31)
        or (a == 169 and b == 254)
        or (a == 100 and 64 <= b <= 127)
    )


_OCTET = {text: number for number in range(256) for text in (str(number), f"{number:02}", f"{number:03}")}


def _ipv4(match: re.Match[str]) -> str:
    """Four octets; what follows them stays (``10.0.0.1.443`` of tcpdump)."""
    text = match.string
    start, end = match.span()
    if start:
        before = text[start - 1]
        # Part of a longer number, of a word, or of more than four parts.
        if before.isalnum() or (before == "." and start > 1 and text[start - 2].isdigit()):
            return match.group()
    if end < len(text) and text[end].isdigit():
        return match.group()
    return _shown_ipv4(match.group())


@lru_cache(maxsize=1024)
def _shown_ipv4(text: str) -> str:
    """Return the mark for four octets, or the text where one is too large: the same few come again and again."""
    try:
        a, b, _, _ = map(_OCTET.__getitem__, text.split("."))
    except KeyError:
        return text
    return INTERNAL_IP if _internal_v4(a, b) else EXTERNAL_IP


def _dashed_ipv4(match: re.Match[str]) -> str:
    octets = [int(part) for part in match.group(2).split("-")]
    if max(octets) > 255:
        return match.group()
    return match.group(1) + (INTERNAL_IP if _internal_v4(octets[0], octets[1]) else EXTERNAL_IP) + match.group(3)


_IPV6_SHORT = (
    r"(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,6})?::"
    r"(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,7}(?:\.[0-9]{1,3}){0,3})?"
)
_IPV6_FULL = r"(?:[0-9A-Fa-f]{1,4}:){6,8}[0-9A-Fa-f]{1,5}(?:\.[0-9]{1,3}){0,3}"
_LOOPBACK = 1
_NAT64 = 0x0064_FF9B << 64  # 64:ff9b::/96
_LINK_LOCAL = 0xFE80 >> 6  # fe80::/10
_UNIQUE_LOCAL = 0xFC00 >> 9  # fc00::/7


def _ipv6(match: re.Match[str]) -> str:
    """A candidate of hexadecimal groups: replaced when it is an address and not a time, a slice or ``a::b``."""
    text = match.group()
    before = match.string[match.start() - 1 : match.start()] if match.start() else ""
    after = match.string[match.end() : match.end() + 1]
    if before.isalnum() or after.isalnum() or before in ("_", ":") or after in ("_", ":"):
        return text
    body, tail = text, ""
    if "::" not in body and body.count(":") == 8:
        body, _, port = body.rpartition(":")
        tail = f":{port}"
    import ipaddress  # a program whose logs hold nothing like an address need not load it

    try:
        address = ipaddress.IPv6Address(body)
    except ValueError:
        return text
    value = int(address)
    if address.ipv4_mapped is not None:
        internal = _internal_v4(*address.ipv4_mapped.packed[:2])
    elif "::" in body and value >> 112 < 0x1000 and value != _LOOPBACK and value >> 32 != _NAT64:
        return text  # `a::b`, `[1::2]`: nothing is assigned below 1000::/4 but the two that were named
    else:
        internal = value <= _LOOPBACK or value >> 118 == _LINK_LOCAL or value >> 121 == _UNIQUE_LOCAL
    return (INTERNAL_IP if internal else EXTERNAL_IP) + tail


_PORT = re.compile(r":[0-9]{0,5}", re.ASCII)


def _url(match: re.Match[str]) -> str:
    """Keep scheme, host and port; keep path and query only where the host is allow-listed."""
    scheme, rest = match.group(1), match.group(2)
    bare = rest.rstrip(").,;:!?]}")
    if bare.count("[") > bare.count("]"):
        bare = rest[: len(bare) + 1]  # the bracket that ends an IPv6 address
    tail = rest[len(bare) :]
    cut = min((i for i in (bare.find(c) for c in "/?#;\\") if i >= 0), default=len(bare))
    authority, path = bare[:cut], bare[cut:]
    if not authority:
        return match.group()  # file:///..., sqlite:///...: left to the rules for paths
    host = authority.rpartition("@")[2]
    if host.startswith("[") and "]" in host:
        end = host.rindex("]") + 1
        name, port = host[:end], host[end:]
    else:
        name, colon, number = host.partition(":")
        port = colon + number
    if (port and not _PORT.fullmatch(port)) or (":" in authority and "@" in path) or len(name) > 253:
        return scheme + KEY + tail  # a password with a raw delimiter in it: its end cannot be told
    if name.lower() in URL_HOSTS:
        return scheme + host + path + tail
    return scheme + host + tail


_SEPARATORS = re.compile(r"[/\\]+")


def short_path(path: str, repository: str = "") -> str:
    """Cut an absolute path to what may be shown: relative to the repository, a prefix, or two components."""
    if repository and path.startswith(repository) and path[len(repository) : len(repository) + 1] in ("/", "\\"):
        return path[len(repository) :].lstrip("/\\") or path
    for prefix in PATH_PREFIXES:
        if path == prefix or path.startswith(prefix + "/"):
            return prefix
    if path[0] == "/" and "//" not in path and "\\" not in path:
        third = path.find("/", path.find("/", 1) + 1)  # found at 0 again where there is only one component
        return path[:third] if third > 0 else path
    root = 2 if path[1:2] == ":" or path[:2] == "\\\\" else 0  # after `C:` or the marks of a network share
    ends = [found.start() for found in _SEPARATORS.finditer(path, root) if found.start() > root or path[0] == "~"]
    return path[: ends[1]] if len(ends) > 1 else path


def path_rules(repository: str) -> tuple[Rule, ...]:
    """Return the rules for paths of a host whose repository is at this absolute path (or empty)."""

    def quoted(match: re.Match[str]) -> str:
        quote, path = match.group(1), match.group(2).partition("?")[0]
        return quote + short_path(path, repository) + quote

    def bare(match: re.Match[str]) -> str:
        path = match[1]
        stem = path.rstrip(".,:;!")
        short = match.string[match.start() : match.start(1)] + short_path(stem, repository)
        return short if stem == path else short + path[len(stem) :]

    stop = r"\"'`<>|:;,()\[\]{}?&*"
    opening = r"\x00-\x20\"'`(=:,\[{<>|;"
    rest = rf"[^\x00-\x20{stop}\\/][^\x00-\x20{stop}\\]*)(?:\?[^\x00-\x20\"'`<>]*)?"
    return (
        # Quoted paths may hold spaces.
        Rule("quoted-path", r"(')(/[^\x00-\x20/'][^'\n]*)'", quoted, ("'/",)),
        Rule("quoted-path-2", r'(")(/[^\x00-\x20/"][^"\n]*)"', quoted, ('"/',)),
        Rule("path", rf"(?:^|[{opening}])(/{rest}", bare, ("/",), quick=rf"(/(?<![^{opening}]/){rest}"),
        Rule("home-path", rf"(?:^|[{opening}])(~/{rest}", bare, ("~/",)),
        Rule("file-url", rf"://(/[^\x00-\x20{stop}\\]+)", bare, (":///",)),
        Rule(
            "windows-path",
            rf"(?:^|[^A-Za-z0-9])((?:[A-Za-z]:|\\)\\[^\x00-\x20{stop}]+)",
            bare,
            (":\\", "\\\\"),
        ),
    )


def _email(match: re.Match[str]) -> str:
    return EMAIL


def _data(match: re.Match[str]) -> str:
    return match.group(1) + TEXT


def _oracle(match: re.Match[str]) -> str:
    return match.group(1) + "@"


def _long_quote(match: re.Match[str]) -> str:
    quote = match.group(2)
    return match.group(1) + quote + TEXT + quote


URL_RULES: tuple[Rule, ...] = (
    Rule("data-url", r"(\b(?i:data):[A-Za-z0-9/+.;=-]{0,80};base64,)[A-Za-z0-9+/=_-]+", _data, (";base64,",)),
    Rule("oracle", r"(\bjdbc:oracle:[a-z]{1,8}:)[^\x00-\x20@]{1,200}@", _oracle, ("jdbc:oracle",)),
    Rule("url", r"(\b[A-Za-z][A-Za-z0-9+.-]{1,30}://)([^\x00-\x20\"'`<>|]+)", _url, ("://",)),
)

# Letters outside ASCII are taken as part of a name: better a neighbour too many than half an address.
# Said by what it is not: a class of all that is beyond ASCII takes 10 ms to compile.
_LABEL = r"[^\x00-,./:-@\[-`{-\x7f]"
_LETTER = r"[^\x00-@\[-`{-\x7f]"
ADDRESS_RULES: tuple[Rule, ...] = (
    Rule(
        "email",
        r"[^\x00-\x20@<>()\[\]{},;:\"'`/\\|=&?#!*$\x7f]{1,64}(?:@|%40)"
        rf"{_LABEL}{{1,63}}(?:\.{_LABEL}{{1,63}}){{0,6}}\.{_LETTER}{_LABEL}{{1,62}}",
        _email,
        ("@", "%40"),
        near=rf"(?:@|%40){_LABEL}{{1,63}}(?:\.{_LABEL}{{1,63}}){{0,6}}\.{_LETTER}",
    ),
    Rule("ipv6", _IPV6_SHORT, _ipv6, ("::",)),
    Rule("ipv6-full", _IPV6_FULL, _ipv6, (":",), at_least=6),
    Rule(
        "ipv4",
        r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}",
        _ipv4,
        (".",),
        at_least=3,
        near=r"\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
        # One character first: where a pattern begins with one, its search leaps to the next.
        quick=r"[0-9][0-9]{0,2}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}",
    ),
    Rule(
        # Names made of an address: ip-10-0-0-1.ec2.internal, customer-187-141-143-180-sta.example.com
        "ipv4-dashed",
        r"(\b[A-Za-z]{1,20}-|\b)([0-9]{1,3}(?:-[0-9]{1,3}){3})([.-][A-Za-z])",
        _dashed_ipv4,
        ("-",),
        at_least=3,
        near=r"-[0-9]{1,3}-[0-9]{1,3}-[0-9]{1,3}[.-][a-z]",
    ),
)

USER_TEXT_RULES: tuple[Rule, ...] = tuple(
    Rule(
        "long-quote",
        rf"(^|[\x00-\x20=:(\[{{,])({quote})[^{quote}\n]{{{LONG_QUOTE},}}{quote}",
        _long_quote,
        (quote,),
        at_least=2,
    )
    for quote in ("'", '"')
)
