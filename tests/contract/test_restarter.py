"""What flows may count on of `Restarter`: the same suite on the fake, on a real supervisor, and on a command."""

import shutil
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from agents_harness import Place, wait_for

from homeostat.adapters.supervising.client import SupervisorRestarter
from homeostat.adapters.supervising.command import CommandRestarter
from homeostat.adapters.supervising.supervisor import Supervisor
from homeostat.core.errors import Conflict, NotFound
from homeostat.model.restart import RestartPhase, RestartPlan
from homeostat.ports.restarting import Restarter
from homeostat.testing.fake_restarter import FakeRestarter

PLAN = RestartPlan(timeout_s=20, drain_s=5, settle_s=0.5)


class FakeWorld:
    def __init__(self):
        self.restarter = FakeRestarter()
        self.restarter.supervise("p")

    def let_end(self, *, well=True):
        phase = RestartPhase.DONE if well else RestartPhase.FAILED
        self.restarter.end("p", phase, reason="" if well else "scripted")

    def will_fail(self):
        pass

    def close(self):
        pass


class CommandWorld:
    """A command that waits until it is told how to end."""

    def __init__(self):
        self._folder = Path(tempfile.mkdtemp())
        self._told = self._folder / "told"
        waits = "while [ ! -e told ]; do sleep 0.01; done; mv told was-told; exit $(cat was-told)"
        self.restarter = CommandRestarter(("sh", "-c", waits), folder=self._folder)

    def let_end(self, *, well=True):
        part = self._folder / "part"
        part.write_text("0" if well else "3")
        part.rename(self._told)

    def will_fail(self):
        pass

    def close(self):
        shutil.rmtree(self._folder)


class SupervisorWorld:
    """A worker under a supervisor; its new process waits before it ends or goes on as it is told."""

    def __init__(self, tmp_path):
        self.place = Place(tmp_path)
        self._fails = self.place.repository / "fails"
        self.place.write(
            "app.py",
            """
            import pathlib, sys, time
            if pathlib.Path("fails").exists():
                sys.exit(3)
            while True:
                time.sleep(0.05)
            """,
        )
        self._hub = self.place.hub()
        self._hub.__enter__()
        self.supervisor = Supervisor(
            state_dir=self.place.state,
            repository=self.place.repository,
            kind="run",
            command=[sys.executable, "app.py"],
            folder=self.place.repository,
            make_launch=lambda door: self.place.launch(supervisor=door),
            on_exit=threading.Event().set,
            say=lambda text: None,
            hub_is_up=lambda: True,
        )
        self.supervisor.start()
        self.restarter = SupervisorRestarter(self.place.state)

    def will_fail(self):
        self._fails.touch()

    def let_end(self, *, well=True):
        pass

    def close(self):
        self.supervisor.stop()
        self._hub.__exit__(None, None, None)


@pytest.fixture(params=["fake", "command", "supervisor"])
def world(request, tmp_path):
    made = {"fake": FakeWorld, "command": CommandWorld, "supervisor": lambda: SupervisorWorld(tmp_path)}[
        request.param
    ]()
    yield made
    made.close()


def only(world):
    (program,) = world.restarter.programs()
    return program


def ended(world):
    return wait_for(
        lambda: (p := only(world)).report is not None and p.report.phase.is_over and p, what="the end", timeout_s=60
    )


def test_it_is_the_port(world):
    port: Restarter = world.restarter
    assert len(port.programs()) == 1 and only(world).report is None


def test_a_restart_that_was_begun_goes_on_by_itself_and_its_end_stays_to_be_seen(world):
    program = only(world)
    begun = world.restarter.begin(program.id, "r1", PLAN)
    assert begun.id == program.id and begun.report.request_id == "r1"
    world.let_end()
    after = ended(world)
    assert (after.report.request_id, after.report.phase) == ("r1", RestartPhase.DONE)
    assert only(world).report == after.report


def test_the_same_request_again_begins_nothing_new_not_even_after_its_end(world):
    program = only(world)
    world.restarter.begin(program.id, "r1", PLAN)
    assert world.restarter.begin(program.id, "r1", PLAN).report.request_id == "r1"
    world.let_end()
    report = ended(world).report
    assert world.restarter.begin(program.id, "r1", PLAN).report == report


def test_another_request_meanwhile_is_refused_and_is_taken_afterwards(world):
    program = only(world)
    world.restarter.begin(program.id, "r1", PLAN)
    with pytest.raises(Conflict):
        world.restarter.begin(program.id, "r2", PLAN)
    world.let_end()
    assert ended(world).report.request_id == "r1"
    world.restarter.begin(program.id, "r2", PLAN)
    world.let_end()
    assert ended(world).report.request_id == "r2"


def test_a_failure_names_its_reason_and_another_restart_can_follow(world):
    program = only(world)
    world.will_fail()
    world.restarter.begin(program.id, "r1", PLAN)
    world.let_end(well=False)
    report = ended(world).report
    assert report.phase is RestartPhase.FAILED and report.reason
    assert world.restarter.begin(program.id, "r1:back", PLAN).report.request_id == "r1:back"
    world.let_end(well=False)
    ended(world)


def test_a_program_that_nobody_supervises_is_not_found(world):
    with pytest.raises(NotFound):
        world.restarter.begin("nobody", "r1", PLAN)
