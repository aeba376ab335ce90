"""`homeostat ledger bundle` and `homeostat verify FILE`: one change's story, anywhere, with nothing but a key."""

import json
import random
import subprocess
import sys

import pytest
from real_world import RealWorld

from homeostat.adapters.bundling import make_bundle, open_for_proofs
from homeostat.adapters.keys import Ed25519Signer
from homeostat.audit.bundle import holds, verify_bundle
from homeostat.audit.checkpoint import ledger_key
from homeostat.audit.notes import NoteKey
from homeostat.core import canonical_json
from homeostat.flows.deciding import defer, resume
from homeostat.testing.world import OWNER


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A hub under which one change was applied and taken back; tests may add proposals to it."""
    made = RealWorld(tmp_path_factory.mktemp("world"))
    made.identity = made.propose()
    made.apply(made.identity)
    made.revert(made.identity)
    yield made
    made.close()


@pytest.fixture(scope="module")
def story(world):
    """That change's bundle, and the ledger's key."""
    data, key = bundle_of(world, world.identity)
    assert holds(verify_bundle(data, key))  # or every other test would find nothing
    return data, key


@pytest.fixture(autouse=True)
def in_the_repository(world, monkeypatch):
    monkeypatch.chdir(world.root)


def bundle_of(world, identity):
    with open_for_proofs(world.state_dir) as (store, key):
        return make_bundle(store, world.root, identity), NoteKey.parse(key)


def failed(data, key):
    checks = verify_bundle(data, key)
    assert not holds(checks)
    return checks[-1].name, checks[-1].detail


def altered(data, change):
    raw = json.loads(data)
    change(raw)
    return canonical_json.encode(raw)


def test_the_whole_story_holds_wherever_it_is_looked_at(story, world, typed, tmp_path, monkeypatch):
    data, key = story
    checks = verify_bundle(data, key)
    told = {check.name: check.detail for check in checks}
    assert [check.number for check in checks] == list(range(1, 10))
    assert "reverted since entry" in told["life"]
    assert told["evidence"].startswith("passed, signed by homeostat-worker/")
    assert told["approval"].startswith("by person-")
    shown = typed("ledger", "bundle", world.identity)
    assert holds(verify_bundle(shown.out.encode(), key)) and str(key) in shown.err
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (elsewhere / "story.json").write_bytes(data)
    answer = typed("verify", "story.json", "--key", key)
    assert (answer.code, answer.out.count("ok  ")) == (0, 9)
    assert list(elsewhere.iterdir()) == [elsewhere / "story.json"]


def test_here_the_key_that_is_here_is_used_and_a_file_of_it_elsewhere(story, world, typed, tmp_path):
    data, _ = story
    file = tmp_path / "story.json"
    file.write_bytes(data)
    assert typed("verify", file).code == 0
    assert typed("verify", file, "--key", world.state_dir / "keys" / "ledger.pub").code == 0
    other = ledger_key(Ed25519Signer.generate().public_key())
    answer = typed("verify", file, "--key", other, "--json")
    assert answer.code == 5 and not json.loads(answer.out)["ok"]


def test_without_a_key_where_there_is_none_it_is_said_how_to_give_one(story, typed, tmp_path, monkeypatch):
    file = tmp_path / "story.json"
    file.write_bytes(story[0])
    monkeypatch.chdir(tmp_path)
    answer = typed("verify", file)
    assert answer.code == 1 and "error[no-ledger-key]" in answer.err and "--key KEY" in answer.err
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    answer = typed("verify", file)
    assert answer.code == 1 and "error[no-ledger-key]" in answer.err and "--key KEY" in answer.err


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN PUBLIC KEY-----\n"])
def test_a_key_that_is_none_is_the_callers_mistake_and_no_damage(content, story, typed, tmp_path):
    file, key = tmp_path / "story.json", tmp_path / "copied.pub"
    file.write_bytes(story[0])
    if content is not None:
        key.write_bytes(content)
    answer = typed("verify", file, "--key", key)
    assert answer.code == 2 and "error[bad-note-key]" in answer.err and "copied.pub" in answer.err
    assert "--key KEY" in answer.err and "altered" not in answer.err


@pytest.mark.parametrize("words", [("prove", "1"), ("checkpoint",)])
def test_what_else_the_ledger_gives_away_is_no_alarm(words, typed, tmp_path):
    file = tmp_path / "given"
    file.write_text(typed("ledger", *words).out, encoding="utf-8")
    answer = typed("verify", file)
    assert answer.code == 2 and "error[not-a-bundle]" in answer.err and "altered" not in answer.err


def test_any_altered_byte_is_found(story):
    """Each kind of place is among them: the whole is some thousand bytes, of which a good part is tried."""
    data, key = story
    chosen = random.Random(20260105)
    places = {*range(0, len(data), 41), *(chosen.randrange(len(data)) for _ in range(200))}
    for place in sorted(places):
        other = data[:place] + bytes([data[place] ^ chosen.choice((1, 2, 4, 0x20, 0x80))]) + data[place + 1 :]
        assert not holds(verify_bundle(other, key)), f"byte {place}: {data[max(place - 20, 0) : place + 20]!r}"


def test_what_is_added_left_out_or_cut_short_is_found(story):
    data, key = story
    for other in (b"", data[:-1], data + b" ", data + b"\n", b" " + data, b"null", b"[]", b"{}", b"[" * 100_000):
        failed(other, key)
    for name in json.loads(data):
        failed(altered(data, lambda raw, name=name: raw.pop(name)), key)
        failed(altered(data, lambda raw, name=name: raw.update({name: None})), key)
    failed(altered(data, lambda raw: raw.update(more=1)), key)


def test_every_entry_and_every_commit_is_needed(story):
    data, key = story
    raw = json.loads(data)
    for place in range(len(raw["entries"])):
        failed(altered(data, lambda raw, place=place: raw["entries"].pop(place)), key)
    for name in raw["commits"]:
        failed(altered(data, lambda raw, name=name: raw["commits"].pop(name)), key)


def test_a_round_that_leads_back_to_where_it_began_cannot_be_left_out(world):
    identity = world.propose(diff="--- a/other.py\n+++ b/other.py\n@@ -1 +1 @@\n-x = 1\n+x = 5\n")
    defer(world.deps, identity, actor=OWNER, notes="it breaks the till")
    resume(world.deps, identity, actor=OWNER)
    world.run()
    data, key = bundle_of(world, identity)
    assert holds(verify_bundle(data, key))
    said = [json.loads(item["said"])["body"].get("to") for item in json.loads(data)["entries"]]
    first, last = said.index("deferred"), len(said) - 1
    assert said[last] == said[first - 1]

    def without_the_round(raw):  # the last stands for the one before it
        del raw["entries"][first - 1 : last]

    name, detail = failed(altered(data, without_the_round), key)
    assert name == "life" and "some are missing" in detail


def test_a_story_of_parts_that_are_each_true_is_not_true_for_that(story, world):
    """Another proposal's row, entries and commits are in the same ledger, and signed by the same key."""
    data, key = story
    more = "--- a/other.py\n+++ b/other.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n"
    other, _ = bundle_of(world, world.propose(diff=more))
    second = json.loads(other)
    assert holds(verify_bundle(other, key))
    for name in ("row", "entries", "commits", "proposal"):
        failed(altered(data, lambda raw, name=name: raw.update({name: second[name]})), key)
    mixed = altered(data, lambda raw: raw["entries"].append(second["entries"][-1]))
    assert failed(mixed, key)[0] in ("entries", "checkpoint")


