"""The probe in real test runners: what it reports, and that it cannot be taken for a pass when it is cut short."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import homeostat.worker
from homeostat.worker.results import Results, read_results

PROBE = Path(homeostat.worker.__file__).parent / "probe"
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
UNITTEST = ("-m", "unittest")


@dataclass(frozen=True)
class Host:
    """A small host repository, and runs of its tests with the probe in them."""

    root: Path
    folder: Path

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.root / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def run(self, *words: str, changed: tuple[str, ...] = ("shop.py",), path: str = "") -> tuple[int, Results]:
        probe = self.folder / "probe"
        shutil.copytree(PROBE, probe, ignore=shutil.ignore_patterns("__pycache__"))
        (probe / "config.json").write_text(json.dumps({"root": str(self.root), "modules": changed}))
        results = self.folder / "results"
        results.mkdir()
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.root,
            capture_output=True,
            timeout=60,
            check=False,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": f"{probe}{path}",
                "PYTEST_PLUGINS": "homeostat_probe_pytest",
                "HOMEOSTAT_PROBE_RESULTS": str(results),
                "PYTHONDONTWRITEBYTECODE": "1",
                # Only what is under test: not what else is installed here, nor the folders that earlier runs left.
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTEST_DEBUG_TEMPROOT": str(self.folder),
            },
        )
        print(done.stdout.decode(), done.stderr.decode())
        return done.returncode, read_results(
            results, exit_code=done.returncode, command=("python", *words), changed_modules=changed
        )


@pytest.fixture
def host(tmp_path) -> Host:
    (tmp_path / "repository").mkdir()
    made = Host(root=tmp_path / "repository", folder=tmp_path)
    made.write(shop="def price():\n    return 3\n")
    return made


PYTEST_CASES = """
import pytest, shop
def test_good(): assert shop.price() == 3
def test_bad(): assert shop.price() == 4
def test_skipped(): pytest.skip('no')
@pytest.mark.xfail
def test_expected(): assert False
@pytest.fixture
def broken(): raise ValueError
def test_error(broken): pass
@pytest.fixture
def breaks_after():
    yield
    raise ValueError
def test_teardown(breaks_after): pass
@pytest.mark.parametrize('n', [1, 2])
def test_each(n): assert n == 1
"""


def test_pytest_outcomes_are_recorded_one_by_one(host):
    host.write(test_it=PYTEST_CASES)
    code, results = host.run(*PYTEST)
    assert code == 1
    assert {name.partition("::")[2]: outcome for name, outcome in results.outcomes.items()} == {
        "test_good": "passed",
        "test_bad": "failed",
        "test_skipped": "skipped",
        "test_expected": "skipped",
        "test_error": "error",
        "test_teardown": "error",
        "test_each[1]": "passed",
        "test_each[2]": "failed",
    }
    assert results.ran_from_candidate is True


def test_a_file_that_does_not_load_is_an_error(host):
    host.write(test_it="import nothing_like_this")
    code, results = host.run(*PYTEST)
    assert (code, results.outcomes) == (2, {"test_it.py": "error"})


UNITTEST_CASES = """
import unittest, shop
class T(unittest.TestCase):
    def test_good(self): self.assertEqual(shop.price(), 3)
    def test_bad(self): self.assertEqual(shop.price(), 4)
    def test_error(self): raise ValueError
    @unittest.skip('no')
    def test_skipped(self): pass
    @unittest.expectedFailure
    def test_expected(self): self.fail()
    @unittest.expectedFailure
    def test_unexpected(self): pass
    def test_parts(self):
        for n in (1, 2):
            with self.subTest(n=n): self.assertEqual(n, 1)
    def test_inner(self):
        class Inner(unittest.TestCase):
            def test_red(self): self.fail()
        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(Inner).run(result)
        self.assertFalse(result.wasSuccessful())
