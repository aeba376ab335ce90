"""What happened in a run, one line an event, readable; two runs are the same when their digests are."""

import hashlib
from collections.abc import Callable


class Trace:
    def __init__(self, elapsed_s: Callable[[], float]) -> None:
        self._elapsed_s = elapsed_s
        self.lines: list[str] = []

    def line(self, who: str, what: str) -> None:
        at_s = self._elapsed_s()
        hours, rest = divmod(int(at_s), 3600)
        clock = f"{hours:02}:{rest // 60:02}:{rest % 60:02}.{int(at_s * 1000) % 1000:03}"
        self.lines.append(f"{clock} {who:<9} {what}")

    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()
