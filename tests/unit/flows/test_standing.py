"""What is known of the texts that processes run, where they are heard of late or disagree."""

from dataclasses import replace
from datetime import timedelta

import pytest

from homeostat.core.ids import ProcessId
from homeostat.flows.standing import Standing
from homeostat.testing.memory_files import MemoryEditedFiles
from homeostat.testing.world import MENDED, PROCESS, SOURCE, World

CHILD = ProcessId("00000000-0000-4000-8000-000000000002")
NEWER = MENDED.replace("0)", "2)")


@pytest.fixture
def world():
    return World()


@pytest.fixture
def files(world):
    files = MemoryEditedFiles(world.clock.now)
    files.write("shop.py", SOURCE)
    world.clock.move(timedelta(seconds=1))
    world.live.attach(world.process(), loaded={"shop.py": SOURCE})
    return files


@pytest.fixture
def standing(world, files):
    standing = Standing(world.deps, world.live, files)
    assert standing.meet()
    return standing


def fork(world, text):
    world.clock.move(timedelta(seconds=1))
    shown = replace(world.process(identity=CHILD), pid=2)
    world.live.attach(shown, loaded={"shop.py": text}, parent=PROCESS)


def save(files, standing, text):
    files.write("shop.py", text)
    standing.reread(["shop.py"])


def meet(world, standing):
    world.clock.move(timedelta(seconds=3))
    return standing.meet()


def texts(*sources):
    return {"shop.py": frozenset(source.encode() for source in sources)}


def test_what_was_swapped_into_a_process_before_it_was_heard_of_is_what_it_runs(world, files, standing):
    fork(world, SOURCE)
    began_at = world.clock.now()
    save(files, standing, MENDED)
    standing.note_swapped(["shop.py"], began_at=began_at, into=[PROCESS, CHILD])
    save(files, standing, NEWER)
    meet(world, standing)
    assert standing.differing() == texts(MENDED)


def test_a_child_that_was_forked_before_a_reload_and_not_reached_by_it_runs_what_its_parent_had(world, files, standing):
    fork(world, SOURCE)
    began_at = world.clock.now()
    save(files, standing, MENDED)
    standing.note_swapped(["shop.py"], began_at=began_at, into=[PROCESS])
    meet(world, standing)
    assert standing.differing() == texts(SOURCE)


def test_a_child_that_was_forked_after_a_reload_runs_what_its_parent_has(world, files, standing):
    began_at = world.clock.now()
    save(files, standing, MENDED)
    standing.note_swapped(["shop.py"], began_at=began_at, into=[PROCESS])
    fork(world, MENDED)
    meet(world, standing)
    assert standing.differing() == {}


def test_where_processes_seem_to_disagree_they_are_asked_by_what_any_of_them_may_run(world, files, standing):
    fork(world, MENDED)
    meet(world, standing)
    world.live.load(PROCESS, "shop.py", MENDED)
    save(files, standing, MENDED)
    standing.note_swapped(["shop.py"], began_at=world.clock.now(), into=[])
    standing._of[CHILD].runs["shop.py"] = SOURCE.encode()  # as for all that is known
    save(files, standing, NEWER)
    assert standing.differing() == texts(MENDED, SOURCE)
    standing.look_again(["shop.py"])
    assert standing.differing() == texts(MENDED)


def test_a_process_that_is_gone_leaves_nothing_behind(world, files, standing):
    save(files, standing, MENDED)
    world.live.end(PROCESS)
    assert meet(world, standing)
    assert (standing.paths, standing.differing()) == ([], {})
