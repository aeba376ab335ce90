"""Runs a function right after a module was imported, without leaving a trace on the module.

The finder stands first on ``sys.meta_path``, asks the others for the module's spec as Python would, and
shadows `exec_module` on the loader that comes back until the module was executed. The loader stays the
object it was, so resources, sources and ``isinstance`` checks work as before.
"""

from __future__ import annotations

import sys
import threading

from homeostat_agent.capture.failures import Failures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Mapping

    Hook = Callable[[Any], None]


class PostImport:
    """Hooks by module name. What a hook raises is counted; what an import raises is the host's."""

    def __init__(self, hooks: Mapping[str, Hook], failures: Failures) -> None:
        self._hooks = dict(hooks)
        self._failures = failures
        self._state = threading.local()

    def install(self) -> None:
        """Hook what will be imported, and what has been."""
        sys.meta_path.insert(0, self)
        for name in self._hooks:
            module = sys.modules.get(name)
            if module is not None:
                self._run(name, module)

    def uninstall(self) -> None:
        self._hooks = {}
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec that the other finders give, for a module that is hooked; else None."""
        if name not in self._hooks or getattr(self._state, "busy", False):
            return None
        self._state.busy = True  # other finders of this kind ask everyone on the path, us included
        try:
            return self._find(name, path, target)
        except Exception:
            self._failures.note("import")
            return None  # Python asks the others itself now, and meets what we met
        finally:
            self._state.busy = False

    def _find(self, name: str, path: Any, target: Any) -> Any:
        for finder in list(sys.meta_path):
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path, target)
            if spec is not None:
                if getattr(spec.loader, "exec_module", None) is not None:
                    self._shadow(name, spec.loader)
                return spec
        return None

    def _shadow(self, name: str, loader: Any) -> None:
        execute = loader.exec_module
        before = vars(loader).get("exec_module")

        def exec_module(module: Any) -> None:
            if getattr(module, "__name__", None) != name:
                execute(module)  # a loader that is shared by several modules
                return
            try:
                execute(module)
            finally:
                if vars(loader).get("exec_module") is exec_module:
                    if before is None:
                        del loader.exec_module
                    else:
                        loader.exec_module = before
            self._run(name, module)

        loader.exec_module = exec_module

    def _run(self, name: str, module: Any) -> None:
        hook = self._hooks.get(name)
        if hook is None:
            return
        try:
            hook(module)
        except Exception:
            # A version of the library that is not known here: its requests are not counted, and this says so.
            self._failures.note("hook:" + name)
