"""Who calls: bearer tokens, and the checks that keep web pages of strangers out.

A browser page elsewhere can make the user's browser talk to 127.0.0.1, by a form or by rebinding
its own name to that address. So the Host header must be one of ours, an Origin header, when there
is one, too; and no cookie is ever a credential here.
"""

import re
from dataclasses import dataclass

from fastapi import Request

from homeostat.audit.credentials import unlike_ledger
from homeostat.core.digests import digest_bytes
from homeostat.core.errors import InvalidInput, NotPermitted
from homeostat.model.actor import Actor
from homeostat.model.verdict import Denied
from homeostat.ports.store import ActorStore, LedgerStore

_OUR_HOST = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE)

_NOT_LET_IN = frozenset({"not-a-person", "not-permitted"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Unauthenticated:
    """No credential, or none that is known."""

    reason: str


def authenticate(authorization: str | None, actors: ActorStore, ledger: LedgerStore) -> Actor | Unauthenticated:
    """Find the actor of an ``Authorization: Bearer`` header by the digest of its token.

    A person must be known to the ledger, too, with this very token: a row is easily written.
    """
    if not authorization:
        return Unauthenticated(reason="no bearer token was sent; `homeostat token` prints the owner's")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return Unauthenticated(reason="the Authorization header is not `Bearer TOKEN`")
    digest = digest_bytes(token.strip().encode("utf-8", "surrogateescape"))
    actor = actors.by_token(digest)
    if actor is None:
        return Unauthenticated(reason="this token is not known here")
    if actor.is_person and (wrong := unlike_ledger(actor, digest, ledger.entries(subject=actor.id))):
        return Unauthenticated(reason=f"{wrong}; see `homeostat verify`")
    return actor


def is_our_host(host_header: str | None) -> bool:
    """Tell whether a Host header is nothing but a name of this machine's loopback, and a port."""
    return host_header is not None and _OUR_HOST.fullmatch(host_header) is not None


def is_our_origin(origin: str, host_header: str | None) -> bool:
    """Tell whether a page that a request comes from is one of this very hub."""
    return is_our_host(host_header) and origin == f"http://{host_header}"


def caller(request: Request) -> Actor:
    """Dependency: the authenticated caller. The middleware has put it there or answered 401."""
    actor = request.state.actor
    assert isinstance(actor, Actor)
    return actor


def error_of(denied: Denied) -> NotPermitted | InvalidInput:
    """Return the error that answers a refusal: one about who asks, and not about what, has an HTTP code of its own."""
    family = NotPermitted if denied.code in _NOT_LET_IN else InvalidInput
    return family(denied.code, "; ".join(denied.reasons), hint=denied.hint)
