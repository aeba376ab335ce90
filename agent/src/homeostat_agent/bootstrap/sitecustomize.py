"""Lets Homeostat's agent into a program that `homeostat run` started; then gives way.

First on PYTHONPATH, so Python imports it at start. It attaches, takes its own folder off `sys.path`,
and imports the `sitecustomize` that would have been found without it, by Python's ordinary means:
what that one does or raises is as it would have been. A failure of ours is one line on stderr.

Any Python may meet this file, so it is written for all of them; the agent itself wants 3.9.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-not-found"

import os
import sys


def _attach():
    try:
        from homeostat_agent.boot import boot_from_environment

        boot_from_environment()
    except Exception as error:
        try:
            sys.stderr.write("homeostat-agent: not attached: %s\n" % (str(error).split("\n")[0][:300],))
        except Exception:
            pass


def _give_way():
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    # Held, because a module that nobody refers to is emptied while it runs.
    ours = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # noqa: F401  the next one
    except ImportError as error:
        if getattr(error, "name", "sitecustomize") != "sitecustomize":
            raise
        sys.modules["sitecustomize"] = ours


if sys.version_info >= (3, 9):
    _attach()
_give_way()
