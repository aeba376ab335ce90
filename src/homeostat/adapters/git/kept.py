"""The last few answers to a question whose answer never changes: what is in a commit."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Kept(Generic[Answer]):
    """Keeps up to `most` answers, the last used, each of a `weight` up to `heaviest`. Thread safe.

    A question that failed is asked again. Two that ask for the same at once may both ask.
    """

    def __init__(self, most: int, *, weight: Callable[[Answer], int], heaviest: int) -> None:
        self._most = most
        self._weight = weight
        self._heaviest = heaviest
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, Answer] = OrderedDict()

    def get(self, question: Hashable, ask: Callable[[], Answer]) -> Answer:
        """Return the answer that is kept, or ask and keep it."""
        with self._lock:
            if question in self._answers:
                self._answers.move_to_end(question)
                return self._answers[question]
        answer = ask()
        if self._weight(answer) <= self._heaviest:
            with self._lock:
                self._answers[question] = answer
                while len(self._answers) > self._most:
                    self._answers.popitem(last=False)
        return answer
