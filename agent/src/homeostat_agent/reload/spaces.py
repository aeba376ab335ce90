"""What modules and classes hold, past whatever a subclass or a metaclass of the host says of it."""

from __future__ import annotations

from types import ModuleType

module_dict = type.__getattribute__(ModuleType, "__dict__")["__dict__"].__get__
class_dict = type.__dict__["__dict__"].__get__
