"""What the hub and a supervisor say to each other, as values and as messages."""

from collections.abc import Mapping
from typing import Any

from homeostat.model.restart import RestartableProgram, RestartPhase, RestartPlan, RestartReport


def encode_plan(plan: RestartPlan) -> dict[str, Any]:
    return {
        "timeout_s": plan.timeout_s,
        "drain_s": plan.drain_s,
        "settle_s": plan.settle_s,
        "health_path": plan.health_path,
    }


def read_plan(raw: Mapping[str, Any]) -> RestartPlan:
    return RestartPlan(
        timeout_s=float(raw["timeout_s"]),
        drain_s=float(raw["drain_s"]),
        settle_s=float(raw["settle_s"]),
        health_path=str(raw["health_path"]),
    )


def encode_program(program: RestartableProgram) -> dict[str, Any]:
    report = program.report
    told = None
    if report is not None:
        told = {
            "request_id": report.request_id,
            "phase": report.phase.value,
            "reason": report.reason,
            "last_words": report.last_words,
            "took_s": report.took_s,
        }
    return {"id": program.id, "command": program.command, "pid": program.pid, "report": told}


def read_program(raw: Mapping[str, Any]) -> RestartableProgram:
    """Read a program; `KeyError`, `TypeError` or `ValueError` when it is not one."""
    told = raw["report"]
    report = None
    if told is not None:
        report = RestartReport(
            request_id=str(told["request_id"]),
            phase=RestartPhase(told["phase"]),
            reason=str(told["reason"]),
            last_words=str(told["last_words"]),
            took_s=float(told["took_s"]),
        )
    pid = raw["pid"]
    return RestartableProgram(
        id=str(raw["id"]), command=str(raw["command"]), pid=None if pid is None else int(pid), report=report
    )
