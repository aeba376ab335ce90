"""Routes, paths and traces: what is a template stays, what is a value goes."""

import pytest

from homeostat.model.finding import CodeLocation
from homeostat.telemetry.origin import relative_path, route, trace_of, trace_of_stack


@pytest.mark.parametrize(
    "template",
    [
        "",
        "/",
        "/orders/{order_id}/items/{item:int}",
        "/users/<int:user_id>/avatar",
        "/users/:id/*",
        "^orders/(?P<pk>[0-9]+)/$",
        "(unmatched)",
        "(other)",
        "GET /v1/long-but-plain-words/of_a_template",
    ],
)
def test_templates_stay_as_they_are(template: str) -> None:
    assert route(template) == template


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/orders/17", "/orders/{id}"),
        ("/orders/550e8400-e29b-41d4-a716-446655440000/x", "/orders/{id}/x"),
        ("/commits/9b2118d0c1f4ab01", "/commits/{id}"),
        ("/users/bob@example.com", "/users/{id}"),
        ("/hosts/10.0.0.1", "/hosts/{id}"),
        ("/reset/" + "x" * 50, "/reset/{id}"),
        ("/search?q=my+illness", "/search"),
        ("/a" * 100, "/a" * 19),
    ],
)
def test_values_in_a_route_are_masked(path: str, template: str) -> None:
    assert route(path) == template


@pytest.mark.parametrize(
    ("path", "repository", "relative"),
    [
        ("/srv/app/orders/a.py", "/srv/app", "orders/a.py"),
        ("/srv/app/orders/a.py", "/srv/app/", "orders/a.py"),
        ("/srv/application/a.py", "/srv/app", ""),
        ("/srv/app/.venv/lib/python3.11/site-packages/x.py", "/srv/app", ""),
        ("C:\\srv\\app\\orders\\a.py", "C:\\srv\\app", "orders/a.py"),
        ("./orders/a.py", "", "orders/a.py"),
        ("orders\\a.py", "", "orders/a.py"),
        ("/srv/app/../../etc/passwd", "/srv/app", ""),
        ("/a.py", "/", ""),
        ("", "/srv/app", ""),
    ],
)
def test_paths_are_inside_the_repository_or_empty(path: str, repository: str, relative: str) -> None:
    assert relative_path(path, repository) == relative


@pytest.mark.parametrize("bad", [None, "a.py:1:f", [1, None, "a.py", "a.py:x:f", "a.py:-1:f", ":1:f"], ["/abs.py:1:f"]])
def test_what_is_no_frame_is_skipped(bad: object) -> None:
    assert trace_of(bad, "") == ()  # type: ignore[arg-type]


def test_a_trace_is_bounded() -> None:
    assert len(trace_of([f"a.py:{n}:f" for n in range(100)], "")) == 30
    lines = "".join(f'  File "a.py", line {n}, in f\n    x\n' for n in range(100))
    places = trace_of_stack(lines, "")
    assert places[-1] == CodeLocation(path="a.py", function="f", line=99)
    assert len(places) == 30


def test_an_exception_group_is_read_through_its_margin() -> None:
    stack = '  + Exception Group Traceback (most recent call last):\n  |   File "a.py", line 3, in f\n  | E: x\n'
    assert trace_of_stack(stack, "") == (CodeLocation(path="a.py", function="f", line=3),)
