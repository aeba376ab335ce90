"""Dispatcher code: takes the place of a function's code, and sends each call to the old or to the new one.

It has the function's own parameters, kind, free variables, name, lines and docstring, so that whoever looks
at the function sees what was there before. Inside, both codes stand as nested functions over the same
cells, and which one is made and called is what the chooser says (`Switch.pick`):

    def price(order, *, rate):
        new = PICK()
        if new is True:
            return NEW(order, rate=rate)
        if new is False:
            return OLD(order, rate=rate)
        ...                                      # a unit that begins with this call, and is counted when it ends

So it belongs to a pair of code objects and not to a function: the closures that are made while it is
in force have it too, and nothing that the collector cannot see leads back to a function.

Generators and coroutines delegate, and choose at their first step. A template is compiled once for each
signature and kind; a dispatcher is a copy of it with other constants.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from functools import lru_cache
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, CO_VARARGS, CO_VARKEYWORDS
from types import CodeType
from typing import Any, NamedTuple

from homeostat_agent.capture.frames import MARK
from homeostat_agent.reload.fingerprint import children
from homeostat_agent.reload.holders import docstring_of

_OLD, _NEW, _PICK, _DOC = "(old)", "(new)", "(pick)", "(docstring)"
_MARKS = {"OLD": _OLD, "NEW": _NEW}
_FUNCTIONS = {"OLD_FUNCTION": _OLD, "NEW_FUNCTION": _NEW}
_KINDS = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR


class _Signature(NamedTuple):
    """All that a template depends on."""

    kind: int
    posonly: tuple[str, ...]
    positional: tuple[str, ...]
    vararg: str
    keyword: tuple[str, ...]
    kwarg: str
    free: tuple[str, ...]
    shadowed: bool = False


def dispatcher(
    old: CodeType, new: CodeType, *, qualname: str, pick: Callable[[], Any], shadowed: bool = False
) -> CodeType:
    """Return code in the place of `old` that runs it or `new`; both have the same signature and free variables.

    With `shadowed` (where it `is_comparable`), what `pick` returns may look at the arguments and at the result.
    """
    template = _template(_signature(old)._replace(shadowed=shadowed))
    made = {_OLD: old, _NEW: new, _PICK: pick, _DOC: docstring_of(old)}
    constants = tuple(_constant(value, made, qualname) for value in template.co_consts)
    more: dict[str, Any] = {"co_qualname": old.co_qualname} if hasattr(old, "co_qualname") else {}
    return template.replace(
        co_consts=constants,
        co_name=old.co_name,
        co_filename=old.co_filename,
        co_firstlineno=old.co_firstlineno,
        **more,
    )


def is_comparable(code: CodeType) -> bool:
    """Tell whether a call can be made again on copies: with one result, and no variable of the call that made it."""
    return not code.co_flags & (CO_GENERATOR | CO_ASYNC_GENERATOR) and set(code.co_freevars) <= {"__class__"}


def _constant(value: Any, made: dict[str, Any], qualname: str) -> Any:
    if isinstance(value, CodeType):
        return next(made[mark] for mark in (_OLD, _NEW) if mark in value.co_consts)
    if isinstance(value, str):
        # Before 3.11 the qualified name of a nested function is a constant beside its code.
        return qualname if value.endswith("<lambda>") else made.get(value, value)
    return value


def _signature(code: CodeType) -> _Signature:
    names, at = code.co_varnames, code.co_argcount + code.co_kwonlyargcount
    vararg = names[at] if code.co_flags & CO_VARARGS else ""
    kwarg = names[at + bool(vararg)] if code.co_flags & CO_VARKEYWORDS else ""
    return _Signature(
        kind=code.co_flags & _KINDS,
        posonly=names[: code.co_posonlyargcount],
        positional=names[code.co_posonlyargcount : code.co_argcount],
        vararg=vararg,
        keyword=names[code.co_argcount : at],
        kwarg=kwarg,
        free=code.co_freevars,
    )


@lru_cache(maxsize=256)
def _template(signature: _Signature) -> CodeType:
    kind = ast.AsyncFunctionDef if signature.kind & (CO_COROUTINE | CO_ASYNC_GENERATOR) else ast.FunctionDef
    inner = _define(kind, "dispatcher", _parameters(signature), [ast.Expr(ast.Constant(_DOC)), *_body(signature)])
    bound = [ast.Assign([ast.Name(name, ast.Store())], ast.Constant(None)) for name in signature.free]
    outer = _define(ast.FunctionDef, "outer", _parameters(None), [*bound, inner])
    tree = ast.Module([outer], type_ignores=[])
    for node in ast.walk(tree):  # tracebacks show the line of the `def`
        for name, value in (("lineno", 1), ("end_lineno", 1), ("col_offset", 0), ("end_col_offset", 999)):
            setattr(node, name, value)
    module = compile(tree, "<dispatcher>", "exec", dont_inherit=True, optimize=0)
    template = children(children(module)[0])[0]
    assert template.co_freevars == signature.free
    assert MARK in template.co_varnames
    return template


def _define(kind: Any, name: str, parameters: ast.arguments, body: Sequence[ast.stmt]) -> Any:
    made = kind(name=name, args=parameters, body=list(body), decorator_list=[], returns=None, lineno=1, col_offset=0)
    if "type_params" in kind._fields:
        made.type_params = []
    return made


def _parameters(signature: _Signature | None) -> ast.arguments:
    empty = _Signature(0, (), (), "", (), "", ())
    found = signature or empty

    def arguments(names: tuple[str, ...]) -> list[ast.arg]:
        return [ast.arg(name) for name in names]

    return ast.arguments(
        posonlyargs=arguments(found.posonly),
        args=arguments(found.positional),
        vararg=ast.arg(found.vararg) if found.vararg else None,
        kwonlyargs=arguments(found.keyword),
        kw_defaults=[None] * len(found.keyword),
        kwarg=ast.arg(found.kwarg) if found.kwarg else None,
        defaults=[],
    )


# Names with a dot are nobody's parameters or variables.


def _body(signature: _Signature) -> list[ast.stmt]:
    chosen = _parsed(_BODIES[signature.kind, signature.shadowed])
    return [_Filler(signature).visit(statement) for statement in chosen]


_PLAIN = """
new = PICK()
if new is True:
    return NEW
