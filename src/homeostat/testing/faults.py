"""Something goes wrong at one chosen call of one port, in one of the ways in which calls go wrong.

The same flows, run again and again with the fault one call later, meet it at every effect they have:

    for number in itertools.count():
        world = prepared()
        plan = FaultPlan(outcome=Outcome.DIES_AFTER, at_call=number)
        ...run the flows on `faulty(world.deps, plan)`, restart, and check the invariants...
        if not plan.hit:
            break
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from homeostat.core.errors import OutcomeUnknown, Unavailable
from homeostat.flows.deps import Deps
from homeostat.testing.memory_repository import SimulatedDeath


class Outcome(StrEnum):
    """How a call may end otherwise than well."""

    FAILS = "fails"
    """`Unavailable`, and nothing was done."""

    LIES = "done-but-unknown"
    """`OutcomeUnknown`, though it was done."""

    LIES_HARD = "done-but-reported-failed"
    """`Unavailable`, though it was done: against the contract, and survived all the same."""

    DIES_BEFORE = "dies-before"
    """The process is gone before the call had any effect."""

    DIES_AFTER = "dies-after"
    """The process is gone when the call has had its effect, before anybody heard of it."""


DEADLY = frozenset({Outcome.DIES_BEFORE, Outcome.DIES_AFTER})

PORTS = tuple(
    item.name
    for item in fields(Deps)
    if item.name not in ("clock", "ids", "settings", "policy", "repository_path", "judgings", "routing")
)
"""The parts of the world that can fail."""


@dataclass(slots=True, kw_only=True)
class FaultPlan:
    """Which call goes wrong, and how. It happens once; afterwards everything works again."""

    outcome: Outcome
    at_call: int
    """The how-manieth call of any port, from 0."""

    calls: list[str] = field(default_factory=list)
    """``port.method`` of every call that was made, in order."""

    @property
    def hit(self) -> str:
        """The call that went wrong; empty when there were not so many."""
        return self.calls[self.at_call] if len(self.calls) > self.at_call else ""

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        """Make the call, or what shall become of it."""
        self.calls.append(name)
        if len(self.calls) - 1 != self.at_call:
            return call()
        if self.outcome is Outcome.FAILS:
            raise Unavailable("injected", f"{name} failed")
        if self.outcome is Outcome.DIES_BEFORE:
            raise SimulatedDeath
        call()
        if self.outcome is Outcome.LIES:
            raise OutcomeUnknown("injected", f"{name} was done, or was not")
        if self.outcome is Outcome.LIES_HARD:
            raise Unavailable("injected", f"{name} says it failed")
        raise SimulatedDeath


class _Faulty:
    """A port whose calls go by the plan."""

    def __init__(self, name: str, port: Any, plan: FaultPlan) -> None:
        self._name = name
        self._port = port
        self._plan = plan

    def __getattr__(self, method: str) -> Any:
        real = getattr(self._port, method)
        return lambda *args, **options: self._plan.around(f"{self._name}.{method}", lambda: real(*args, **options))


def faulty(deps: Deps, plan: FaultPlan) -> Deps:
    """Return the same world, with every port going by the plan."""
    wrapped: dict[str, Any] = {name: _Faulty(name, getattr(deps, name), plan) for name in PORTS}
    return replace(deps, **wrapped)
