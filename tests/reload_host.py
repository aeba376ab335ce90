"""A small host: a repository of modules that are really imported into this process."""

import contextlib
import functools
import importlib
import itertools
import sys
import textwrap
from pathlib import Path
from types import FunctionType, ModuleType

from homeostat_agent.reload import Change, Module, Reloader

_numbers = itertools.count()


class Host:
    """Writes modules into a repository, imports them, and hands in changes as the hub would."""

    def __init__(self, root):
        self.root = root
        self.package = f"host{next(_numbers)}"
        (root / self.package).mkdir()
        (root / self.package / "__init__.py").write_text("")
        self.reloader = Reloader(str(root), patience_s=0.3)
        self._ids = itertools.count()

    def wait_for_calls(self, patience_s):
        """Give calls in flight so long from now on: more than a busy machine needs to let them end."""
        self.reloader = Reloader(str(self.root), patience_s=patience_s)

    def path(self, name):
        return f"{self.package}/{name}.py"

    def write(self, name, source):
        (self.root / self.path(name)).write_text(textwrap.dedent(source))

    def load(self, name, source):
        self.write(name, source)
        importlib.invalidate_caches()
        return importlib.import_module(f"{self.package}.{name}")

    def change(self, name, old, new, *, change_id=None):
        module = Module(self.path(name), textwrap.dedent(old), textwrap.dedent(new))
        return Change(change_id or f"change-{next(self._ids)}", (module,), "safe")

    def edit(self, name, *replacements):
        """Return the change that makes these replacements in the file, which then has the new source."""
        path = self.root / self.path(name)
        old = new = path.read_text()
        for before, after in replacements:
            assert before in new
            new = new.replace(before, after)
        path.write_text(new)
        return self.change(name, old, new)

    def swap(self, name, *replacements):
        return self.reloader.swap(self.edit(name, *replacements))

    @classmethod
    @contextlib.contextmanager
    def at(cls, root):
        """Make one that is importable for as long as the block lasts."""
        before = sys.dont_write_bytecode
        sys.path.insert(0, str(root))
        sys.dont_write_bytecode = True
        made = cls(Path(root))
        try:
            yield made
        finally:
            sys.dont_write_bytecode = before
            sys.path.remove(str(root))
            for name in [name for name in sys.modules if name.split(".")[0] == made.package]:
                del sys.modules[name]


def on_host(function):
    """Let a function that takes a host take the folder for one instead."""

    @functools.wraps(function)
    def run(root):
        with Host.at(root) as host:
            function(host)

    return run


def in_words(module):
    """Return what describes a module and all that it defines: docstrings and annotations, in their order."""
    return _told(module, module.__name__, set())


def _told(item, home, seen):
    kinds = (type, FunctionType, property, staticmethod, classmethod)
    found = {"docstring": item.__doc__}
    given = getattr(item, "__annotations__", None) if not isinstance(item, type) else vars(item).get("__annotations__")
    found["annotations"] = [(name, repr(value).replace(home, "")) for name, value in (given or {}).items()]
    parts = {name: part for name in ("fget", "fset", "fdel", "__func__") if (part := getattr(item, name, None))}
    if isinstance(item, (type, ModuleType)):
        parts |= vars(item)
    for name, part in parts.items():
        own = getattr(part, "__module__", home) == home
        if own and isinstance(part, kinds) and id(part) not in seen:
            seen.add(id(part))
            found[name] = _told(part, home, seen)
    return found
