"""The worker prover: which kinds of sandbox are tested, and when."""

import shutil
import subprocess
from pathlib import Path

import pytest
from sandbox_runs import Shop, open_folder, require, system_python

from homeostat.adapters.sandbox import wire
from homeostat.adapters.sandbox.spec import Kind
from homeostat.adapters.worker_process import WorkerProver
from homeostat.core.ids import CommitId, parse_commit_id
from homeostat.ports.proving import Isolation


class Watched(WorkerProver):
    """Remembers which kinds each self-test was asked for."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir=state_dir)
        self.tested: list[str] = []
        self.busy = False
        """Whether the machine is too busy for a self-test."""

    def _ask(self, words, question, *, timeout_s, hand_on=()):
        if "--self-test" in words:
            kinds = words[words.index("--self-test") + 1 :]
            self.tested += kinds
            if self.busy:
                return wire.encode_isolation([Isolation(name=k, usable=False, checks=(), remedy="x") for k in kinds])
        return super()._ask(words, question, timeout_s=timeout_s, hand_on=hand_on)


@pytest.fixture
def shop():
    folder = open_folder()
    yield Shop(folder / "shop", python=system_python())
    shutil.rmtree(folder)


def with_a_file_for_the_environment(shop: Shop, parent: CommitId) -> CommitId:
    """Commit a file where the host's own Python lives: no sandbox with mounts can hold this."""
    shop.git("read-tree", parent)
    blob = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"], cwd=shop.root, input=b"x", capture_output=True, check=True
    ).stdout.decode()
    shop.git("update-index", "--add", "--cacheinfo", f"100644,{blob.strip()},.venv")
    tree = shop.git("write-tree")
    shop.git("read-tree", "HEAD")
    return parse_commit_id(shop.git("commit-tree", "-m", "x", "-p", parent, tree))


def test_no_more_kinds_are_tested_than_it_takes_and_each_once(shop, tmp_path):
    require(Kind.NAMESPACES)
    prover = Watched(tmp_path)
    assert prover.holds()
    assert prover.prove(shop.job()).sandbox == "namespaces"
    assert prover.tested == ["namespaces"]
    assert {isolation.name for isolation in prover.isolation()} == set(Kind)
    assert sorted(prover.tested) == sorted(Kind)


def test_a_job_that_the_preferred_kind_cannot_hold_is_proved_in_the_next_that_can(shop, tmp_path):
    require(Kind.NAMESPACES)
    require(Kind.LANDLOCK)
    prover = Watched(tmp_path)
    base, candidate = (with_a_file_for_the_environment(shop, commit) for commit in (shop.base, shop.candidate))
    runs = prover.prove(shop.job(base=base, candidate=candidate))
    assert (runs.sandbox, runs.refused) == ("landlock", "")
    assert prover.tested[0] == "namespaces" and set(prover.tested) == set(Kind)


def test_where_none_held_all_are_tested_anew_and_what_holds_then_is_used(shop, tmp_path):
    require(Kind.NAMESPACES)
    prover = Watched(tmp_path)
    prover.busy = True
    assert not prover.holds()
    assert prover.prove(shop.job()).refused
    assert prover.tested == [*Kind, *Kind]
    prover.busy = False
    assert prover.prove(shop.job()).sandbox == "namespaces"
    assert prover.holds()
    assert prover.tested == [*Kind, *Kind, "namespaces"]
