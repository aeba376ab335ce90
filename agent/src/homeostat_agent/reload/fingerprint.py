"""Whether two code objects are the same code.

Code objects know an equality of their own, but it varies between interpreters (3.9 to 3.13 differ in
whether lines and columns count). This one covers everything except the name of the file.
"""

from __future__ import annotations

import struct
from types import CodeType
from typing import Any

_ALWAYS = (
    "co_name",
    "co_qualname",
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_nlocals",
    "co_stacksize",
    "co_flags",
    "co_code",
    "co_names",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
    "co_exceptiontable",
    "co_firstlineno",
)
# 3.9 has only `co_lnotab`; from 3.10 it is derived from `co_linetable` (and reading it warns in 3.12).
_LINES = "co_linetable" if hasattr(CodeType, "co_linetable") else "co_lnotab"
_ATTRIBUTES = (*(name for name in _ALWAYS if hasattr(CodeType, name)), _LINES)


def fingerprint(code: CodeType) -> tuple[Any, ...]:
    """Return a hashable value that is equal for equal code, whatever file it was compiled as.

    Covers names, flags, bytecode (as compiled: without what the interpreter specialised), lines,
    and the constants, to any depth, with their types.
    """
    return (
        *(getattr(code, name) for name in _ATTRIBUTES),
        tuple(_constant(value) for value in code.co_consts),
    )


def _constant(value: object) -> object:
    # 1 == True == 1.0 and 0.0 == -0.0, but they are different constants; nan differs from itself.
    if isinstance(value, CodeType):
        return ("code", fingerprint(value))
    if isinstance(value, float):
        return ("float", struct.pack("<d", value))
    if isinstance(value, complex):
        return ("complex", struct.pack("<dd", value.real, value.imag))
    if isinstance(value, tuple):
        return ("tuple", tuple(_constant(item) for item in value))
    if isinstance(value, frozenset):
        return ("frozenset", frozenset(_constant(item) for item in value))
    return (type(value).__name__, value)


def same_constant(one: object, other: object) -> bool:
    """Tell whether two values are the same constant, down to their types."""
    return _constant(one) == _constant(other)


def same_steps(one: CodeType, other: CodeType) -> bool:
    """Tell whether two code objects do the same by themselves: lines, and code inside them, left out."""
    return _steps(one) == _steps(other)


def _steps(code: CodeType) -> tuple[Any, ...]:
    constants = tuple(_constant(value) for value in code.co_consts if not isinstance(value, CodeType))
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return (code.co_code, constants, *names)


def children(code: CodeType) -> list[CodeType]:
    """Return the code objects among the constants, in the order in which the source has them."""
    return [value for value in code.co_consts if isinstance(value, CodeType)]


def below(code: CodeType) -> list[CodeType]:
    """Return every code object inside `code`, to any depth."""
    return [item for child in children(code) for item in (child, *below(child))]
