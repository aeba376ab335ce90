"""Hands the agent on to the processes that are the program too, and to no other.

The environment of an attached process is what it would be without us (see `homeostat_agent.bootstrap`),
so a tool that the program runs sees no trace. What goes on being the program is given the agent here:

- workers that `multiprocessing` spawns, and its fork server: by a few words in their command line;
- what the process becomes by `exec`, and a fork that executes the program's own command line anew
  (gunicorn's upgrade on USR2): by the environment of that one call;
- the serving child of a development server's reloader (Django, Werkzeug): by the environment, while
  the parent, which does nothing else, runs it.

Forks need nothing: the agent follows them (`homeostat_agent.boot`).
"""

from __future__ import annotations

import functools
import os
import sys
from contextlib import contextmanager

from homeostat_agent.capture.imports import PostImport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from homeostat_agent.capture.failures import Failures

_FORK_SERVER = "from multiprocessing.forkserver import"
_SPAWNED = "--multiprocessing-fork"

_ENTER = """
import sys
place, source = {place!r}, {source!r}
try:
    sys.path.insert(0, place)
    try:
        from homeostat_agent.boot import boot_worker
    finally:
        sys.path.remove(place)
    boot_worker(source)
except Exception as error:
    sys.stderr.write("homeostat-agent: not attached: %s\\n" % str(error)[:300])
"""


class Inheritance:
    """What this process hands on. Made once a process, when its agent was started; a fork keeps it."""

    def __init__(self, *, place: str, source: str, environment: Mapping[str, str], failures: Failures) -> None:
        self._place = place
        """The folder that the package lies in."""

        self._source = source
        """What `homeostat_agent.boot.boot_worker` takes."""

        self._environment = environment
        """What lets the agent into a Python that starts, without PYTHONPATH; empty when it was attached from inside."""

        self._pid = os.getpid()
        self._failures = failures

    def install(self) -> None:
        """Put the hooks in place, for good: where the agent was closed they hand on nothing of use, and no harm."""
        hooks: dict[str, Callable[[Any], None]] = {"multiprocessing.util": self._multiprocessing}
        if self._environment:
            hooks["django.utils.autoreload"] = lambda module: self._reloader(module, "restart_with_reloader")
            hooks["werkzeug._reloader"] = lambda module: self._reloader(module.ReloaderLoop, "restart_with_reloader")
            self._exec()
        PostImport(hooks, self._failures).install()

    def _multiprocessing(self, module: Any) -> None:
        original = module.spawnv_passfds

        def spawnv_passfds(path: Any, args: Any, passfds: Any) -> Any:
            return original(path, self.with_agent(args), passfds)

        module.spawnv_passfds = spawnv_passfds

    def with_agent(self, arguments: Sequence[Any]) -> Sequence[Any]:
        """Return the command line of a worker or a fork server with the agent in it; any other as it is."""
        words = list(arguments)
        if "-c" not in words[:-1]:
            return arguments
        at = words.index("-c") + 1
        code = words[at]
        if not isinstance(code, str) or not (_SPAWNED in words or code.startswith(_FORK_SERVER)):
            return arguments
        words[at] = f"exec({_ENTER.format(place=self._place, source=self._source)!r}, {{}})\n{code}"
        return words

    def _exec(self) -> None:
        execv, execve = os.execv, os.execve

        @functools.wraps(execv)
        def with_agent_v(path: Any, argv: Any) -> Any:
            if not self._goes_on_as(argv):
                return execv(path, argv)
            with self._in_our_environment():  # and not `execve`, whose errors read otherwise
                return execv(path, argv)

        @functools.wraps(execve)
        def with_agent_ve(path: Any, argv: Any, env: Any) -> Any:
            return execve(path, argv, self._enriched(env) if self._goes_on_as(argv) else env)

        # All others of their kind end in one of these.
        os.execv, os.execve = with_agent_v, with_agent_ve
        if execve in os.supports_fd:
            os.supports_fd.add(with_agent_ve)

    def _goes_on_as(self, arguments: Any) -> bool:
        """Tell whether an `exec` of this command line, here, is the program that goes on."""
        try:
            if os.getpid() == self._pid:
                return True
            words = [os.fsdecode(word) for word in arguments]
            own = (getattr(sys, "argv", [])[:], getattr(sys, "orig_argv", [])[1:])
            return any(line and len(words) > len(line) and words[-len(line) :] == line for line in own)
        except Exception:  # not a command line at all: whoever executes it will say so
            return False

    def _enriched(self, environment: Any) -> Any:
        try:
            theirs = environment.get("PYTHONPATH")
            path = os.pathsep.join((self._place, theirs)) if theirs else self._place
            return {**environment, **self._environment, "PYTHONPATH": path}
        except Exception:  # not what `exec` takes: then it will say so
            self._failures.note("exec")
            return environment

    def _reloader(self, owner: Any, name: str) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def restart(*args: Any, **kwargs: Any) -> Any:
            with self._in_our_environment():
                return original(*args, **kwargs)

        setattr(owner, name, restart)

    @contextmanager
    def _in_our_environment(self) -> Iterator[None]:
        before = {key: os.environ.get(key) for key in ("PYTHONPATH", *self._environment)}
        os.environ.update({key: self._enriched(os.environ)[key] for key in before})
        try:
            yield
        finally:
            for key, value in before.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value
