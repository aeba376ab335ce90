"""Which of a change's two sources runs here, whatever was asked of this process before.

What is in force by the record and what runs are two things: a module may be imported after the
change was taken in or given back, from whatever lay on disk at that moment. The answer comes from
the functions that are alive, lines and all, so it holds for changes that only a restart could bring.
"""

from __future__ import annotations

import ast
import weakref
from dataclasses import replace
from types import FunctionType
from typing import Any, NamedTuple

from homeostat_agent.reload.bindings import is_given_otherwise
from homeostat_agent.reload.census import Files, is_importing, take_census
from homeostat_agent.reload.change import Change, Module
from homeostat_agent.reload.compare import Differences
from homeostat_agent.reload.descriptions import side_of_annotations, told_of_scopes
from homeostat_agent.reload.fingerprint import below
from homeostat_agent.reload.match import Known, Side
from homeostat_agent.reload.naming import stars_of
from homeostat_agent.reload.outline import FunctionOutline
from homeostat_agent.reload.pairing import compile_module
from homeostat_agent.reload.patience import Patience
from homeostat_agent.reload.plan import differences
from homeostat_agent.reload.provenance import Provenance
from homeostat_agent.reload.routes import Routes
from homeostat_agent.reload.values import side_of, side_of_constant

CANARY = "canary"
"""A share of the calls runs the new source, the others the old."""

NEW = "new"
"""Something alive was made from the new source, and not from the old."""

LOADING = "loading"
"""A module of the change is being imported just now: what it read is not to be seen yet."""

OTHER = "other"
"""Something alive comes from neither source, and nothing from the new one alone."""

OLD = "old"
EITHER = "either"
"""Loaded, and nothing alive tells the two sources apart."""

NOT_LOADED = "not_loaded"

_BY_WEIGHT = (CANARY, NEW, LOADING, OTHER, OLD, EITHER)


class _Sides(NamedTuple):
    old: Side
    new: Side
    names: tuple[str, ...]
    """Which only the new source binds."""

    stars: list[ast.ImportFrom]
    """What the module imports all names from."""

    defaults: dict[tuple[str, int], tuple[FunctionOutline, FunctionOutline]]
    """Functions whose defaults differ, by name and first line in the old source."""

    annotated: dict[tuple[str, int], tuple[FunctionOutline, FunctionOutline]]
    """Functions whose annotations differ, likewise."""

    differences: Differences


class Look:
    """A question about one change, which may be asked again."""

    def __init__(
        self, change: Change, files: Files, anchors: tuple[Any, ...], routes: Routes, provenance: Provenance
    ) -> None:
        self._files, self._anchors, self._routes = files, anchors, routes
        self._provenance = provenance
        self._modules = {module.path: module for module in change.modules}
        self._sides: dict[tuple[str, str], _Sides] = {}

    def source(self, patience: Patience | None = None) -> str:
        """Return which source runs; empty when a source does not compile here.

        With `patience`, what was made from the new source and is in use no more is waited for.
        """
        try:
            found, references = self._look()
            if references and patience is not None and patience.wait_until_gone(references):
                found, references = self._look()
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return ""
        return next((word for word in _BY_WEIGHT if word in found), NOT_LOADED)

    def _look(self) -> tuple[set[str], list[weakref.ref[FunctionType]]]:
        census = take_census(self._files, anchors=self._anchors)
        found: set[str] = set()
        references = []
        for load in census.loads:
            found.add(LOADING if is_importing(load.namespace) else EITHER)
            sides = self._sides_of(load.path, load.filename)
            old, new, names, stars, defaults = sides.old, sides.new, sides.names, sides.stars, sides.defaults
            differ = sides.differences
            found.update(side_of_constant(item, load.namespace) for item in differ.constants)
            scopes = told_of_scopes(differ.variables, differ.docstrings, differ.texts, load)
            found |= {told.side for told in scopes} & {OLD, NEW}
            told = set()
            for function in load.functions:
                code = function.__code__
                if self._routes.knows(code):
                    told.add(CANARY)
                    continue
                is_old, is_new = old.find(code) is not None, new.find(code) is not None
                key = (code.co_name, code.co_firstlineno)
                pair = defaults.get(key)
                if pair is not None and is_old and is_new:
                    told.add(side_of(function, *pair))
                pair = sides.annotated.get(key)
                if pair is not None and is_old and is_new:
                    told |= {side_of_annotations(function, *pair, differ.texts, load)} & {OLD, NEW}
                if is_new and not is_old:
                    references.append(weakref.ref(function))
                told.add(EITHER if is_old and is_new else OLD if is_old else NEW if is_new else OTHER)
            if told <= {EITHER}:  # a name may have been there before, or be bound under a canary: functions know better
                told.update(_told_by(name, load.namespace, stars) for name in names)
                module = self._modules[load.path]
                told |= {self._provenance.noted(load.module, (module.old_source, module.new_source))} - {""}
            found |= told
        return found, references

    def _sides_of(self, path: str, filename: str) -> _Sides:
        """Return what the sources of a module compile to, and what else they differ in."""
        found = self._sides.get((path, filename))
        if found is None:
            module: Module = self._modules[path]
            differ = differences(module.old_source, module.new_source)
            sides = _Sides(
                _side(module.old_source, filename),
                _side(module.new_source, filename),
                tuple(item.name for item in differ.names),
                stars_of((module.old_source, module.new_source)),
                {before.key: (before, after) for before, after in differ.defaults},
                {before.key: (before, after) for before, after in differ.annotated},
                replace(differ, matched=[]),
            )
            found = self._sides[(path, filename)] = sides
        return found


def _told_by(name: str, space: dict[str, Any], stars: list[ast.ImportFrom]) -> str:
    """Say which source a name shows, where no function does."""
    if name not in space:
        return OLD
    return EITHER if is_given_otherwise(name, space, stars) else NEW


def _side(source: str, filename: str) -> Side:
    return Side([Known(code, None, changed=False) for code in below(compile_module(source, filename))])