if new is False:
    return OLD
unit = new
try:
    result = NEW if unit.new else OLD
except BaseException as error:
    unit.finish(error)
    raise
unit.finish(None)
return result
"""
_GENERATOR = """
new = PICK()
if new is True:
    return (yield from NEW)
if new is False:
    return (yield from OLD)
unit = new
return (yield from unit.drive(NEW if unit.new else OLD))
"""
_OBSERVED = "unit = new\nunit.observe(OLD_FUNCTION, NEW_FUNCTION, GIVEN, NAMED)"
_ASYNC_GENERATOR = """
new = PICK()
if new is True:
    inner = NEW
elif new is False:
    inner = OLD
else:
    unit = new
    inner = unit.drive_each(NEW if unit.new else OLD)
step = inner.asend
try:
    item = await step(None)
    while True:
        try:
            sent = yield item
        except BaseException as error:
            thrown = error
        else:
            item = await step(sent)
            continue
        try:
            item = await inner.athrow(thrown)
        finally:
            thrown = None
except StopAsyncIteration:
    return
"""
_COROUTINE = _GENERATOR.replace("yield from", "await")
_BODIES = {
    (0, False): _PLAIN,
    (CO_GENERATOR, False): _GENERATOR,
    (CO_COROUTINE, False): _COROUTINE,
    (CO_ASYNC_GENERATOR, False): _ASYNC_GENERATOR,
    (0, True): _PLAIN.replace("unit = new", _OBSERVED).replace("finish(None)", "finish(None, result)"),
    (CO_COROUTINE, True): _COROUTINE.replace("unit = new", _OBSERVED),
}


def _parsed(text: str) -> list[ast.stmt]:
    # `PICK()` becomes two statements: a constant that is called gets a warning from the compiler.
    text = text.replace("new = PICK()", "pick = PICK\nnew = pick()")
    whole = ast.parse("async def body():\n" + "".join(f" {line}\n" for line in text.splitlines()))
    function = whole.body[0]
    assert isinstance(function, ast.AsyncFunctionDef)
    return function.body


class _Filler(ast.NodeTransformer):
    """Puts a function's own parameters and free variables into the body of its kind."""

    def __init__(self, signature: _Signature) -> None:
        self._signature = signature

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in _MARKS:
            return self._call(_MARKS[node.id])
        if node.id in _FUNCTIONS:
            return self._function(_FUNCTIONS[node.id])
        if node.id == "GIVEN":
            return ast.Tuple(self._positional(), ast.Load())
        if node.id == "NAMED":
            named = self._keywords()
            names: list[ast.expr | None] = [ast.Constant(item.arg) if item.arg else None for item in named]
            return ast.Dict(names, [item.value for item in named])
        if node.id == "PICK":
            return ast.Constant(_PICK)
        if node.id in ("BaseException", "StopAsyncIteration"):
            return node
        return ast.Name("." + node.id, node.ctx)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        self.generic_visit(node)
        if node.name:
            node.name = "." + node.name
        return node

    def _call(self, mark: str) -> ast.Call:
        return ast.Call(self._function(mark), self._positional(), self._keywords())

    def _function(self, mark: str) -> ast.Lambda:
        # The code of this lambda is replaced; that it mentions the free variables makes the cells its closure.
        free = [_read(name) for name in self._signature.free]
        marked = ast.Constant(mark)
        return ast.Lambda(_parameters(None), ast.Tuple([*free, marked], ast.Load()) if free else marked)

    def _positional(self) -> list[ast.expr]:
        found = self._signature
        positional: list[ast.expr] = [_read(name) for name in (*found.posonly, *found.positional)]
        return [*positional, ast.Starred(_read(found.vararg), ast.Load())] if found.vararg else positional

    def _keywords(self) -> list[ast.keyword]:
        found = self._signature
        keywords = [ast.keyword(name, _read(name)) for name in found.keyword]
        return [*keywords, ast.keyword(None, _read(found.kwarg))] if found.kwarg else keywords


def _read(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())
