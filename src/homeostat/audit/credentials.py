"""What the ledger says of credentials: who was given which right, and with which token.

An entry ``token.made`` names a pseudonym, its role, and the digest of its token; entries of before
name no digest, and then any token is as good as another. The token itself is nowhere in it.
"""

from collections.abc import Iterable, Mapping, Sequence

from homeostat.core.digests import Digest
from homeostat.core.ids import ActorId
from homeostat.model.actor import SYSTEM, Actor, Role
from homeostat.model.ledger import EntryDraft, LedgerEntry

CREDENTIAL_MADE = "token.made"
_PERSON = "person-"


def credential_made(identity: ActorId, role: Role, token_digest: Digest) -> EntryDraft:
    """Return the entry that makes a credential known to the ledger."""
    body = {"role": role.value, "token_digest": token_digest}
    return EntryDraft(kind=CREDENTIAL_MADE, actor=SYSTEM.id, subject=identity, body=body)


def is_bound(identity: ActorId, entries: Iterable[LedgerEntry]) -> bool:
    """Tell whether the ledger names a digest of this actor's token."""
    return bool(_digests(identity, entries))


def unlike_ledger(actor: Actor, token_digest: str | None, entries: Iterable[LedgerEntry]) -> str:
    """Say what the ledger has against this actor with this token; empty when it stands as it was recorded.

    Without a digest (the name was erased, and the token with it) none is compared.
    """
    own = [entry for entry in entries if entry.kind == CREDENTIAL_MADE and entry.subject == actor.id]
    if actor.is_person:
        made = any(entry.body.get("role") == Role.OWNER for entry in own)
        if not (made and actor.id.startswith(_PERSON)):
            return f"{actor.id} may approve, but the ledger knows of no such credential"
    digests = _digests(actor.id, own)
    if token_digest is not None and digests and token_digest not in digests:
        return f"{actor.id} has another token than the one that was recorded"
    return ""


def credentials(
    actors: Sequence[Actor], token_digests: Mapping[ActorId, str], entries: Sequence[LedgerEntry]
) -> list[str]:
    """Check 7: whoever may approve was given that right in the ledger, and nobody's token was exchanged."""
    by_subject: dict[str, list[LedgerEntry]] = {}
    for entry in entries:
        by_subject.setdefault(entry.subject, []).append(entry)
    told = (unlike_ledger(actor, token_digests.get(actor.id), by_subject.get(actor.id, ())) for actor in actors)
    return [line for line in told if line]


def _digests(identity: ActorId, entries: Iterable[LedgerEntry]) -> frozenset[object]:
    own = (entry for entry in entries if entry.kind == CREDENTIAL_MADE and entry.subject == identity)
    return frozenset(digest for entry in own if isinstance(digest := entry.body.get("token_digest"), str))