class Whole(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise ValueError
    def test_never(self): pass
"""


def test_unittest_outcomes_are_recorded_one_by_one(host):
    host.write(test_it=UNITTEST_CASES)
    code, results = host.run(*UNITTEST)
    assert code == 1
    assert results.outcomes == {
        "test_it.T.test_good": "passed",
        "test_it.T.test_bad": "failed",
        "test_it.T.test_error": "error",
        "test_it.T.test_skipped": "skipped",
        "test_it.T.test_expected": "skipped",
        "test_it.T.test_unexpected": "failed",
        "test_it.T.test_parts": "failed",
        "test_it.T.test_inner": "passed",
        "setUpClass (test_it.Whole)": "error",
    }


@pytest.mark.parametrize("runner", [PYTEST, UNITTEST])
def test_a_green_run_is_believed(host, runner):
    host.write(test_it="import unittest, shop\nclass T(unittest.TestCase):\n    def test_a(self): shop.price()\n")
    code, results = host.run(*runner)
    assert (code, results.problem, results.ran_from_candidate) == (0, "", True)
    assert list(results.outcomes.values()) == ["passed"]


@pytest.mark.parametrize("runner", [PYTEST, UNITTEST])
@pytest.mark.parametrize("way_out", ["import os; os._exit(0)", "import os, sys; sys.stdout.flush(); os._exit(0)"])
def test_leaving_in_the_middle_with_code_0_is_not_believed(host, runner, way_out):
    cases = f"    def test_a(self): pass\n    def test_b(self): {way_out}\n"
    host.write(test_it=f"import unittest\nclass T(unittest.TestCase):\n{cases}")
    code, results = host.run(*runner)
    assert code == 0
    assert results.problem


def test_hiding_failures_behind_exit_code_0_is_not_believed(host):
    host.write(
        conftest="def pytest_sessionfinish(session): session.exitstatus = 0", test_it="def test_a(): assert False"
    )
    code, results = host.run(*PYTEST)
    assert (code, results.outcomes) == (0, {"test_it.py::test_a": "failed"})
    assert "tests failed" in results.problem


def test_a_failed_runner_behind_a_command_that_succeeds_is_not_believed(host):
    host.write(
        test_it="def test_a(): assert False",
        run="import subprocess, sys\nsubprocess.call([sys.executable, '-m', 'pytest', '-q'])\n",
    )
    code, results = host.run("run.py")
    assert code == 0
    assert "failed" in results.problem


@pytest.mark.parametrize("words", [(*PYTEST, "-p", "no:homeostat_probe_pytest"), ("-S", *UNITTEST), ("-I", *UNITTEST)])
def test_a_known_runner_without_results_is_not_believed(host, words):
    host.write(test_it="import unittest\nclass T(unittest.TestCase):\n    def test_a(self): pass\n")
    code, results = host.run(*words)
    if code == 0:
        assert "no results" in results.problem
    assert results.outcomes == {}


def test_a_unittest_run_of_no_test_is_not_believed(host):
    host.write(run="import unittest\nunittest.main(argv=['x'], exit=False)\n")
    code, results = host.run("run.py")
    assert code == 0
    assert "no test" in results.problem


def test_a_run_inside_a_test_is_not_taken_for_the_run_itself(host):
    host.write(
        test_outer=(
            "import subprocess, sys, pytest, pathlib\n"
            "def test_outer(tmp_path):\n"
            "    inner = tmp_path / 'test_inner.py'; inner.write_text('def test_red(): assert False')\n"
            "    words = [str(inner), '-q', '-p', 'no:cacheprovider', f'--rootdir={tmp_path}']\n"
            "    assert subprocess.call([sys.executable, '-m', 'pytest', *words], cwd=tmp_path) == 1\n"
            "    assert pytest.main(words) == 1\n"
        )
    )
    code, results = host.run(*PYTEST)
    assert (code, results.problem, results.outcomes) == (0, "", {"test_outer.py::test_outer": "passed"})


def test_two_runs_one_after_the_other_are_both_read(host):
    host.write(
        test_a="def test_a(): pass",
        test_b="def test_b(): pass",
        run=(
            "import subprocess, sys\n"
            "for name in 'ab': subprocess.check_call([sys.executable, '-m', 'pytest', f'test_{name}.py'])\n"
        ),
    )
    code, results = host.run("run.py")
    assert (code, results.problem) == (0, "")
    assert sorted(results.outcomes) == ["test_a.py::test_a", "test_b.py::test_b"]


def test_a_changed_module_that_nothing_loads_is_not_reported(host):
    host.write(test_it="def test_a(): pass")
    assert host.run(*PYTEST)[1].ran_from_candidate is None


def test_a_module_that_only_a_child_process_loads_counts(host):
    host.write(
        test_it="import subprocess, sys\ndef test_a(): subprocess.check_call([sys.executable, '-c', 'import shop'])"
    )
    assert host.run(*PYTEST)[1].ran_from_candidate is True


@pytest.mark.parametrize("changed", ["app/shop.py", "src/app/shop.py"])
def test_a_package_loaded_from_elsewhere_is_noticed(host, changed, tmp_path):
    """The trap: the host is installed in its environment, and its tests never touch the checkout."""
    (host.root / changed).parent.mkdir(parents=True)
    (host.root / changed).write_text("")
    (host.root / changed).with_name("__init__.py").write_text("")
    installed = tmp_path / "installed" / "app"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    (installed / "shop.py").write_text("")
    host.write(tests__test_it="import app.shop\ndef test_a(): assert 'installed' in app.shop.__file__")
    code, results = host.run(
        "-P", *PYTEST, "--import-mode=importlib", changed=(changed,), path=f":{tmp_path}/installed"
    )
    assert (code, results.ran_from_candidate) == (0, False)


def test_a_changed_test_alone_does_not_stand_for_the_changed_code(host):
    host.write(test_it="def test_a(): pass")
    assert host.run(*PYTEST, changed=("shop.py", "test_it.py"))[1].ran_from_candidate is None


def test_a_change_of_tests_only_is_loaded_by_running_them(host):
    host.write(test_it="def test_a(): pass")
    assert host.run(*PYTEST, changed=("test_it.py",))[1].ran_from_candidate is True


def test_the_hosts_own_sitecustomize_still_runs(host, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import os; os.environ['HOSTS_OWN'] = 'yes'")
    host.write(test_it="import os\ndef test_a(): assert os.environ['HOSTS_OWN'] == 'yes'")
    assert host.run(*PYTEST, path=f":{own}")[0] == 0


def test_a_results_folder_that_is_gone_fails_no_test_and_is_never_a_pass(host):
    remove = "shutil.rmtree(os.environ['HOMEOSTAT_PROBE_RESULTS'])"
    host.write(test_it=f"import os, shutil\ndef test_a(): {remove}\ndef test_b(): pass")
    code, results = host.run(*PYTEST)
    assert code == 0
    assert "no results" in results.problem
