"""Since when each module is loaded, as far as looks at the list of them tell.

Imported with the agent, and imports nothing heavy: a program that is never changed shall not pay for it.
"""

from __future__ import annotations

import sys
import time
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_module_dict = type.__getattribute__(ModuleType, "__dict__")["__dict__"].__get__


class FirstSeen:
    """Notes modules when it is asked to; what it says is never earlier than the import, and may be later."""

    def __init__(self) -> None:
        self._count = -1
        self._seen: dict[str, tuple[Any, int]] = {}

    def note(self) -> None:
        """Note the modules that came up since the last time. Costs next to nothing where none did."""
        if len(sys.modules) == self._count:
            return
        now_ns = time.time_ns()
        loaded = sys.modules.copy()
        self._count = len(loaded)
        for name, module in loaded.items():
            spec = _spec_of(module)
            known = self._seen.get(name)
            # A module that is loaded anew gets another spec.
            if spec is not None and (known is None or known[0] is not spec):
                self._seen[name] = (spec, now_ns)

    def since_ns(self, name: str, module: ModuleType) -> int | None:
        """Return a moment (of the wall clock) at which this very load of the module was there; None: not known."""
        known = self._seen.get(name)
        return known[1] if known is not None and known[0] is _spec_of(module) else None


def _spec_of(module: object) -> Any:
    # A stand-in that is no module may run host code when looked at.
    space: dict[str, Any] = _module_dict(module) if issubclass(type(module), ModuleType) else {}
    spec = space.get("__spec__")
    return None if spec is None or getattr(spec, "_initializing", False) else spec
