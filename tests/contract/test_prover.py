"""The contract of `homeostat.ports.proving.Prover`, on the fake and on the worker."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from agents_harness import wait_for
from sandbox_runs import Shop, open_folder

from homeostat.adapters.worker_process import WorkerProver
from homeostat.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from homeostat.core.ids import CommitId
from homeostat.ports.proving import ProofJob, ProofRuns, ProofStage, Prover
from homeostat.testing.fake_prover import LEAKS, FakeProver, test_run

EVERYTHING_SHOWS = Path("/usr/share")
"""As a state folder, this makes every sandbox leak: it is shown in each."""


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    folder = open_folder()
    yield Shop(folder / "shop")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def worker(tmp_path_factory) -> Prover:
    return WorkerProver(state_dir=tmp_path_factory.mktemp("state"))


@pytest.fixture(params=["fake", "worker"])
def prover(request, worker) -> Prover:
    return FakeProver() if request.param == "fake" else worker


@pytest.fixture(params=["fake", "worker"])
def leaking(request) -> Prover:
    return FakeProver(isolation=[LEAKS]) if request.param == "fake" else WorkerProver(state_dir=EVERYTHING_SHOWS)


def test_isolation_names_each_kind_once_and_usable_kinds_first(prover):
    found = prover.isolation()
    assert found
    assert len({isolation.name for isolation in found}) == len(found)
    usable = [isolation.usable for isolation in found]
    assert usable == sorted(usable, reverse=True)


def test_a_usable_kind_held_every_check_and_another_names_its_remedy(prover):
    for isolation in prover.isolation():
        assert isolation.checks
        assert isolation.usable == all(check.held for check in isolation.checks)
        assert isolation.usable or isolation.remedy


def test_isolation_is_the_same_when_asked_again(prover):
    assert prover.isolation() == prover.isolation()


def test_something_holds_where_a_kind_is_usable(prover, leaking):
    assert prover.holds() == any(isolation.usable for isolation in prover.isolation())
    assert not leaking.holds()


def test_both_runs_are_made_in_a_usable_kind(prover, shop):
    runs = prover.prove(shop.job())
    assert runs.sandbox in {isolation.name for isolation in prover.isolation() if isolation.usable}
    assert runs.refused == ""
    for run in (runs.base, runs.candidate):
        assert run is not None
        assert run.outcomes
        assert run.exit_code is not None
        assert not run.timed_out


def test_which_run_is_under_way_is_told_while_it_is_and_not_after(worker, shop):
    long = ("python", "-c", "import time; time.sleep(1)")
    asking = threading.Thread(target=worker.prove, args=(shop.job(whose="p-1", test_command=long),), daemon=True)
    assert worker.stage("p-1") is None
    asking.start()
    wait_for(lambda: worker.stage("p-1") is ProofStage.BASE, what="the run on the base")
    assert worker.stage("p-2") is None
    wait_for(lambda: worker.stage("p-1") is ProofStage.CANDIDATE, what="the run on the candidate")
    asking.join(60)
    wait_for(lambda: worker.stage("p-1") is None, what="the end")


def test_where_no_kind_holds_nothing_is_run_and_the_remedy_is_given(leaking, shop):
    assert not any(isolation.usable for isolation in leaking.isolation())
    runs = leaking.prove(shop.job())
    assert (runs.base, runs.candidate, runs.sandbox) == (None, None, "")
    assert all(isolation.remedy in runs.refused for isolation in leaking.isolation())


@pytest.mark.parametrize("kind", ["fake", "worker"])
def test_whoever_asks_after_the_end_is_told_that_the_hub_is_stopping(kind, shop, tmp_path):
    prover = FakeProver() if kind == "fake" else WorkerProver(state_dir=tmp_path)
    prover.close()
    with pytest.raises(Unavailable) as caught:
        prover.prove(shop.job())
    assert caught.value.code == "hub-stopping"


def test_an_unknown_commit_is_the_workers_answer_and_not_its_death(worker, shop):
    with pytest.raises(NotFound):
        worker.prove(shop.job(candidate=CommitId("0" * 40)))


def test_a_job_that_is_none_is_refused_by_the_worker(worker, shop):
    with pytest.raises(InvalidInput):
        worker.prove(shop.job(base=CommitId("--help")))


def test_the_fake_answers_from_its_script_in_order(shop):
    red = test_run({"a": "failed"})
    scripted = ProofRuns(sandbox="bubblewrap", base=red, candidate=red)
    fake = FakeProver(answers=[scripted, Unavailable("worker-died", "it died")])
    fake.script(lambda job: ProofRuns(sandbox="", base=None, candidate=None, refused=str(job.memory_mb)))
    assert fake.prove(shop.job()) is scripted
    with pytest.raises(Unavailable):
        fake.prove(shop.job())
    assert fake.prove(shop.job(memory_mb=99)).refused == "99"
    assert fake.prove(shop.job()).candidate is not None
    assert [type(job) for job in fake.jobs] == [ProofJob] * 4


def test_the_fake_can_raise_any_family(shop):
    with pytest.raises(Conflict):
        FakeProver(answers=[Conflict("base-moved", "x")]).prove(shop.job())
