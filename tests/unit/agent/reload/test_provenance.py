"""Which of two sources the statements of a module ran from, where its functions do not tell."""

import importlib
from pathlib import Path

import pytest
from homeostat_agent.firstseen import FirstSeen
from homeostat_agent.reload.census import Load
from homeostat_agent.reload.provenance import Provenance

OLD, NEW = "X = [1]\n", "X = [2]\n"


@pytest.fixture
def seen():
    return FirstSeen()


def told(host, module, provenance):
    load = Load(host.path("m"), module.__file__, vars(module), module=module)
    return provenance.on_disk(load, (OLD, NEW))


def test_a_file_that_changed_after_its_module_was_seen_tells(host, seen):
    module = host.load("m", OLD)
    seen.note()
    provenance = Provenance(seen)
    assert told(host, module, provenance) == ""  # the old text may be there again
    host.write("m", NEW)
    assert told(host, module, provenance) == "old"
    host.write("m", NEW + "Y = 1\n")
    assert told(host, module, provenance) == ""
    Path(module.__file__).unlink()
    assert told(host, module, provenance) == ""


def test_a_module_that_came_after_the_file_changed_tells_nothing(host, seen):
    module = host.load("m", NEW)
    seen.note()
    assert told(host, module, Provenance(seen)) == ""


def test_without_looks_the_disk_tells_nothing(host):
    module = host.load("m", OLD)
    host.write("m", NEW)
    assert told(host, module, Provenance()) == ""


def test_what_was_noted_holds_for_this_load_alone(host, seen):
    module, provenance = host.load("m", OLD), Provenance(seen)
    assert provenance.noted(module, (OLD, NEW)) == provenance.noted(None, (OLD, NEW)) == ""
    provenance.note(module, NEW)
    assert provenance.noted(module, (OLD, NEW)) == "new" and provenance.noted(module, (NEW, OLD)) == "old"
    assert provenance.noted(module, (OLD, "Y = 1\n")) == ""
    importlib.reload(module)
    assert provenance.noted(module, (OLD, NEW)) == ""
