"""Which files of the repository this process has loaded, as its modules say.

Imported with the agent, and imports nothing itself: a program may fork at the very moment in which it is asked,
and a module that is half imported then stays so in the child.
"""

from __future__ import annotations

import sys
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from homeostat_agent.capture.frames import Repository

_module_dict = type.__getattribute__(ModuleType, "__dict__")["__dict__"].__get__

MAX_FILES = 5_000
"""What one answer names at most; of a repository with more some are not told of."""


def loaded_files(repository: Repository) -> list[str]:
    """Return the Python files of the repository that loaded modules name as their own, relative, in order.

    What a module was made from and does not say (a zip, an `exec`) is not told of.
    """
    found: dict[str, None] = {}
    for module in list(sys.modules.copy().values()):
        if not issubclass(type(module), ModuleType):
            continue  # a stand-in that is no module may run host code when looked at
        origin = _module_dict(module).get("__file__")
        path = _path_in(repository, origin) if isinstance(origin, str) and origin.endswith(".py") else ""
        if path:
            found[path] = None
    return sorted(found)[:MAX_FILES]


def _path_in(repository: Repository, origin: str) -> str:
    # A link stands for what it leads to; what that lies outside of the repository is none of its files.
    try:
        return repository.relative(origin)
    except (OSError, ValueError):
        return ""
