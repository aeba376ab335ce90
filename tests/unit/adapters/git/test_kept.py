"""Answers that never change are kept: a few, none too heavy, and no failure."""

import pytest

from homeostat.adapters.git.kept import Kept


class Asked:
    """Answers with the question, and counts how often it was asked."""

    def __init__(self):
        self.times = 0

    def __call__(self, answer="a"):
        self.times += 1
        return answer


def kept(most=2, heaviest=3):
    return Kept(most, weight=len, heaviest=heaviest)


def test_a_question_is_asked_once():
    answers, ask = kept(), Asked()
    assert [answers.get("q", ask) for _ in range(3)] == ["a"] * 3
    assert ask.times == 1


def test_the_one_that_was_not_used_for_longest_is_dropped():
    answers, ask = kept(most=2), Asked()
    for question in ("one", "two", "one", "three", "one"):
        answers.get(question, ask)
    assert ask.times == 3
    answers.get("two", ask)
    assert ask.times == 4


def test_a_heavy_answer_is_given_and_not_kept():
    answers, ask = kept(heaviest=3), Asked()
    assert [answers.get("q", lambda: ask("heavy")) for _ in range(2)] == ["heavy"] * 2
    assert ask.times == 2


def test_a_failure_is_not_kept():
    answers = kept()

    def fail():
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        answers.get("q", fail)
    assert answers.get("q", Asked()) == "a"
