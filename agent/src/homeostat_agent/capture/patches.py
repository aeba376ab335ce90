"""What was replaced in the host's modules, so that it can be put back."""

from __future__ import annotations

import functools

from homeostat_agent.capture.failures import Failures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_INHERITED = object()


class Patches:
    """Attributes that were replaced on modules and classes, in order."""

    def __init__(self, failures: Failures) -> None:
        self._failures = failures
        self._replaced: list[tuple[Any, str, Any, Any]] = []

    def replace(self, owner: Any, name: str, new: Any) -> None:
        """Set `owner.name` to `new` and remember what stood there."""
        old = vars(owner).get(name, _INHERITED)
        setattr(owner, name, new)
        self._replaced.append((owner, name, old, new))

    def after(self, owner: Any, name: str, then: Callable[[Any, Any], None]) -> None:
        """Let `then(self, result)` run after each call of a method. What it raises is counted, not passed on.

        `AttributeError` when the owner has no such method: a version of the library that is not known here.
        """
        original = getattr(owner, name)
        failures = self._failures

        @functools.wraps(original)
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(self, *args, **kwargs)
            try:
                then(self, result)
            except Exception:
                failures.note("hook:" + name)
            return result

        self.replace(owner, name, method)

    def restore(self) -> None:
        """Put everything back, the last first; what someone else replaced in the meantime is left to them."""
        while self._replaced:
            owner, name, old, new = self._replaced.pop()
            if vars(owner).get(name) is not new:
                self._failures.note("not-restored")
            elif old is _INHERITED:
                delattr(owner, name)
            else:
                setattr(owner, name, old)
