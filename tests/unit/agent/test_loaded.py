"""Which files a process says that it has loaded."""

import sys
import types

import pytest
from homeostat_agent.capture.frames import Repository
from homeostat_agent.loaded import MAX_FILES, loaded_files


@pytest.fixture
def module(monkeypatch):
    def add(name, **attributes):
        made = types.ModuleType(name)
        vars(made).update(attributes)
        monkeypatch.setitem(sys.modules, name, made)
        return made

    return add


@pytest.fixture
def loaded(tmp_path):
    return lambda: loaded_files(Repository(str(tmp_path)))


def test_files_of_the_repository_are_named_once_and_relative(tmp_path, module, loaded):
    module("one", __file__=str(tmp_path / "shop" / "one.py"))
    module("same", __file__=str(tmp_path / "shop" / "one.py"))
    assert loaded() == ["shop/one.py"]


def test_what_is_installed_inside_or_lies_outside_is_not_named(tmp_path, module, loaded):
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "pyvenv.cfg").touch()
    module("installed", __file__=str(tmp_path / "env" / "lib" / "x.py"))
    module("outside", __file__=str(tmp_path.parent / "x.py"))
    module("extension", __file__=str(tmp_path / "x.so"))
    module("bytecode", __file__=str(tmp_path / "x.pyc"))
    assert loaded() == []


def test_a_link_stands_for_what_it_leads_to(tmp_path, module, loaded):
    (tmp_path / "real.py").touch()
    (tmp_path / "inside.py").symlink_to("real.py")
    outside = tmp_path.parent / f"{tmp_path.name}-outside.py"
    outside.touch()
    (tmp_path / "out.py").symlink_to(outside)
    module("inside", __file__=str(tmp_path / "inside.py"))
    module("out", __file__=str(tmp_path / "out.py"))
    assert loaded() == ["real.py"]


@pytest.mark.parametrize("origin", [None, 7, "", "<frozen>", "\0.py", b"x.py"])
def test_a_module_that_names_nonsense_is_passed_over(module, loaded, origin):
    module("odd", __file__=origin)
    assert loaded() == []


def test_a_stand_in_runs_no_code_of_the_host(tmp_path, monkeypatch, loaded):
    class Trap:
        def __getattribute__(self, name):
            raise AssertionError(name)

    class Lazy(types.ModuleType):
        def __getattribute__(self, name):
            raise AssertionError(name)

    lazy = Lazy("lazy")
    types.ModuleType.__getattribute__(lazy, "__dict__")["__file__"] = str(tmp_path / "lazy.py")
    monkeypatch.setitem(sys.modules, "trap", Trap())
    monkeypatch.setitem(sys.modules, "lazy", lazy)
    assert loaded() == ["lazy.py"]


def test_of_a_huge_repository_so_many_are_named_as_fit(tmp_path, module, loaded):
    for index in range(MAX_FILES + 1):
        module(f"m{index}", __file__=str(tmp_path / f"m{index:05}.py"))
    assert len(loaded()) == MAX_FILES
