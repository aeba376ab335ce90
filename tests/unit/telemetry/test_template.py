"""Errors are the same when type, place and the words of the message are; values make no difference."""

import dataclasses
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from homeostat.model.finding import CodeLocation, ErrorOccurrence
from homeostat.telemetry.template import MAX_TEMPLATE_CHARS, masked, template_of

HERE = CodeLocation(path="orders/pricing.py", function="total", line=17)
OCCURRENCE = ErrorOccurrence(
    at=datetime(2026, 1, 10, tzinfo=UTC),
    severity="error",
    logger="orders",
    exception_type="KeyError",
    message="order 17 has no 'total'",
    location=HERE,
    commit=None,
    process_id="p",
)


@pytest.mark.parametrize(
    ("message", "template"),
    [
        ("order 17 has no 'total'", "order <*> has no <*>"),
        ("took 12.5 ms (limit 3s)", "took <*> (limit <*>)"),
        ("id 550e8400-e29b-41d4-a716-446655440000", "id <*>"),
        ("at 0x7f3a2b object <Foo at 0x1>", "at <*> object <Foo at <*>>"),
        ("from [EXTERNAL_IP]:80, [EMAIL] and 192.168.x.x", "from <*> and <*>"),
        ("GET https://api.shop.com failed", "GET <*> failed"),
        ("open /etc/passwd: denied", "open <*>: denied"),
        ("at 2026-01-10T14:32:00.123Z in 3 files", "at <*> in <*> files"),
        ("user=bob role=admin", "user=<*> role=<*>"),
        ("block blk_-1608999687919862906 lost", "block <*> lost"),
        ("retry #3 of 5, 12%", "retry #<*> of <*>"),
        ("commit 9b2118d0c1f4ab01 not found", "commit <*> not found"),
        ("can't parse, won't try", "can't parse, won't try"),
        ("unsupported operand type(s) for +", "unsupported operand type(s) for +"),
        ("  spaces \n and\tlines ", "spaces and lines"),
        ("", ""),
    ],
)
def test_the_variable_parts_of_a_message_are_masked(message: str, template: str) -> None:
    assert masked(message) == template


@pytest.mark.parametrize(
    "change",
    [
        {"message": "order 4711 has no 'price'"},
        {"location": dataclasses.replace(HERE, line=99)},
        {"at": datetime(2027, 1, 1, tzinfo=UTC)},
        {"severity": "critical"},
        {"process_id": "q"},
        {"logger": "other"},
        {"route": "/orders/{id}"},
    ],
)
def test_values_time_line_and_process_do_not_tell_errors_apart(change: dict[str, object]) -> None:
    assert template_of(replace(OCCURRENCE, **change)) == template_of(OCCURRENCE)


@pytest.mark.parametrize(
    "change",
    [
        {"message": "order 17 was not found"},
        {"exception_type": "ValueError"},
        {"location": dataclasses.replace(HERE, path="orders/app.py")},
        {"location": dataclasses.replace(HERE, function="discount")},
        {"exception_type": "KeyErrororders/pricing.py", "location": dataclasses.replace(HERE, path="")},
    ],
)
def test_type_place_and_words_tell_errors_apart(change: dict[str, object]) -> None:
    assert template_of(replace(OCCURRENCE, **change))[0] != template_of(OCCURRENCE)[0]


def test_without_exception_and_place_the_logger_tells_errors_apart() -> None:
    bare = replace(OCCURRENCE, exception_type="", location=dataclasses.replace(HERE, path="", function=""))
    assert template_of(bare)[0] != template_of(replace(bare, logger="other"))[0]


def test_a_template_is_bounded_and_does_not_end_within_a_value() -> None:
    template = masked("word " * 1000)
    assert len(template) <= MAX_TEMPLATE_CHARS
    assert template.endswith("word")


def test_the_key_is_stable_across_versions() -> None:
    # Groups in a store are found again by this key: a change of it makes every known error new.
    assert template_of(OCCURRENCE)[0] == "sha256:5c7c1661207c94150ea3e35fc724c2e62b0edd6e3ddfdc7a89f4f5bd3b009ef3"


def test_failed_answers_without_a_place_are_told_apart_by_their_route_and_by_nothing_else_there() -> None:
    answered = replace(
        OCCURRENCE,
        logger="wsgi",
        exception_type="",
        message="Internal Server Error was answered",
        location=CodeLocation(path="", function="", line=0),
        route="/orders/{id}",
    )
    other_route = replace(answered, route="/carts/{id}")
    assert template_of(answered) != template_of(other_route)
    placed = [replace(item, location=HERE) for item in (answered, other_route)]
    assert template_of(placed[0]) == template_of(placed[1])
    logged = [replace(item, logger="urllib3") for item in (answered, other_route)]
    assert template_of(logged[0]) == template_of(logged[1])
