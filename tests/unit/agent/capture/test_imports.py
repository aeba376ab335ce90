"""Hooks that run after an import, and leave the import as it was."""

import importlib
import importlib.machinery
import importlib.util
import inspect
import pkgutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from homeostat_agent.capture.failures import Failures
from homeostat_agent.capture.imports import PostImport

NAMES = ("late_one", "late_two", "late_package", "late_package.inner", "late_broken", "late_other")


class Seen:
    def __init__(self) -> None:
        self.modules: list[Any] = []
        self.failures = Failures()
        self.finder = PostImport(dict.fromkeys(NAMES, self.modules.append), self.failures)


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Seen]:
    (tmp_path / "late_one.py").write_text("VALUE = 1\ndef f():\n    return VALUE\n")
    (tmp_path / "late_other.py").write_text("VALUE = 1\n")
    (tmp_path / "late_broken.py").write_text("raise LookupError('the host is broken')\n")
    (tmp_path / "late_package").mkdir()
    (tmp_path / "late_package" / "__init__.py").write_text("from late_package import inner\n")
    (tmp_path / "late_package" / "inner.py").write_text("import late_one\n")
    (tmp_path / "late_package" / "data.txt").write_text("data")
    with zipfile.ZipFile(tmp_path / "zipped.zip", "w") as archive:
        archive.writestr("late_two.py", "import late_zipped\nVALUE = 2\n")
        archive.writestr("late_zipped.py", "VALUE = 3\n")
    paths = [str(tmp_path), str(tmp_path / "zipped.zip")]
    before = list(sys.meta_path)
    sys.path[:0] = paths
    importlib.invalidate_caches()
    one = Seen()
    try:
        yield one
    finally:
        one.finder.uninstall()
        assert sys.meta_path == before
        for path in paths:
            sys.path.remove(path)
        for name in [*NAMES, "late_zipped"]:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()


def test_a_hook_runs_once_after_the_module_was_executed(seen):
    seen.finder.install()
    import late_one  # type: ignore[import-not-found]

    assert seen.modules == [late_one]
    importlib.import_module("late_one")
    assert seen.modules == [late_one]


def test_a_hook_runs_at_once_for_what_was_imported_before(seen):
    importlib.import_module("late_one")
    seen.finder.install()
    assert [module.__name__ for module in seen.modules] == ["late_one"]


def test_nested_imports_are_each_hooked_when_they_are_complete(seen):
    seen.finder.install()
    importlib.import_module("late_package")
    assert [module.__name__ for module in seen.modules] == ["late_one", "late_package.inner", "late_package"]


def test_the_module_and_its_loader_are_as_they_would_have_been(seen):
    seen.finder.install()
    module = importlib.import_module("late_one")
    assert type(module.__loader__) is importlib.machinery.SourceFileLoader
    assert "exec_module" not in vars(module.__loader__)
    assert module.__spec__.loader is module.__loader__
    assert inspect.getsource(module.f).startswith("def f")
    importlib.import_module("late_package")
    assert pkgutil.get_data("late_package", "data.txt") == b"data"


def test_a_loader_that_several_modules_share_is_put_back(seen):
    seen.finder.install()
    module = importlib.import_module("late_two")
    assert [one.__name__ for one in seen.modules] == ["late_two"]
    assert module.VALUE == 2
    assert sys.modules["late_zipped"].VALUE == 3
    assert "exec_module" not in vars(module.__loader__)


def test_a_module_that_fails_to_import_fails_as_before(seen):
    seen.finder.install()
    with pytest.raises(LookupError, match="the host is broken"):
        importlib.import_module("late_broken")
    assert seen.modules == []
    assert "late_broken" not in sys.modules
    assert seen.failures.as_dict() == {}


def test_a_module_that_is_not_there_is_not_there(seen, tmp_path):
    (tmp_path / "late_one.py").unlink()
    importlib.invalidate_caches()
    seen.finder.install()
    with pytest.raises(ModuleNotFoundError, match="late_one"):
        importlib.import_module("late_one")
    assert seen.failures.as_dict() == {}


def test_a_reload_is_hooked_again(seen):
    seen.finder.install()
    module = importlib.import_module("late_one")
    importlib.reload(module)
    assert seen.modules == [module, module]


def test_a_hook_that_raises_is_counted_and_the_import_succeeds(tmp_path, seen):
    failing = PostImport({"late_one": lambda module: module.no_such_attribute}, seen.failures)
    failing.install()
    try:
        assert importlib.import_module("late_one").VALUE == 1
    finally:
        failing.uninstall()
    assert seen.failures.as_dict() == {"hook:late_one": 1}


def test_another_finder_of_this_kind_and_ours_do_not_call_each_other_forever(seen):
    class Other:
        busy = False

        def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
            if name != "late_one" or self.busy:
                return None
            self.busy = True
            try:
                return importlib.util.find_spec(name)
            finally:
                self.busy = False

    other = Other()
    for order in ("other last", "other first"):
        sys.modules.pop("late_one", None)
        seen.modules.clear()
        seen.finder.uninstall()
        seen.finder = PostImport({"late_one": seen.modules.append}, seen.failures)
        if order == "other first":
            seen.finder.install()
        sys.meta_path.insert(0, other)  # type: ignore[arg-type]
        if order == "other last":
            seen.finder.install()
        try:
            importlib.import_module("late_one")
        finally:
            sys.meta_path.remove(other)  # type: ignore[arg-type]
        assert len(seen.modules) == 1, order


def test_a_finder_that_raises_raises_as_before(seen):
    class Broken:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
            if name == "late_one":
                raise ZeroDivisionError("theirs")

    broken = Broken()
    sys.meta_path.insert(0, broken)  # type: ignore[arg-type]
    seen.finder.install()
    try:
        with pytest.raises(ZeroDivisionError, match="theirs"):
            importlib.import_module("late_one")
    finally:
        sys.meta_path.remove(broken)  # type: ignore[arg-type]


def test_after_uninstall_nothing_is_hooked(seen):
    seen.finder.install()
    seen.finder.uninstall()
    importlib.import_module("late_one")
    assert seen.modules == []
    assert importlib.util.find_spec("late_other") is not None


def test_asking_for_a_spec_without_importing_runs_no_hook(seen):
    seen.finder.install()
    assert importlib.util.find_spec("late_one") is not None
    assert seen.modules == []
    importlib.import_module("late_one")
    assert len(seen.modules) == 1
