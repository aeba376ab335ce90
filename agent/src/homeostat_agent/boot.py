"""How the agent gets into a program: by a launch file from `homeostat run`, or by a call from inside.

Which Python processes of a launched program attach: every one that finds the launch in its
environment, which is taken out before anything else runs. So it is the first one; and, by
`homeostat_agent.inherit`, whatever that becomes by `exec`, the workers that `multiprocessing` spawns
(those of uvicorn, too) and the serving child of a development server's reloader. Every fork of an
attached process attaches as a process of its own. A Python that the program merely runs as a tool
does not.

Nothing here raises into the host. Only what is needed to say no is imported at the top.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from homeostat_agent.agent import Agent as Agent
    from homeostat_agent.launch_file import Launch

LAUNCH_VARIABLE = "HOMEOSTAT_AGENT_LAUNCH"
"""Path of the launch file. `homeostat_agent.bootstrap` takes it out of the environment."""


class _ThisProcess:
    """What there is one of in a process, like the exit and fork hooks of Python that lead here."""

    __slots__ = ("agent", "hooks_set")

    def __init__(self) -> None:
        self.agent: Agent | None = None
        self.hooks_set = False


_process = _ThisProcess()


def boot_launched(path: str) -> Agent | None:
    """Attach by this launch file, in a Python that has just started. For `sitecustomize`."""
    return _boot(path, by_launch=True)


def boot_worker(path: str) -> Agent | None:
    """Attach a worker of an attached process, by its launch file or state directory. For `homeostat_agent.inherit`."""
    return _boot(path, by_launch=not os.path.isdir(path))


def _boot(path: str, *, by_launch: bool) -> Agent | None:
    if _process.agent is not None:
        return _process.agent
    try:
        from homeostat_agent.launch_file import launch_of_state_dir, read_launch

        launch = read_launch(path) if by_launch else launch_of_state_dir(path)
        return _start(launch, source=path, just_started=True)
    except Exception as error:  # the edge to the host: it runs without us rather than not at all
        _say(f"not attached: {error}")
        return None


def attach_from_inside(state_dir: str | os.PathLike[str] | None) -> Agent | None:
    """See `homeostat_agent.attach`."""
    if _process.agent is not None:
        return _process.agent
    try:
        from homeostat_agent.launch_file import find_state_dir, launch_of_state_dir

        source = find_state_dir(state_dir)
        return _start(launch_of_state_dir(source), source=source, just_started=False)
    except Exception as error:  # the edge to the host
        _say(f"not attached: {error}")
        return None


def _start(launch: Launch, *, source: str, just_started: bool) -> Agent:
    from homeostat_agent.agent import Agent

    agent = Agent(launch, just_started=just_started, on_close=_forget_agent)
    agent.start()
    _process.agent = agent
    _set_hooks(agent, source)
    return agent


def _set_hooks(agent: Agent, source: str) -> None:
    if _process.hooks_set:
        return
    import atexit

    from homeostat_agent.inherit import Inheritance

    _process.hooks_set = True
    atexit.register(_at_exit)
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_forked_child)
    Inheritance(
        place=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
        source=source,
        environment={} if os.path.isdir(source) else {LAUNCH_VARIABLE: source},
        failures=agent.failures,
    ).install()


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


def _say(text: str) -> None:
    """One line on stderr, where there is one."""
    try:
        sys.stderr.write("homeostat-agent: " + " ".join(text.split())[:300] + "\n")
    except Exception:  # closed, None, or replaced by something odd: then nobody wants to know
        pass
