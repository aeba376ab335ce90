"""What keeps a user on one arm is read from scopes, environments and request objects alike."""

import types

import pytest
from homeostat_agent.canary.key import Key, parse_key

ASGI = {
    "type": "http",
    "headers": [(b"x-user", b"u7"), (b"Cookie", b"a=1; sid=abc; b=2")],
    "query_string": b"page=2&tenant=acme",
}
WSGI = {"HTTP_X_USER": "u7", "HTTP_COOKIE": "a=1; sid=abc; b=2", "QUERY_STRING": "page=2&tenant=acme"}
OBJECT = types.SimpleNamespace(
    headers={"X-User": "u7", "cookie": "a=1; sid=abc; b=2"}, query_string="page=2&tenant=acme"
)


@pytest.mark.parametrize("name", ["header:X-User", "cookie:sid", "query:tenant"])
def test_the_same_value_is_found_wherever_the_request_came_from(name):
    key = parse_key(name)
    points = {key.point("c", source) for source in (ASGI, WSGI, OBJECT)}
    assert len(points) == 1
    assert 0 <= points.pop() < 1


@pytest.mark.parametrize("name", ["header:x-other", "cookie:si", "query:tenan"])
def test_a_request_without_the_value_has_no_point(name):
    assert [parse_key(name).point("c", source) for source in (ASGI, WSGI)] == [None, None]


def test_an_empty_value_is_none():
    assert parse_key("query:q").point("c", {"QUERY_STRING": "q=&r=1"}) is None


def test_each_change_hashes_anew():
    key = parse_key("header:x-user")
    assert key.point("one", ASGI) != key.point("two", ASGI)


def test_values_spread_evenly():
    key = parse_key("query:u")
    points = [key.point("c", {"QUERY_STRING": f"u={number}"}) for number in range(4000)]
    tenths = [sum(index / 10 <= point < (index + 1) / 10 for point in points) for index in range(10)]
    assert min(tenths) > 300  # 400 expected, with a deviation of 19
    assert max(tenths) < 500


class Hostile(dict):
    def get(self, *_):
        raise RuntimeError("no")


@pytest.mark.parametrize("source", [None, 5, Hostile(), {"headers": [1, 2]}, {"headers": [(b"x-user", 5)]}])
@pytest.mark.parametrize("name", ["header:x-user", "cookie:x", "query:x"])
def test_whatever_stands_for_a_request_nothing_is_raised(source, name):
    parse_key(name).point("c", source)


@pytest.mark.parametrize("text", ["", "header", "header:", "body:x", "header:a b", "header:\n", "header:é", "x" * 300])
def test_what_is_no_key_is_none(text):
    assert parse_key(text) is None


def test_a_key_keeps_its_name():
    key = parse_key("cookie:s:d")
    assert isinstance(key, Key)
    assert (key.place, key.name) == ("cookie", "s:d")
