"""Since when modules are loaded, as far as looks tell."""

import sys
import time
import types
from importlib.machinery import ModuleSpec

import pytest
from homeostat_agent.firstseen import FirstSeen


@pytest.fixture
def module():
    made = types.ModuleType("seen_first")
    made.__spec__ = ModuleSpec("seen_first", None)
    yield made
    sys.modules.pop("seen_first", None)


def test_a_module_was_there_when_it_was_noted(module):
    seen = FirstSeen()
    sys.modules["seen_first"] = module
    assert seen.since_ns("seen_first", module) is None
    before_ns = time.time_ns()
    seen.note()
    noted_ns = seen.since_ns("seen_first", module)
    assert before_ns <= noted_ns <= time.time_ns()
    sys.modules["seen_other"] = types.ModuleType("seen_other")
    try:
        seen.note()
    finally:
        del sys.modules["seen_other"]
    assert seen.since_ns("seen_first", module) == noted_ns


def test_a_module_that_was_loaded_anew_is_another(module):
    seen = FirstSeen()
    sys.modules["seen_first"] = module
    seen.note()
    module.__spec__ = ModuleSpec("seen_first", None)  # as `importlib.reload` does
    assert seen.since_ns("seen_first", module) is None


def test_a_module_that_is_being_imported_is_not_there_yet(module):
    seen = FirstSeen()
    module.__spec__._initializing = True
    sys.modules["seen_first"] = module
    seen.note()
    assert seen.since_ns("seen_first", module) is None


def test_stand_ins_are_not_looked_at():
    class Loud:
        def __getattr__(self, name):
            raise AssertionError(name)

    sys.modules["seen_loud"] = Loud()
    try:
        FirstSeen().note()
    finally:
        del sys.modules["seen_loud"]
