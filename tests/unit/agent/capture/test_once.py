"""One error that comes by several times counts once."""

import logging
from dataclasses import dataclass

from homeostat_agent.capture.occurrence import ERROR, WARNING, seen_before


def seen(error: BaseException, *, severity: int = ERROR, request: int = 0, now_s: float = 100.0) -> bool:
    return seen_before(error, severity=severity, request=request, now_s=now_s)


def test_the_same_object_counts_once_and_an_equal_one_again():
    error = ValueError("x")
    assert [seen(error), seen(error), seen(ValueError("x"))] == [False, True, False]


def test_a_singleton_that_is_raised_in_each_request_counts_in_each():
    error = ValueError("x")
    assert [seen(error, request=number) for number in (1, 1, 2, 2, 3)] == [False, True, False, True, False]


def test_a_singleton_outside_requests_counts_again_after_a_while():
    error = ValueError("x")
    assert [seen(error, now_s=now_s) for now_s in (0.0, 9.0, 30.0)] == [False, True, False]


def test_an_error_after_a_warning_about_it_counts():
    error = ValueError("x")
    assert [seen(error, severity=WARNING), seen(error, severity=ERROR), seen(error, severity=ERROR)] == [
        False,
        False,
        True,
    ]


def test_a_class_that_guards_its_attributes_is_left_alone():
    @dataclass(frozen=True)
    class Frozen(Exception):
        code: int

    error = Frozen(7)
    assert [seen(error), seen(error)] == [False, False]
    assert vars(error) == {"code": 7}


def test_log_and_raise_through_three_layers_is_one_error(captured):
    log = logging.Logger("layers")
    log.addHandler(logging.NullHandler())

    def layer(depth: int) -> None:
        try:
            if depth == 0:
                raise ValueError("inner")
            layer(depth - 1)
        except ValueError:
            log.exception("layer %d", depth)
            raise

    for _ in range(5):
        try:
            layer(2)
        except ValueError:
            log.exception("outermost")
    assert [item.message for item in captured.occurrences()] == ["layer 0"] * 5
    assert captured.capture.vitals()["errors_logged"] == 5


def test_errors_that_are_freed_and_made_anew_at_one_address_all_count(captured):
    log = logging.Logger("loop")
    log.addHandler(logging.NullHandler())
    for _ in range(50):
        try:
            raise KeyError("k")
        except KeyError:
            log.exception("again")
    assert captured.capture.vitals()["errors_logged"] == 50
