"""The agent in interpreters and environments that are not the hub's."""

import subprocess
import sys

import pytest
from agents_harness import records, wait_for
from interpreters import VERSIONS, interpreter


@pytest.mark.parametrize("version", VERSIONS)
def test_the_agent_works_in_every_python_it_supports(place, version):
    place.write(
        "app.py",
        """
        import multiprocessing, sys

        def work():
            sys.stdin.close()
            raise KeyError("in a worker")

        if __name__ == "__main__":
            for method in ("fork", "spawn"):
                worker = multiprocessing.get_context(method).Process(target=work)
                worker.start()
                worker.join()
            raise LookupError("at the end")
        """,
    )
    with place.hub() as hub:
        done = place.run(interpreter(version), "app.py")
        assert "homeostat-agent" not in done.stderr
        wait_for(lambda: ("at the end", "LookupError") in [item[:2] for item in records(hub)], what=done.stderr)
        assert hub.stats().ended["goodbye"] >= 1
        assert set(hub.stats().ended) <= {"goodbye", "closed"}


@pytest.fixture(scope="module")
def foreign_python(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin" / "python"


def test_in_a_foreign_environment_only_the_standard_library_and_the_agent_are_loaded(place, foreign_python):
    """Nor what is slow to import: attaching is little more than its imports, which `bench_agent` measures."""
    show = (
        "import sys\n"
        "top = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(top - set(sys.stdlib_module_names) - {'__main__', 'sitecustomize'}))\n"
        "heavy = {'asyncio', 'ssl', 'inspect', 'http', 'email', 'secrets', 'queue', 'uuid', 'platform',\n"
        "         'ast', 'base64', 'dataclasses', 'ipaddress', 'subprocess', 'typing', 'concurrent', 'ctypes',\n"
        "         'decimal', 'multiprocessing', 'pathlib', 'pickle', 'random', 'shutil', 'tempfile', 'urllib', 'xml'}\n"
        "print(sorted(heavy & top))"
    )
    done = place.run(foreign_python, "-c", show)
    assert (done.stdout, done.stderr) == ("['homeostat_agent']\n[]\n", "")


def test_the_hubs_own_packages_are_not_importable_in_the_host(place, foreign_python):
    done = place.run(
        foreign_python, "-c", "import importlib.util as u; print(u.find_spec('homeostat'), u.find_spec('dbos'))"
    )
    assert done.stdout == "None None\n"
    left = {path.name for path in place.launch().bootstrap.iterdir()} - {"__pycache__"}
    assert sorted(left) == ["homeostat_agent", "sitecustomize.py"]
