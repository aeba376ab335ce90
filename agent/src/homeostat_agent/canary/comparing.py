"""What calls of the old code and the new have in common: what they returned or raised, and did to their arguments."""

from __future__ import annotations

from types import CoroutineType
from typing import Any, NamedTuple, Optional

from homeostat_agent.canary.difference import Incomparable, first_difference
from homeostat_agent.canary.interrupting import Interrupted
from homeostat_agent.capture.occurrence import name_of

SAME = "same"
RESULT = "result"
"""Another result."""

ARGUMENTS = "arguments"
"""The same result, and the arguments are otherwise afterwards."""

RAISED = "raised"
"""The new code raised, where the old returned."""

RETURNED = "returned"
"""The new code returned, where the old raised."""

RAISED_OTHERWISE = "raised_otherwise"
UNFINISHED = "unfinished"
"""The new code took too long."""

UNREPEATABLE = "unrepeatable"
"""They differ, and the old code differs from itself as well, on a copy of the same arguments."""

NOT_COPIED = "not_copied"
"""The arguments are too large, or cannot be copied."""

NOT_COMPARABLE = "not_comparable"
INTERRUPTED = "interrupted"
"""The old code was cancelled, or left by an exit."""


class Outcome(NamedTuple):
    """What became of one call."""

    result: Any
    raised: Optional[tuple[type, tuple[Any, ...]]]
    """Type and arguments of an exception."""

    given: tuple[tuple[Any, ...], dict[str, Any]]
    """Its arguments, by place and by name, as they are afterwards."""


def outcome_of(function: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Outcome:
    """Call a function, or a coroutine function, and return what became of it; `Incomparable` where it would wait."""
    try:
        result = function(*given, **named)
        if type(result) is CoroutineType:
            result = _drive(result)
    except (Incomparable, Interrupted):
        raise
    except BaseException as error:  # here, all of them are the code's own
        return Outcome(None, (type(error), error.args), (given, named))
    return Outcome(result, None, (given, named))


def _drive(started: Any) -> Any:
    """Run a coroutine to its end. Its loop is not here, so it cannot wait for anything."""
    try:
        started.send(None)
    except StopIteration as stop:
        return stop.value
    try:
        started.close()
    except Interrupted:
        raise
    except BaseException:  # what it does about being closed
        pass
    raise Incomparable("it waits for something")


def compare_outcomes(old: Outcome, new: Outcome) -> tuple[str, str]:
    """Return what was found, and where and how they differ or what was raised, without any value."""
    try:
        if old.raised is None and new.raised is not None:
            return RAISED, name_of(new.raised[0])
        if old.raised is not None and new.raised is None:
            return RETURNED, name_of(old.raised[0])
        if old.raised is not None and new.raised is not None:
            if old.raised[0] is not new.raised[0]:
                return RAISED_OTHERWISE, f"{name_of(old.raised[0])} became {name_of(new.raised[0])}"
            found = first_difference(old.raised[1], new.raised[1])
            if found:
                return RAISED_OTHERWISE, f"{name_of(old.raised[0])}{found}"
        else:
            found = first_difference(old.result, new.result)
            if found:
                return RESULT, found
        for index, given in enumerate(old.given[0]):
            found = first_difference(given, new.given[0][index], where=f"argument {index + 1}")
            if found:
                return ARGUMENTS, found
        found = first_difference(old.given[1], new.given[1], where="arguments by name")
        return (ARGUMENTS, found) if found else (SAME, "")
    except Incomparable as error:
        return NOT_COMPARABLE, str(error)
    except Interrupted:
        raise
    except BaseException as error:  # of the host's own objects, or of a recursion that is too deep
        return NOT_COMPARABLE, type(error).__name__
