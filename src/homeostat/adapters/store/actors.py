"""Who acts: pseudonyms, and the names behind them as long as these may be known."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, RowMapping, exc, insert, select, update

from homeostat.adapters.store.database import Database
from homeostat.adapters.store.row_values import NOT_OURS, malformed, text
from homeostat.adapters.store.tables import actors
from homeostat.core.digests import Digest
from homeostat.core.errors import Conflict, NotFound, Unavailable
from homeostat.core.ids import ActorId
from homeostat.model.actor import Actor, Role


class SqlActors:
    """`homeostat.ports.store.ActorStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, *, actor: Actor, token_digest: Digest) -> None:
        """As in the port; `Conflict` when the pseudonym or the token is in use."""
        row = {"id": actor.id, "role": actor.role.value, "name": actor.name, "token_digest": token_digest}
        with self._database.writing() as connection:
            try:
                connection.execute(insert(actors), row)
            except exc.IntegrityError as error:
                raise Conflict("actor-exists", f"the actor {actor.id}, or its token, is in use already") from error

    def by_token(self, token_digest: Digest) -> Actor | None:
        with self._database.reading() as connection:
            row = connection.execute(select(actors).where(actors.c.token_digest == token_digest)).mappings().first()
        return None if row is None else _decode(row)

    def get(self, actor_id: ActorId) -> Actor | None:
        with self._database.reading() as connection:
            row = connection.execute(select(actors).where(actors.c.id == actor_id)).mappings().first()
        return None if row is None else _decode(row)

    def list_actors(self, *, role: Role | None = None) -> Sequence[Actor]:
        query = select(actors).order_by(actors.c.id)
        if role is not None:
            query = query.where(actors.c.role == role.value)
        with self._database.reading() as connection:
            return [_decode(row) for row in connection.execute(query).mappings()]

    def erase_name(self, actor_id: ActorId) -> None:
        """As in the port. Afterwards no byte of the name is in the database's files any more.

        Ledger entries name only the pseudonym, and so go on to verify.
        """
        with self._database.writing() as connection:
            erased = update(actors).where(actors.c.id == actor_id).values(name=None, token_digest=None)
            if connection.execute(erased).rowcount != 1:
                raise NotFound("no-such-actor", f"there is no actor {actor_id}")
        # The old row still stands in the write-ahead log until that is emptied.
        if not self._database.checkpoint():
            raise Unavailable(
                "erase-unfinished",
                f"the name of {actor_id} is erased, but a reader still keeps an old page of the database alive",
                hint="erase it again in a moment",
            )


def read_actors(connection: Connection) -> Sequence[Actor]:
    """Return every actor, in a transaction of the caller's."""
    return [_decode(row) for row in connection.execute(select(actors).order_by(actors.c.id)).mappings()]


def read_token_digests(connection: Connection) -> Mapping[ActorId, str]:
    """Return the digest of every actor's token that has one, in a transaction of the caller's."""
    query = select(actors.c.id, actors.c.token_digest).where(actors.c.token_digest.is_not(None))
    found = {}
    for row in connection.execute(query).mappings():
        try:
            found[ActorId(text(row["id"]))] = text(row["token_digest"])
        except NOT_OURS as error:
            raise malformed(f"actor {str(row['id'])[:40]}", error) from error
    return found


def _decode(row: RowMapping) -> Actor:
    try:
        name = None if row["name"] is None else text(row["name"])
        return Actor(id=ActorId(text(row["id"])), role=Role(row["role"]), name=name)
    except NOT_OURS as error:
        raise malformed(f"actor {str(row['id'])[:40]}", error) from error
