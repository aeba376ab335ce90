"""Bringing a database to the schema of this version, from whatever older one it has."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from homeostat.core.errors import Unavailable

HEAD_REVISION = "0006"
"""The newest step in ``migrations/versions``; a test compares it with the files."""

_MIGRATIONS = Path(__file__).parent / "migrations"


def current_revision(connection: Connection) -> str | None:
    """Return the schema revision of this database, None when it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def upgrade(connection: Connection) -> None:
    """Run the steps that are missing, within the caller's transaction: all of them or none.

    `Unavailable` when the database was written by a newer version than this one.
    """
    revision = current_revision(connection)
    if revision == HEAD_REVISION:
        return
    # Imported here: it takes a tenth of a second, and a database that is up to date never needs it.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    if revision is not None:
        known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
        if revision not in known:
            raise newer_schema(revision)
    command.upgrade(config, "head")


def newer_schema(revision: str) -> Unavailable:
    """Return the error for a database that this version does not know."""
    return Unavailable(
        "schema-unknown",
        f"the database has schema {revision}; this version knows up to {HEAD_REVISION}",
        hint="it was written by a newer version of homeostat: upgrade, or restore an older backup",
    )
