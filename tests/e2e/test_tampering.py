"""Whoever alters one byte of the record is found by `homeostat verify`, which names what does not hold.

A real story is played once; each test alters a copy of what it left.
"""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from e2e.support.processes import wait_for
from e2e.support.shop import MEND, MEND_OTHERWISE, Shop
from e2e.support.terminal import Terminal
from once import made_once

from homeostat.core.digests import digest_bytes


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shop, Path]:
    """A shop whose story holds: one change applied, one rejected; and the database as it was before that."""
    folder = made_once(tmp_path_factory, "told", _tell)
    return Shop(folder / "shop"), folder / "older.sqlite"


def _tell(folder: Path) -> None:
    shop = Shop.found(folder / "shop")
    terminal = Terminal(shop, folder)
    try:
        hub = terminal.up(*terminal.program())
        terminal.shop_url()
        terminal.wait_for_agents(hub)
        rejected = terminal.propose(MEND_OTHERWISE, "Overlook unknown coupons")["proposal_id"]
        with (
            closing(sqlite3.connect(shop.state_dir / "homeostat.sqlite")) as database,
            closing(sqlite3.connect(folder / "older.sqlite")) as copy,
        ):
            database.backup(copy)
        applied = terminal.propose(MEND, "Accept coupons however they are typed")["proposal_id"]
        terminal.ok("proposals", "reject", rejected, "--reason", "customers would wonder")
        terminal.ok("proposals", "apply", applied)
        terminal.wait_for_state(hub, applied, "observing")
        wait_for(lambda: not shop.candidates(), what="the last step of applying")
        assert hub.stop() == 0
        terminal.ok("verify")
    finally:
        terminal.close()


@pytest.fixture
def terminal(told: tuple[Shop, Path], tmp_path: Path) -> Iterator[Terminal]:
    shop, _ = told
    shutil.copytree(shop.root, tmp_path / "shop", symlinks=True)
    terminal = Terminal(Shop(tmp_path / "shop"), tmp_path)
    yield terminal
    terminal.close()


def state(terminal: Terminal) -> Path:
    return terminal.shop.state_dir


def failed(terminal: Terminal) -> dict[str, str]:
    """Type `homeostat verify`, which must exit with 5, and return the checks that failed with their details."""
    typed = terminal.type("verify", "--json")
    assert typed.code == 5, typed
    body = typed.json
    assert body["ok"] is False
    found = {check["name"]: check["detail"] for check in body["checks"] if not check["ok"]}
    plain = terminal.type("verify")
    assert plain.code == 5
    assert all(f"{name}: {detail}" in plain.out for name, detail in found.items())
    return found


def change_text(terminal: Terminal, table: str, column: str, where: str, old: str, new: str) -> None:
    """Replace one text by another of the same length, in one row."""
    assert len(old) == len(new)
    with closing(sqlite3.connect(state(terminal) / "homeostat.sqlite")) as database, database:
        ((text,),) = database.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchall()
        assert text.count(old) >= 1, text
        database.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (text.replace(old, new, 1),))


@contextmanager
def unlocked(terminal: Terminal) -> Iterator[sqlite3.Connection]:
    """Open the database as somebody does who has taken its guards off."""
    with closing(sqlite3.connect(state(terminal) / "homeostat.sqlite")) as database:
        with database, pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.execute("DELETE FROM ledger")
        with database:
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                database.execute(f"DROP TRIGGER {name}")
            yield database


def test_the_untouched_copy_holds(terminal: Terminal) -> None:
    checks = terminal.ok("verify", "--json").json["checks"]
    assert [check["ok"] for check in checks] == [True] * len(checks)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Accept coupons however", "Bccept coupons however"),
        ("coupon.strip().upper()]", "coupon.strip().lower()]"),
        ('"passed"', '"failed"'),
        ('"unreviewed":true', '"unreviewed":null'),
        ('"live":true', '"live":null'),
    ],
    ids=["title", "diff", "proof", "review", "application"],
)
def test_an_altered_row_is_found(terminal: Terminal, old: str, new: str) -> None:
    change_text(terminal, "proposals", "document", "state = 'observing'", old, new)
    assert failed(terminal)


def test_a_row_put_into_another_state_is_found_and_both_states_are_named(terminal: Terminal) -> None:
    with closing(sqlite3.connect(state(terminal) / "homeostat.sqlite")) as database, database:
        database.execute("UPDATE proposals SET state = 'implemented' WHERE state = 'observing'")
    assert "observing" in failed(terminal)["proposal states"]


def test_a_row_that_was_removed_is_found(terminal: Terminal) -> None:
    with closing(sqlite3.connect(state(terminal) / "homeostat.sqlite")) as database, database:
        database.execute("DELETE FROM records WHERE proposal_id IN (SELECT id FROM proposals WHERE state = 'rejected')")
        database.execute("DELETE FROM proposals WHERE state = 'rejected'")
    assert "no row" in failed(terminal)["proposal states"]


