"""`homeostat config` and `homeostat token`."""

import json
import stat

import pytest

from homeostat.adapters.clock import SystemClock
from homeostat.adapters.keys import load_or_create_keys
from homeostat.adapters.store.store import SqlStore
from homeostat.core.digests import digest_bytes
from homeostat.model.actor import Role


@pytest.fixture
def state(repository):
    return repository / ".homeostat"


def actors_of(state):
    keys = load_or_create_keys(state)
    store = SqlStore.open(
        state / "homeostat.sqlite", signer=keys.signer, clock=SystemClock(), head_path=state / "ledger-head.json"
    )
    try:
        return list(store.actors.list_actors()), store.ledger.entries(), store.actors.by_token
    finally:
        store.close()


def test_every_setting_is_shown_with_its_origin(typed, repository, monkeypatch):
    (repository / "homeostat.toml").write_text('[host]\ntest_command = ["make", "test"]\n')
    monkeypatch.setenv("HOMEOSTAT_HUB_PORT", "4000")
    monkeypatch.setenv("AETHERRA_HMR_MODE", "reckless")
    answer = typed("config", "show")
    rows = {line.split("\t")[0]: line.split("\t")[1:3] for line in answer.out.splitlines()}
    assert answer.code == 0
    assert rows["host.test_command"] == ["make test", "homeostat.toml:2"]
    assert rows["hub.port"] == ["4000", "HOMEOSTAT_HUB_PORT"]
    assert rows["hub.bind"] == ["127.0.0.1", "default"]
    assert answer.err.startswith("warning: AETHERRA_HMR_MODE='reckless'")


def test_the_json_document_has_the_same(typed, repository):
    body = json.loads(typed("config", "show", "--json").out)
    assert body["schema"] == 1
    assert body["settings"]["host.test_command"]["value"] == []
    assert body["settings"]["hmr.mode"] | {"doc": ""} == {"value": "safe", "source": "default", "doc": ""}


def test_lists_of_numbers_and_of_tables_are_shown_too(typed, repository):
    query = '[[detectors.prometheus]]\nname = "queue"\nquery = "q"\nabove = 1\n'
    text = f'[canary]\nsteps = [10, 50]\n[detectors]\nprometheus_url = "http://127.0.0.1:9090"\n{query}'
    (repository / "homeostat.toml").write_text(text)
    answer = typed("config", "show")
    rows = {line.split("\t")[0]: line.split("\t")[1:3] for line in answer.out.splitlines()}
    assert answer.code == 0, answer.err
    assert rows["canary.steps"] == ["10 50", "homeostat.toml:2"]
    assert rows["detectors.prometheus"] == ["queue", "homeostat.toml:5"]
    body = json.loads(typed("config", "show", "--json").out)
    assert body["settings"]["detectors.prometheus"]["value"][0]["query"] == "q"


def test_a_wrong_setting_is_an_error_that_names_the_line(typed, repository):
    (repository / "homeostat.toml").write_text("[hub]\n\nprot = 1\n")
    for arguments in (("config", "show"), ("run", "--", "true"), ("up",)):
        answer = typed(*arguments)
        assert (answer.code, answer.out) == (2, "")
        assert "error[bad-setting]: homeostat.toml:3: " in answer.err and "hub.port" in answer.err
    assert not (repository / ".homeostat").exists()


def test_the_owners_token_is_made_once_in_a_private_file(typed, state):
    first = typed("token")
    assert first.code == 0 and first.out.startswith("hst_") and first.err == ""
    assert typed("token").out == first.out
    assert json.loads(typed("token", "--json").out) == {"schema": 1, "token": first.out.strip(), "role": "owner"}
    assert stat.S_IMODE((state / "keys" / "owner.token").stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_a_bots_token_is_shown_once_and_kept_as_a_digest(typed, state):
    made = json.loads(typed("token", "--agent", " fixer-bot ", "--json").out)
    assert made["role"] == "agent"
    actors, entries, _ = actors_of(state)
    assert [(actor.name, actor.role) for actor in actors] == [("fixer-bot", Role.AGENT)]
    assert [(entry.kind, entry.subject) for entry in entries] == [("token.made", actors[0].id)]
    for path in state.rglob("*"):
        assert not path.is_file() or made["token"].encode() not in path.read_bytes(), path


@pytest.mark.parametrize("name", ["", "   ", "x" * 81])
def test_a_bot_needs_a_name(typed, repository, name):
    answer = typed("token", "--agent", name)
    assert (answer.code, answer.out) == (2, "") and "error[bad-name]" in answer.err


def test_a_forgotten_bot_has_no_name_and_no_token(typed, state):
    made = typed("token", "--agent", "fixer-bot").out.strip()
    (actor,), _, _ = actors_of(state)
    answer = typed("token", "--forget", actor.id, "--json")
    assert (answer.code, json.loads(answer.out)) == (0, {"schema": 1, "forgotten": actor.id})
    (after,), _, _ = actors_of(state)
    assert (after.id, after.name) == (actor.id, None)
    keys = load_or_create_keys(state)
    store = SqlStore.open(
        state / "homeostat.sqlite", signer=keys.signer, clock=SystemClock(), head_path=state / "ledger-head.json"
    )
    assert store.actors.by_token(digest_bytes(made.encode())) is None
    store.close()
    assert b"fixer-bot" not in (state / "homeostat.sqlite").read_bytes()


def test_nobody_is_forgotten_by_mistake(typed, repository):
    answer = typed("token", "--forget", "person-000000000000")
    assert (answer.code, answer.out) == (1, "") and "error[no-such-actor]" in answer.err
    answer = typed("token", "--agent", "a", "--forget", "b")
    assert (answer.code, answer.out) == (2, "") and "error[two-wishes]" in answer.err


def test_the_state_directory_may_be_elsewhere(typed, repository, tmp_path, monkeypatch):
    by_option = typed("token", "--state-dir", tmp_path / "one").out
    monkeypatch.setenv("HOMEOSTAT_STATE_DIR", str(tmp_path / "two"))
    by_variable = typed("token").out
    assert by_option == (tmp_path / "one" / "keys" / "owner.token").read_text().strip() + "\n"
    assert by_variable == (tmp_path / "two" / "keys" / "owner.token").read_text().strip() + "\n"
    assert not (repository / ".homeostat").exists()
