"""What a module is and does, in words without addresses: to compare one that runs with one that just started."""

import asyncio
import inspect
import itertools
import re
import types


def observe(value, *, depth=0):
    """Describe what a value is and does when called, in words without addresses."""
    if depth > 4:
        return "..."
    if isinstance(value, types.ModuleType):
        return ["module", value.__name__]
    if isinstance(value, (list, tuple)):
        return [observe(item, depth=depth + 1) for item in value]
    if isinstance(value, dict):
        return {key: observe(item, depth=depth + 1) for key, item in value.items()}
    if inspect.isgenerator(value):
        return ["generator", attempt(lambda: list(itertools.islice(value, 5)), depth)]
    if inspect.iscoroutine(value):
        return ["coroutine", attempt(lambda: asyncio.run(value), depth)]
    if inspect.isasyncgen(value):

        async def drain():
            return [item async for item in value]

        return ["async generator", attempt(lambda: asyncio.run(drain()), depth)]
    if isinstance(value, type):
        facts = (value.__doc__, str(vars(value).get("__annotations__")))
        return ["class", facts, value.__qualname__, instance_of(value, depth)]
    if isinstance(value, types.FunctionType):
        code = value.__code__
        facts = (
            code.co_firstlineno,
            value.__qualname__,
            value.__doc__,
            observe(value.__defaults__, depth=depth + 1),
            str(value.__annotations__),
        )
        return ["function", facts, *(attempt(lambda given=given: value(*given), depth) for given in ((), (2,), (5, 3)))]
    if callable(value):
        return ["callable", *(attempt(lambda given=given: value(*given), depth) for given in ((), (2,), (5, 3)))]
    return re.sub(r" at 0x\w+", "", repr(value)) if depth or not hasattr(value, "__dict__") else instance(value, depth)


def instance_of(kind, depth):
    return attempt(kind, depth)


def instance(value, depth):
    names = sorted(name for name in dir(value) if not name.startswith("__") or name in ("__len__", "__str__"))
    return {name: attempt(lambda name=name: getattr(value, name), depth) for name in names}


def attempt(call, depth):
    try:
        result = call()
    except Exception as error:
        lines = []
        at = error.__traceback__
        while at is not None:
            if at.tb_frame.f_code.co_filename != __file__:
                lines.append((at.tb_frame.f_code.co_name, at.tb_lineno))
            at = at.tb_next
        return ["raised", type(error).__name__, re.sub(r" at 0x\w+", "", str(error)), lines[:3]]
    if type(result).__module__ not in ("builtins", "functools", "types") and not isinstance(result, type):
        return [type(result).__qualname__, instance(result, depth + 1) if depth < 3 else ""]
    return observe(result, depth=depth + 1)


def behaviour(space):
    told = {name: str(space.get(name)) for name in ("__doc__", "__annotations__")}
    return told | {
        name: observe(value)
        for name, value in sorted(space.items())
        if not name.startswith("__") and name != "functools"
    }


def hold(space):
    """Make what a program holds while it runs: functions, bound methods, instances, running closures."""
    held = {}
    for name, value in sorted(space.items()):
        if isinstance(value, types.FunctionType):
            held[name] = value
            if name.startswith(("make", "counter", "lambdas", "local_class")):
                try:
                    held[name + ".made"] = value(2)
                except Exception:
                    continue
        elif isinstance(value, type):
            try:
                made = value()
            except Exception:
                continue
            held[name + ".made"] = made
            held |= {
                f"{name}.{key}": getattr(made, key)
                for key in ("method", "tells", "made", "static")
                if hasattr(made, key)
            }
    return held


def results(found):
    """Leave out what a canary does not change or has one more of: what describes it, frames, new methods."""
    if isinstance(found, dict):
        left_out = ("added", "_Base__added", "__doc__", "__annotations__")
        return {key: results(value) for key, value in found.items() if key not in left_out}
    if isinstance(found, list):
        if found[:1] in (["function"], ["class"]):
            return [found[0], *map(results, found[2:])]
        return [results(item) for item in (found[:-1] if found[:1] == ["raised"] else found)]
    return found
