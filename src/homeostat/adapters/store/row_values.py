"""Values of rows and documents as they must be: whoever can write the file can put anything anywhere."""

from typing import Any

from homeostat.core.errors import IntegrityFailure

NOT_OURS = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What is raised over a row that nobody of us wrote."""

_MAX_WHOLE = 2**53 - 1


def malformed(row: str, error: BaseException) -> IntegrityFailure:
    """Return the failure that names a row which cannot be read; `row` says which, as ``proposal p-1``."""
    return IntegrityFailure(
        "row-malformed",
        f"the row of {row} cannot be read: {type(error).__name__}: {error}",
        hint="stop the hub and run `homeostat verify`",
    )


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is not text")
    return value


def texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r:.40} is not a list")
    return tuple(text(item) for item in value)


def whole(value: Any) -> int:
    if type(value) is not int or abs(value) > _MAX_WHOLE:
        raise TypeError(f"{value!r:.40} is not a whole number")
    return value


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r:.40} is not true or false")
    return value
