"""The schema: what the migrations make is what the code uses, from nothing and from any older step."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

import homeostat.adapters.store as package
from homeostat.adapters.keys import Ed25519Signer
from homeostat.adapters.store import SqlStore
from homeostat.adapters.store.database import Database
from homeostat.adapters.store.migrate import HEAD_REVISION, current_revision, upgrade
from homeostat.adapters.store.tables import metadata
from homeostat.core.errors import NotFound, Unavailable
from homeostat.testing.example_rows import SteppingClock, example_entry

SIGNER = Ed25519Signer.generate()


def open_store(folder, **options):
    return SqlStore.open(
        folder / "h.sqlite", signer=SIGNER, clock=SteppingClock(), head_path=folder / "head.json", **options
    )


def differences(path):
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        found = compare_metadata(context, metadata)
    engine.dispose()
    return found


def constraints(engine):
    """Return what `compare_metadata` does not look at."""
    look = inspect(engine)
    return {
        table: (
            look.get_pk_constraint(table),
            sorted(look.get_foreign_keys(table), key=lambda item: item["name"]),
            look.get_unique_constraints(table),
        )
        for table in look.get_table_names()
        if table != "alembic_version"
    }


def test_the_migrations_make_the_tables_that_the_code_uses(tmp_path):
    open_store(tmp_path).close()
    assert differences(tmp_path / "h.sqlite") == []


def test_keys_and_constraints_are_the_same_too(tmp_path):
    open_store(tmp_path).close()
    migrated = create_engine(f"sqlite:///{tmp_path / 'h.sqlite'}")
    direct = create_engine(f"sqlite:///{tmp_path / 'direct.sqlite'}")
    metadata.create_all(direct)
    assert constraints(migrated) == constraints(direct)
    migrated.dispose()
    direct.dispose()


def test_a_difference_would_be_seen(tmp_path):
    open_store(tmp_path).close()
    with sqlite3.connect(tmp_path / "h.sqlite") as connection:
        connection.execute("ALTER TABLE ticks ADD COLUMN extra TEXT")
    connection.close()
    assert differences(tmp_path / "h.sqlite") != []


def test_the_newest_step_is_the_one_that_the_code_expects():
    config = Config()
    config.set_main_option("script_location", str(Path(package.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD_REVISION]


def test_every_migration_belongs_to_the_installed_package():
    folder = Path(package.__file__).parent / "migrations"
    assert (folder / "env.py").is_file()
    steps = sorted(path.name[:5] for path in (folder / "versions").glob("r*.py"))
    assert steps == [f"r{number:04}" for number in range(1, int(HEAD_REVISION) + 1)]


def test_opening_again_keeps_what_is_there(tmp_path):
    store = open_store(tmp_path)
    entry = store.ledger.append(example_entry("a.b"))
    store.close()
    again = open_store(tmp_path)
    assert list(again.ledger.entries()) == [entry]
    again.close()


def test_a_migration_that_is_not_finished_leaves_nothing(tmp_path):
    database = Database(tmp_path / "h.sqlite", busy_timeout_s=1, read_only=False)
    with pytest.raises(RuntimeError), database.writing() as connection:
        upgrade(connection)
        assert current_revision(connection) == HEAD_REVISION
        raise RuntimeError("killed here")
    with database.reading() as connection:
        assert inspect(connection).get_table_names() == []
    database.close()
    open_store(tmp_path).close()
    assert differences(tmp_path / "h.sqlite") == []


def test_a_database_of_any_older_version_is_brought_up_to_date_with_what_is_in_it(tmp_path):
    for revision in (f"{number:04}" for number in range(1, int(HEAD_REVISION))):
        folder = tmp_path / revision
        folder.mkdir()
        database = Database(folder / "h.sqlite", busy_timeout_s=1, read_only=False)
        with database.writing() as connection:
            config = Config()
            config.set_main_option("script_location", str(Path(package.__file__).parent / "migrations"))
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            for row in (1, 2):
                connection.exec_driver_sql(
                    "INSERT INTO ticks (id, process_id, start_us, end_us, document) VALUES (?, 'p', 0, 9, '{}')", (row,)
                )
        database.close()
        open_store(folder).close()
        assert differences(folder / "h.sqlite") == []
        with closing(sqlite3.connect(folder / "h.sqlite")) as connection:
            assert connection.execute("SELECT count(*) FROM ticks").fetchone() == (2,)


def test_a_folder_with_odd_characters_is_no_obstacle(tmp_path):
    folder = tmp_path / "100% of ?#& ü"
    folder.mkdir()
    store = open_store(folder)
    store.ledger.append(example_entry("a.b"))
    store.close()
    assert (folder / "h.sqlite").stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path):
    open_store(tmp_path).close()
    with sqlite3.connect(tmp_path / "h.sqlite") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    for options in ({}, {"read_only": True}):
        with pytest.raises(Unavailable) as refused:
            open_store(tmp_path, **options)
        assert refused.value.code == "schema-unknown"
        assert "9999" in refused.value.message


def test_reading_only_makes_and_migrates_nothing(tmp_path):
    with pytest.raises(NotFound):
        open_store(tmp_path, read_only=True)
    assert list(tmp_path.iterdir()) == []
    sqlite3.connect(tmp_path / "h.sqlite").execute("CREATE TABLE other (x)").connection.close()
    with pytest.raises(Unavailable) as refused:
        open_store(tmp_path, read_only=True)
    assert refused.value.code == "schema-outdated"
