"""A refusal as a value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """No, and why. `code` is stable; `reasons` are for people, the weightiest first."""

    code: str
    reasons: tuple[str, ...]
    hint: str | None = None
    policies: tuple[str, ...] = ()
    """Ids of the policies that decided, where it was a question of who may."""
