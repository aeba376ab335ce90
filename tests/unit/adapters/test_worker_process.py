"""The worker prover: which kinds of sandbox are tested, and when."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from sandbox_runs import Shop, open_folder, require, system_python

from homeostat.adapters.keys import Ed25519Signer, load_or_create_keys
from homeostat.adapters.sandbox import wire
from homeostat.adapters.sandbox.spec import Kind
from homeostat.adapters.worker_process import WorkerProver
from homeostat.audit.evidence import evidence_fault, open_envelope, read_subject
from homeostat.audit.notes import NoteKey
from homeostat.core.errors import Unavailable
from homeostat.core.ids import CommitId, parse_commit_id
from homeostat.model.proof import ProofSubject
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


SUBJECT = ProofSubject(
    diff_digest="sha256:" + "1" * 64,
    change_digest="sha256:" + "2" * 64,
    policy_digest="sha256:" + "3" * 64,
    base="",
    candidate="",
)


def test_the_worker_signs_what_it_saw_with_a_key_that_the_tests_never_see(shop, tmp_path):
    require(Kind.NAMESPACES)
    state = tmp_path / ".homeostat"
    keys = load_or_create_keys(state)
    prover = WorkerProver(state_dir=state, public_key=keys.worker.public_key())
    look = f"print(open('{state}/keys/worker.ed25519').read())"
    subject = replace(SUBJECT, base=shop.base, candidate=shop.candidate)
    runs = prover.prove(shop.job(test_command=("python", "-c", look), subject=subject))
    assert runs.candidate.exit_code == 1 and "PRIVATE" not in runs.candidate.output_tail
    key = NoteKey.parse(prover.key())
    assert evidence_fault(runs.evidence, key=key, subject=subject, base=runs.base, candidate=runs.candidate) == ""
    said = open_envelope(runs.evidence, key)
    trees = tuple(shop.git("rev-parse", f"{commit}^{{tree}}") for commit in (shop.base, shop.candidate))
    assert read_subject(said) == (subject, trees)
    assert said["predicate"]["environment"]["sandbox"] == runs.sandbox == "namespaces"


def test_a_worker_whose_key_is_gone_answers_with_what_is_wrong(shop, tmp_path):
    require(Kind.NAMESPACES)
    prover = WorkerProver(state_dir=tmp_path, public_key=Ed25519Signer.generate().public_key())
    with pytest.raises(Unavailable) as refused:
        prover.prove(shop.job(subject=replace(SUBJECT, base=shop.base, candidate=shop.candidate)))
    assert refused.value.code == "state-dir-unusable"
