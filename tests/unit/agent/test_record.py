"""Named tuples without `typing` are those of `typing`."""

from __future__ import annotations

import pickle
import typing

import pytest
from homeostat_agent.record import NamedTuple


class Ours(NamedTuple):
    """Says what it is."""

    first: int
    second: str = "s"
    """Documented, which is no field."""

    @property
    def both(self) -> str:
        return f"{self.first}{self.second}"

    @classmethod
    def made(cls) -> Ours:
        return cls(7)


class Theirs(typing.NamedTuple):
    """Says what it is."""

    first: int
    second: str = "s"
    """Documented, which is no field."""

    @property
    def both(self) -> str:
        return f"{self.first}{self.second}"

    @classmethod
    def made(cls) -> Theirs:
        return cls(7)


@pytest.mark.parametrize(
    "look",
    [
        lambda kind: (kind._fields, kind._field_defaults, kind.__doc__, kind.__module__, kind.__mro__[1:]),
        lambda kind: (tuple(kind(1)), kind(1, second="x")._asdict(), kind(1)._replace(first=2).both),
        lambda kind: (kind.made() == (7, "s"), hash(kind.made()), list(kind.made())),
        lambda kind: repr(kind.made()).replace(kind.__name__, "").partition(".")[2] or repr(kind.made())[-20:],
        lambda kind: hasattr(kind(1), "__dict__"),
    ],
)
def test_a_record_is_what_typing_makes_of_the_same_lines(look):
    assert look(Ours) == look(Theirs)


def test_a_missing_field_is_an_error():
    with pytest.raises(TypeError, match="first"):
        Ours()


def test_a_record_of_the_agent_can_be_pickled():
    from homeostat_agent.capture.frames import Frame

    assert pickle.loads(pickle.dumps(Frame("a.py", 1, "f"))) == Frame("a.py", 1, "f")
