"""What the hub and a supervisor say to each other, as values and as messages."""

from collections.abc import Mapping
from typing import Any

import msgspec

from homeostat.model.restart import RestartableProgram, RestartPlan


def encode_plan(plan: RestartPlan) -> Mapping[str, Any]:
    return _fields(plan)


def read_plan(raw: Mapping[str, Any]) -> RestartPlan:
    """Read a plan; `ValueError` when it is not one."""
    return msgspec.convert(raw, RestartPlan)


def encode_program(program: RestartableProgram) -> Mapping[str, Any]:
    return _fields(program)


def read_program(raw: Mapping[str, Any]) -> RestartableProgram:
    """Read a program; `ValueError` when it is not one."""
    return msgspec.convert(raw, RestartableProgram)


def _fields(value: object) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = msgspec.to_builtins(value)
    return fields
