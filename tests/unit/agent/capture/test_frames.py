"""What counts as the host's repository, and what is reported of a traceback."""

import logging
import os
import sys
import types
from pathlib import Path

import pytest
from homeostat_agent.capture.frames import MAX_FRAMES, Repository

RAISING = """
class Cart:
    def price(self, depth=0):
        if depth:
            return self.price(depth - 1)
        raise LookupError("no price")

def outer(depth=0):
    def inner():
        return Cart().price(depth)
    return inner()
"""


def load(path: Path, source: str) -> types.ModuleType:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    module = types.ModuleType(path.stem)
    module.__file__ = str(path)
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def raised(module: types.ModuleType, *arguments: object) -> BaseException:
    try:
        module.outer(*arguments)
    except BaseException as error:
        return error
    raise AssertionError("it did not raise")


QUALIFIED = sys.version_info >= (3, 11)


def test_frames_are_relative_outermost_first_and_qualified_where_known(tmp_path):
    module = load(tmp_path / "shop" / "cart.py", RAISING)
    trace = Repository(str(tmp_path)).trace(raised(module))
    assert [(frame.path, frame.line) for frame in trace] == [
        ("shop/cart.py", 11),
        ("shop/cart.py", 10),
        ("shop/cart.py", 6),
    ]
    if QUALIFIED:
        assert [frame.function for frame in trace] == ["outer", "outer.<locals>.inner", "Cart.price"]
    else:
        assert [frame.function for frame in trace] == ["outer", "inner", "price"]


def test_a_deep_recursion_leaves_the_innermost_frames(tmp_path):
    module = load(tmp_path / "cart.py", RAISING)
    trace = Repository(str(tmp_path)).trace(raised(module, 400))
    assert len(trace) == MAX_FRAMES
    assert trace[-1].line == 6


@pytest.mark.parametrize(
    "inside",
    [
        ".venv/lib/python3.11/site-packages/library/code.py",
        "env/lib/library.py",
        "node_modules/x/tool.py",
        ".tox/py311/code.py",
        "vendor/dist-packages/code.py",
    ],
)
def test_environments_and_installed_packages_inside_the_repository_are_not_it(tmp_path, inside):
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    module = load(tmp_path / inside, RAISING)
    assert Repository(str(tmp_path)).trace(raised(module)) == ()


@pytest.mark.parametrize("name", ["<string>", "<frozen importlib._bootstrap>", "", "/nowhere/at/all.py", os.__file__])
def test_a_file_outside_is_nowhere(tmp_path, name):
    assert Repository(str(tmp_path)).relative(name) == ""


def test_the_interpreter_and_the_agent_are_never_the_repository():
    """Not even where the repository is the root of everything."""
    repository = Repository("/")
    assert repository.relative(os.__file__) == ""
    assert repository.relative(logging.__file__) == ""
    assert repository.relative(sys.modules["homeostat_agent.ring"].__file__ or "") == ""
    assert repository.relative(__file__) != "", "but this file is"


def test_a_neighbour_whose_name_begins_alike_is_outside(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop-old").mkdir()
    assert Repository(str(tmp_path / "shop")).relative(str(tmp_path / "shop-old" / "cart.py")) == ""


def test_a_repository_that_is_reached_by_a_link_is_itself(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert Repository(str(tmp_path / "link")).relative(str(tmp_path / "real" / "cart.py")) == "cart.py"
    assert Repository(str(tmp_path / "real")).relative(str(tmp_path / "link" / "cart.py")) == "cart.py"


def test_a_repository_that_is_its_own_environment_has_its_files(tmp_path):
    (tmp_path / "pyvenv.cfg").write_text("")
    assert Repository(str(tmp_path)).relative(str(tmp_path / "cart.py")) == "cart.py"


def test_a_library_that_wraps_the_hosts_error_is_not_where_the_defect_is(tmp_path):
    module = load(tmp_path / "cart.py", RAISING)
    cause = raised(module)
    try:
        raise RuntimeError("wrapped") from cause
    except RuntimeError as error:
        trace = Repository(str(tmp_path)).trace(error)
    assert trace[-1].line == 6


def test_a_circle_of_causes_comes_to_an_end(tmp_path):
    one, other = ValueError(), ValueError()
    one.__cause__, other.__cause__ = other, one
    assert Repository(str(tmp_path)).trace(one) == ()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups came with Python 3.11")
def test_a_group_of_one_is_that_one(captured):
    module = load(captured.repository / "cart.py", RAISING)
    group = ExceptionGroup("tasks", [ExceptionGroup("more", [raised(module)])])
    log = logging.Logger("groups")
    log.addHandler(logging.NullHandler())
    log.error("x", exc_info=group)
    log.error("y", exc_info=ExceptionGroup("two", [raised(module), ValueError("z")]))
    one, two = captured.occurrences()
    assert (one.exception_type, one.exception_message, one.location.path) == ("LookupError", "no price", "cart.py")
    assert (two.exception_type, two.location.line) == ("ExceptionGroup", 6)


def test_a_record_without_an_exception_is_where_it_was_logged(captured):
    source = """
import logging
log = logging.Logger("shop")
log.addHandler(logging.NullHandler())
class Cart:
    def check(self):
        log.warning("low stock")
"""
    load(captured.repository / "stock.py", source).Cart().check()
    log = logging.Logger("elsewhere")
    log.addHandler(logging.NullHandler())
    log.warning("not from the repository")
    inside, outside = captured.occurrences()
    assert inside.location[:2] == ("stock.py", 7)
    assert inside.location.function == ("Cart.check" if QUALIFIED else "check")
    assert inside.trace == ()
    assert outside.location.path == ""
