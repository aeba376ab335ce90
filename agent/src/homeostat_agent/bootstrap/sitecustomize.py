"""Lets Homeostat's agent into a program that `homeostat run` started; then gives way.

First on PYTHONPATH, so Python imports it at start. It takes what `homeostat run` added out of the
environment, so that no tool which the program runs meets it; attaches; takes its own folder off
`sys.path`; and imports the `sitecustomize` that would have been found without it, by Python's ordinary means:
what that one does or raises is as it would have been. A failure of ours is one line on stderr.

Any Python may meet this file, so it is written for all of them; the agent itself wants 3.9.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-not-found"

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def _take_launch():
    path = os.environ.get("PYTHONPATH", "")
    rest = os.pathsep.join(entry for entry in path.split(os.pathsep) if os.path.abspath(entry) != HERE)
    if rest:
        os.environ["PYTHONPATH"] = rest
    elif path:
        del os.environ["PYTHONPATH"]
    return os.environ.pop("HOMEOSTAT_AGENT_LAUNCH", None)


def _attach(launch):
    try:
        if sys.version_info < (3, 9):
            raise RuntimeError("this is Python %d.%d, and the agent needs 3.9 or later" % sys.version_info[:2])
        from homeostat_agent.boot import boot_launched

        boot_launched(launch)
    except Exception as error:
        try:
            sys.stderr.write("homeostat-agent: not attached: %s\n" % (str(error).split("\n")[0][:300],))
        except Exception:
            pass


def _give_way():
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != HERE]
    # Held, because a module that nobody refers to is emptied while it runs.
    ours = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # noqa: F401  the next one
    except ImportError as error:
        if getattr(error, "name", "sitecustomize") != "sitecustomize":
            raise
        sys.modules["sitecustomize"] = ours


launch = _take_launch()
if launch:
    _attach(launch)
_give_way()
