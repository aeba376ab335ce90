"""A copy of the agent in the host's repository, as `homeostat run` lends one, does not stand against changes."""

import json
import os
import subprocess
import sys

from homeostat.adapters.agents.launch import place_bootstrap

OLD = """
def f(x, factor=2):
    return x * factor
"""
NEW = """
import math

LIMIT = 31

def f(x, factor=3):
    return min(math.floor(x * factor), LIMIT)
"""
PROGRAM = """
import json, sys
import homeostat_agent.capture.patches, homeostat_agent.reload.additions  # both look at names and signatures
import rates
from homeostat_agent.reload import Change, Module, Reloader

old, new = json.load(sys.stdin)
reloader = Reloader(sys.argv[1])
print(homeostat_agent.__file__)
change = Change(id="c", modules=(Module(path="rates.py", old_source=old, new_source=new),), mode="safe")
outcome = reloader.swap(change)
print(outcome.outcome, outcome.detail)
print(rates.f(2.5), rates.f(100))
own = open(sys.argv[3]).read()
own_module = Module(path=sys.argv[2], old_source=own, new_source=own + "\\nMORE = 1\\n")
print(reloader.swap(Change(id="own", modules=(own_module,), mode="safe")).detail)
"""


def test_import_constant_and_default_go_live_beside_a_lent_agent(tmp_path):
    bootstrap = place_bootstrap(tmp_path / ".homeostat" / "run" / "bootstrap")
    (tmp_path / "rates.py").write_text(OLD)
    own = bootstrap / "homeostat_agent" / "reload" / "additions.py"
    ran = subprocess.run(
        [sys.executable, "-B", "-S", "-c", PROGRAM, str(tmp_path), str(own.relative_to(tmp_path)), str(own)],
        input=json.dumps([OLD, NEW]),
        env={**os.environ, "PYTHONPATH": f"{bootstrap / 'nothing'}{os.pathsep}{bootstrap}", "PYTHONSAFEPATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    place, swapped, results, of_agent = ran.stdout.splitlines()
    assert place.startswith(str(bootstrap))
    assert swapped.startswith("swapped "), swapped
    assert results == "7 31"
    assert "is of the agent itself, which is not swapped" in of_agent