@pytest.mark.parametrize(
    ("column", "old", "new"),
    [
        ("body", "observing", "observinh"),
        ("kind", "went_live", "went_livf"),
        ("actor", "system", "systen"),
        ("at", "20", "21"),
        ("signature", "A", "B"),
    ],
)
def test_an_altered_ledger_entry_is_found(terminal: Terminal, column: str, old: str, new: str) -> None:
    with unlocked(terminal) as database:
        ((number, text),) = database.execute(
            f"SELECT seq, {column} FROM ledger WHERE kind = 'proposal.went_live'"
        ).fetchall()
        altered = text.replace(old, new, 1) if old in text else ("B" if text[0] != "B" else "C") + text[1:]
        assert altered != text
        database.execute(f"UPDATE ledger SET {column} = ? WHERE seq = ?", (altered, number))
    found = failed(terminal)
    assert str(number) in found["chain and signatures"], found


def test_a_ledger_entry_that_was_removed_is_found(terminal: Terminal) -> None:
    with unlocked(terminal) as database:
        database.execute("DELETE FROM ledger WHERE kind = 'proposal.rejected'")
    assert "chain and signatures" in failed(terminal)


@pytest.mark.parametrize("place", [5, 40, -20], ids=["start", "middle", "end"])
def test_one_byte_of_the_head_file_is_found(terminal: Terminal, place: int) -> None:
    path = state(terminal) / "ledger-head.json"
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert "head file" in failed(terminal)


def test_a_head_file_that_was_removed_is_found(terminal: Terminal) -> None:
    (state(terminal) / "ledger-head.json").unlink()
    assert "head file" in failed(terminal)


def test_one_byte_of_any_file_of_a_backup_is_found(terminal: Terminal) -> None:
    files = [path for path in (state(terminal) / "backups").rglob("*") if path.is_file()]
    assert len(files) >= 3
    for path in files:
        kept = path.read_bytes()
        if not kept:
            continue
        path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        assert "damaged" in failed(terminal)["backups"], path
        path.write_bytes(kept)
    terminal.ok("verify")


def test_a_backup_that_was_removed_is_found(terminal: Terminal) -> None:
    shutil.rmtree(state(terminal) / "backups")
    assert "backups" in failed(terminal)


def rewritten(terminal: Terminal, old: str, new: str) -> str:
    """Make the newest status commit anew with another message, and return the message that it had."""
    git = terminal.shop.git
    message = git("log", "-1", "--format=%B", "homeostat/proposals")
    assert message.count(old) == 1, message
    tree = git("rev-parse", "homeostat/proposals^{tree}")
    commit = git("commit-tree", tree, "-p", "homeostat/proposals~1", "-m", message.replace(old, new))
    git("update-ref", "refs/heads/homeostat/proposals", commit)
    return message


def test_a_rewritten_trailer_in_git_is_found_and_its_commit_is_named(terminal: Terminal) -> None:
    head = json.loads((state(terminal) / "ledger-head.json").read_text())
    rewritten(terminal, head["entry_hash"], "0" * 63 + "1")
    commit = terminal.shop.git("rev-parse", "homeostat/proposals")
    assert commit[:12] in failed(terminal)["Git trailers"]


def test_status_commits_that_were_cut_off_are_found(terminal: Terminal) -> None:
    terminal.shop.git("update-ref", "refs/heads/homeostat/proposals", "homeostat/proposals~2")
    assert failed(terminal)


def test_a_branch_of_records_that_was_removed_is_found(terminal: Terminal) -> None:
    terminal.shop.git("update-ref", "-d", "refs/heads/homeostat/proposals")
    assert "Git trailers" in failed(terminal)


def test_an_older_database_put_back_is_found_and_no_hub_writes_onto_it(
    terminal: Terminal, told: tuple[Shop, Path]
) -> None:
    _, older = told
    for name in ("homeostat.sqlite-wal", "homeostat.sqlite-shm"):
        (state(terminal) / name).unlink(missing_ok=True)
    shutil.copyfile(older, state(terminal) / "homeostat.sqlite")
    before = (state(terminal) / "homeostat.sqlite").read_bytes()
    found = failed(terminal)
    assert "older database" in found["head file"] and "older database" in found["Git trailers"]
    refused = terminal.type("up", "--port", "0")
    assert refused.code == 5 and "ledger-truncated" in refused.err, refused

    # Whoever removes the witness beside it too is told on by Git.
    (state(terminal) / "ledger-head.json").unlink()
    assert "older database" in failed(terminal)["Git trailers"]
    refused = terminal.type("up", "--port", "0")
    assert refused.code == 5 and "ledger-truncated" in refused.err, refused
    with closing(sqlite3.connect(state(terminal) / "homeostat.sqlite")) as database:
        (entries,) = database.execute("SELECT count(*) FROM ledger").fetchone()
    with closing(sqlite3.connect(older)) as database:
        assert (entries,) == database.execute("SELECT count(*) FROM ledger").fetchone()
    assert len(before) == (state(terminal) / "homeostat.sqlite").stat().st_size


def test_verifying_changes_nothing(terminal: Terminal) -> None:
    def everything() -> dict[str, tuple[bytes, int]]:
        return {
            str(path): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in terminal.shop.root.rglob("*")
            if path.is_file() and not path.name.endswith(("-shm", "-wal"))
        }

    before = everything()
    terminal.ok("verify")
    assert everything() == before


def test_an_exchanged_token_of_the_owner_is_found(terminal: Terminal) -> None:
    with closing(sqlite3.connect(state(terminal) / "homeostat.sqlite")) as database, database:
        digest = digest_bytes(b"hst_somebody_elses")
        assert database.execute("UPDATE actors SET token_digest = ?", (digest,)).rowcount == 1
    assert "another token" in failed(terminal)["approvals"]
