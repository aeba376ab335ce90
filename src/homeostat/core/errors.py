"""The one error tree: a child for each thing that the caller may do next.

A refusal is a value, never one of these; an exception says that the question was not answered.
Every error has a stable code (docs/reference/errors.md explains each), one line of message, an
optional hint that says what to do, and typed facts.
"""

from collections.abc import Mapping


class HomeostatError(Exception):
    """Base of every error of ours; not raised itself."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str | None = None,
        facts: Mapping[str, str | int] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.facts: Mapping[str, str | int] = dict(facts or {})

    def __str__(self) -> str:
        return f"error[{self.code}]: {self.message}"


class InvalidInput(HomeostatError):
    """The request is wrong: mend it. Nothing happened."""


class NotPermitted(HomeostatError):
    """The caller may not do this: use another credential. Nothing happened."""


class NotFound(HomeostatError):
    """What was named does not exist. Nothing happened."""


class Conflict(HomeostatError):
    """The world has moved on: read again and decide again. Nothing happened."""


class Unavailable(HomeostatError):
    """A part that is needed is not there now: nothing happened, try again later."""


class OutcomeUnknown(HomeostatError):
    """It may or may not have happened: reconcile before trying again."""


class IntegrityFailure(HomeostatError):
    """Something was altered that may not be: stop, and keep the evidence."""


class Bug(HomeostatError):
    """We are wrong: please report it."""
