"""How the agent gets into a program: by a launch file from `homeostat run`, or by a call from inside.

Which Python processes of a launched program attach (`lineage`): the first one; whatever it
becomes by `exec`; children that `multiprocessing` spawns (workers of uvicorn); the serving child of
a development server's reloader (Django, Werkzeug); and every fork of an attached one, as a process
of its own. A Python that the program merely runs as a tool does not.

Nothing here raises into the host. Only what is needed to say no is imported at the top.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from homeostat_agent.agent import Agent as Agent
    from homeostat_agent.launch_file import Launch

LAUNCH_VARIABLE = "HOMEOSTAT_AGENT_LAUNCH"
"""Path of the launch file."""

PID_VARIABLE = "HOMEOSTAT_AGENT_PID"
"""The pid that attached last: how a child knows that it is one."""

RELOADER_VARIABLE = "HOMEOSTAT_AGENT_RELOADER"
"""Set once the serving child of a reloader has attached, so that its own children do not."""

_RELOADER_MARKS = (("WERKZEUG_RUN_MAIN", "true"), ("RUN_MAIN", "true"))


class _ThisProcess:
    """What there is one of in a process, like the exit and fork hooks of Python that lead here."""

    __slots__ = ("agent", "hooks_set")

    def __init__(self) -> None:
        self.agent: Agent | None = None
        self.hooks_set = False


_process = _ThisProcess()


def lineage(environ: Mapping[str, str], *, pid: int, arguments: Sequence[str]) -> str:
    """Return what a launched process is to its program, or an empty text when it is only a tool of it.

    ``first``, ``exec`` (the same process, become another program), ``spawned`` (a worker that
    `multiprocessing` started) or ``reloaded``. `arguments` are the interpreter's own.
    """
    marker = environ.get(PID_VARIABLE)
    if marker is None:
        return "first"
    if marker == str(pid):
        return "exec"
    if "--multiprocessing-fork" in arguments:
        return "spawned"
    if any(word.startswith("from multiprocessing.forkserver import") for word in arguments):
        return "spawned"
    if RELOADER_VARIABLE not in environ and any(environ.get(name) == value for name, value in _RELOADER_MARKS):
        return "reloaded"
    return ""


def boot_from_environment() -> Agent | None:
    """Attach when a launch file is named and this process is one that attaches. For `sitecustomize`."""
    path = os.environ.get(LAUNCH_VARIABLE)
    if not path or _process.agent is not None:
        return _process.agent
    try:
        arguments = getattr(sys, "orig_argv", None)
        if arguments is None:
            from homeostat_agent.facts import original_arguments

            arguments = original_arguments()
        kinship = lineage(os.environ, pid=os.getpid(), arguments=arguments)
        if not kinship:
            return None
        if kinship == "reloaded":
            os.environ[RELOADER_VARIABLE] = str(os.getpid())
        from homeostat_agent.launch_file import read_launch

        return _start(read_launch(path), just_started=True)
    except Exception as error:  # the edge to the host: it runs without us rather than not at all
        _say(f"not attached: {error}")
        return None


def attach_from_inside(state_dir: str | os.PathLike[str] | None) -> Agent | None:
    """See `homeostat_agent.attach`."""
    if _process.agent is not None:
        return _process.agent
    try:
        from homeostat_agent.launch_file import find_state_dir, launch_of_state_dir

        return _start(launch_of_state_dir(find_state_dir(state_dir)), just_started=False)
    except Exception as error:  # the edge to the host
        _say(f"not attached: {error}")
        return None


def _start(launch: Launch, *, just_started: bool) -> Agent:
    from homeostat_agent.agent import Agent

    agent = Agent(launch, just_started=just_started, on_close=_forget_agent)
    agent.start()
    _process.agent = agent
    os.environ[PID_VARIABLE] = str(os.getpid())
    _set_hooks()
    return agent


def _set_hooks() -> None:
    if _process.hooks_set:
        return
    import atexit

    _process.hooks_set = True
    atexit.register(_at_exit)
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_forked_child)


def _at_exit() -> None:
    if _process.agent is not None:
        _process.agent.flush_at_exit()


def _before_fork() -> None:
    if _process.agent is not None:
        _process.agent.pause()


def _after_fork() -> None:
    try:
        if _process.agent is not None:
            _process.agent.resume()
    except RuntimeError as error:  # no thread to be had any more: the host goes on unwatched
        _say(f"stopped after a fork: {error}")


def _in_forked_child() -> None:
    try:
        if _process.agent is not None:
            _process.agent.become_forked_child()
    except Exception as error:  # the edge to the host
        _process.agent = None
        _say(f"not attached in the forked child: {error}")


def _forget_agent() -> None:
    """Note that the agent was closed: a later `attach` makes a new one."""
    _process.agent = None
    if os.environ.get(PID_VARIABLE) == str(os.getpid()):
        del os.environ[PID_VARIABLE]


def _say(text: str) -> None:
    """One line on stderr, where there is one."""
    try:
        sys.stderr.write("homeostat-agent: " + " ".join(text.split())[:300] + "\n")
    except Exception:  # closed, None, or replaced by something odd: then nobody wants to know
        pass