def test_an_older_checkpoint_does_not_show_what_came_after_it(story, world):
    data, key = story
    old = json.loads(data)
    world.propose(diff="--- a/other.py\n+++ b/other.py\n@@ -1 +1 @@\n-x = 1\n+x = 3\n")
    now = json.loads(bundle_of(world, world.identity)[0])
    assert now["entries"] != old["entries"]
    assert failed(altered(data, lambda raw: raw.update(entries=now["entries"])), key)[0] == "entries"


def test_an_application_of_another_tree_than_the_proved_one_is_found(world, monkeypatch):
    monkeypatch.setattr(world.prover, "tree_of", lambda commit: "0" * 40)
    identity = world.propose(diff="--- a/other.py\n+++ b/other.py\n@@ -1 +1 @@\n-x = 1\n+x = 4\n")
    world.apply(identity)
    name, detail = failed(*bundle_of(world, identity))
    world.revert(identity)
    assert name == "commits" and "another tree" in detail


@pytest.mark.parametrize("words", ["zzzz", "f" * 8, "0" * 40])
def test_what_is_no_proposal_has_no_bundle_and_is_told_as_everywhere(world, typed, words):
    answer = typed("ledger", "bundle", words)
    assert (answer.code, answer.out) == (1, "")
    assert (
        answer.err == f"error[no-such-proposal]: proposal_id '{words}' does not exist\nhint: homeostat proposals list\n"
    )


def test_the_verifier_needs_nothing_of_the_hub():
    """In a fresh interpreter: the standard library, one library for signatures, and a few small modules of ours."""
    look = "import sys, homeostat.audit.bundle; print(chr(10).join(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout.split()
    ours = {name for name in shown if name.partition(".")[0] in ("homeostat", "homeostat_agent")}
    assert ours == {
        *("homeostat", "homeostat.audit", "homeostat.core", "homeostat.model"),
        *(f"homeostat.audit.{name}" for name in ("bundle", "checkpoint", "dsse", "evidence", "merkle", "notes")),
        *(f"homeostat.core.{name}" for name in ("canonical_json", "digests", "errors")),
        *("homeostat.model.proof", "homeostat.model.risk"),
    }
    foreign = {name.partition(".")[0] for name in shown} - sys.stdlib_module_names - {"homeostat", "__main__"}
    assert {name for name in foreign if not name.startswith("_")} <= {"cryptography", "cffi"}
