"""The planner is imported when the first change comes, which may be while the host still imports its own modules."""

import os
import subprocess
import sys
from pathlib import Path

import homeostat_agent

PROGRAM = """
import sys, threading
from importlib.machinery import PathFinder

begun, ended, failures = threading.Event(), threading.Event(), []

class Slow:
    def __init__(self, loader):
        self.loader = loader
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        begun.set()
        ended.wait(0.5)  # whoever does not wait for this module has failed by then
        self.loader.exec_module(module)

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "typing":
            return None
        spec = PathFinder.find_spec(name)
        spec.loader = Slow(spec.loader)
        return spec

def agent():
    begun.wait(60)
    try:
        import homeostat_agent.reload
    except BaseException as error:
        failures.append(f"{type(error).__name__}: {error}")
    ended.set()

assert "typing" not in sys.modules
sys.meta_path.insert(0, Finder)
thread = threading.Thread(target=agent)
thread.start()
import typing
thread.join(60)
print(failures or "imported")
"""


def test_half_a_module_of_the_host_is_waited_for():
    environment = {**os.environ, "PYTHONPATH": str(Path(homeostat_agent.__file__).parent.parent)}
    ran = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert ran.stdout.strip() == "imported"
