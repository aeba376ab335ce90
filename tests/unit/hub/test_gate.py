"""Who is let in: tokens, Host, Origin, and how much they may send."""

import json

import anyio
import pytest
from hub_harness import APPLY, BOT_TOKEN, OWNER_TOKEN, PROPOSALS, bearer

from homeostat.core.limits import MAX_HTTP_BODY_BYTES
from homeostat.hub.app import OPEN_PATHS

OPEN = {"/health/live", "/health/ready"}
HIDDEN = {"/openapi.json": "GET", "/v1/traces": "POST"}
"""Served and not described: the description itself, and what only says that traces have no place."""


def every_operation(app):
    """Yield method and path, with its parameters filled in, of everything that is served."""
    for path, item in app.openapi()["paths"].items():
        for method in item:
            yield method.upper(), path.replace("{proposal_id}", "0000").replace("{finding_id}", "f-0")
    for path, method in HIDDEN.items():
        yield method, path


def test_every_route_needs_a_token_except_the_health_probes(served):
    stranger = served.client(None)
    served_paths = set()
    for method, path in every_operation(served.app):
        served_paths.add(path)
        answer = stranger.request(method, path, json={})
        if path in OPEN:
            assert answer.status_code == 200, path
        else:
            assert answer.status_code == 401, (method, path, answer.text)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.json()["title"] == "unauthenticated"
    assert OPEN == OPEN_PATHS <= served_paths and len(served_paths) > 15


def test_the_document_lists_every_route_that_is_served(served):
    """Another route that is hidden from the document would escape the walk over it."""
    listed = set(served.app.openapi()["paths"]) | set(HIDDEN)
    assert {route.path for route in _routes(served.app.router)} == listed


def _routes(router):
    for route in router.routes:
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield route
        else:
            yield from _routes(inner)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Basic {OWNER_TOKEN}",
        OWNER_TOKEN,
        f"Bearer {OWNER_TOKEN}x",
        f"Bearer {OWNER_TOKEN.upper()}",
        "Bearer \xff\xfe",
        "Bearer " + "x" * 100_000,
    ],
    ids=range(10),
)
def test_a_token_that_is_not_known_is_a_401(served, header):
    answer = served.client(None).get(PROPOSALS, headers={"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert OWNER_TOKEN not in answer.text


def test_a_token_in_a_query_or_cookie_is_no_credential(served):
    client = served.client(None)
    assert client.get(PROPOSALS, params={"token": OWNER_TOKEN, "access_token": OWNER_TOKEN}).status_code == 401
    assert client.get(PROPOSALS, headers={"Cookie": f"token={OWNER_TOKEN}"}).status_code == 401


def test_the_scheme_of_the_header_may_be_written_in_any_case(served):
    assert served.client(None).get(PROPOSALS, headers={"Authorization": f"bearer {BOT_TOKEN}"}).status_code == 200


def test_an_erased_actors_token_is_not_let_in_any_more(served, bot):
    assert bot.get(PROPOSALS).status_code == 200
    served.world.store.actors.erase_name("agent-00000000000b")
    assert bot.get(PROPOSALS).status_code == 401


@pytest.mark.parametrize("path", ["approve", "reject", "defer", "resume", "accept", "revert"])
def test_an_agents_token_may_not_decide(served, bot, path):
    identity = served.submit()
    before = served.row(identity)
    answer = bot.post(f"{PROPOSALS}/{identity}/{path}", json={"reason": "why"})
    assert (answer.status_code, answer.json()["title"]) == (403, "not-a-person")
    assert served.row(identity) == before


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:3001",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "127.0.0.1@evil.example",
        "evil.example@127.0.0.1",
        "127.0.0.1/health/live?",
        "127.0.0.1:3001/health/live#",
        "127.0.0.1:3001:3001",
        "127.0.0.1:port",
        "0.0.0.0",
        "127.0.0.2",
        "[::ffff:127.0.0.1]",
        "localhost ",
        "",
    ],
)
@pytest.mark.parametrize("path", [PROPOSALS, "/health/live"])
def test_a_host_header_that_is_not_exactly_ours_is_refused(served, host, path):
    answer = raw(served.app, "GET", path, [(b"host", host.encode()), *_token()])
    assert (answer["status"], answer["json"]["title"]) == (403, "foreign-host")


def test_a_request_without_a_host_header_is_refused(served):
    assert raw(served.app, "GET", PROPOSALS, _token())["status"] == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:3001", "localhost:9", "LOCALHOST", "[::1]:3001", "[::1]"])
def test_the_names_of_the_loopback_are_ours(served, host):
    assert raw(served.app, "GET", PROPOSALS, [(b"host", host.encode()), *_token()])["status"] == 200


def test_no_header_can_make_a_path_look_like_a_health_probe(served):
    """The path that is judged is the one that is routed, whatever Host or forwarding headers say."""
    for headers in (
        [(b"host", b"127.0.0.1"), (b"x-forwarded-prefix", b"/health/live")],
        [(b"host", b"127.0.0.1"), (b"x-original-url", b"/health/live")],
    ):
        assert raw(served.app, "GET", PROPOSALS, headers)["status"] == 401
    for path in ("/health/live/", "//health/live", "/health/live/..", "/Health/live", "/health/live%2f..", "/"):
        assert served.client(None).get(path).status_code == 401


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:3001", 200),
        ("http://localhost:3001", 403),
        ("http://127.0.0.1:3002", 403),
        ("https://127.0.0.1:3001", 403),
        ("http://evil.example", 403),
        ("http://127.0.0.1:3001.evil.example", 403),
        ("http://evil.example@127.0.0.1:3001", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_a_page_of_another_origin_is_refused_whatever_token_it_has(served, origin, status):
    assert served.client(Origin=origin).get(PROPOSALS).status_code == status


def test_every_origin_of_a_request_counts_and_not_the_first_alone(served):
    ours, other = ("Origin", "http://127.0.0.1:3001"), ("Origin", "http://evil.example")
    client = served.client()
    assert client.get(PROPOSALS, headers=[ours, ours]).status_code == 200
    for origins in ([ours, other], [other, ours]):
        assert client.get(PROPOSALS, headers=origins).status_code == 403


def test_no_answer_invites_another_origin_or_a_cache(served):
    for client in (served.client(), served.client(None), served.client(Origin="http://evil.example")):
        answer = client.get(PROPOSALS)
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert served.client().options(APPLY, headers={"Access-Control-Request-Method": "POST"}).status_code == 405


# How much may be sent


def _token():
    return [(name.lower().encode(), value.encode()) for name, value in bearer(OWNER_TOKEN).items()]


def raw(app, method, path, headers, messages=({"type": "http.request", "body": b"", "more_body": False},)):
    """Speak ASGI, as a server would: what no client library lets one send."""
    sent = []
    left = list(messages)

    async def receive():
        if left:
            return left.pop(0)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name, value) for name, value in headers],
        "server": ("127.0.0.1", 3001),
        "client": ("127.0.0.1", 50000),
    }

    async def main():
        await app(scope, receive, send)

    anyio.run(main)
    starts = [item for item in sent if item["type"] == "http.response.start"]
    assert len(starts) == 1, sent
    body = b"".join(item.get("body", b"") for item in sent)
    return {"status": starts[0]["status"], "json": json.loads(body) if body else None, "unread": len(left)}


JSON = (b"content-type", b"application/json")
HOST = (b"host", b"127.0.0.1")


@pytest.mark.parametrize("length", [str(MAX_HTTP_BODY_BYTES + 1), "9" * 20, "9" * 5000])
def test_a_body_that_announces_too_much_is_refused_unread(served, length):
    answer = raw(served.app, "POST", APPLY, [HOST, JSON, (b"content-length", length.encode()), *_token()])
    assert (answer["status"], answer["json"]["title"]) == (413, "body-too-large")
    assert answer["unread"] == 1


@pytest.mark.parametrize("path", [APPLY, "/v1/logs", "/v1/metrics"])
def test_a_chunked_body_is_cut_off_at_the_limit(served, path):
    chunk = {"type": "http.request", "body": b" " * (1 << 20), "more_body": True}
    chunks = [chunk] * 50
    answer = raw(served.app, "POST", path, [HOST, JSON, *_token()], chunks)
    assert (answer["status"], answer["json"]["title"]) == (413, "body-too-large")
    assert answer["unread"] >= 50 - (MAX_HTTP_BODY_BYTES >> 20) - 2
    assert served.metric("homeostat_errors_total", label="bug") == 0


def test_a_body_of_exactly_the_limit_is_read(served):
    body = b'{"resourceLogs": []' + b" " * (MAX_HTTP_BODY_BYTES - 20) + b"}"
    message = {"type": "http.request", "body": body, "more_body": False}
    assert raw(served.app, "POST", "/v1/logs", [HOST, JSON, *_token()], [message])["status"] == 200


@pytest.mark.parametrize("path", [APPLY, "/v1/logs"])
def test_a_caller_that_goes_away_in_the_middle_is_no_bug_of_ours(served, path):
    part = {"type": "http.request", "body": b'{"a": ', "more_body": True}
    answer = raw(served.app, "POST", path, [HOST, JSON, *_token()], [part])
    assert answer["status"] == 400
    assert served.metric("homeostat_errors_total", label="bug") == 0


def test_a_stranger_is_refused_before_the_body_is_read(served):
    part = {"type": "http.request", "body": b"x", "more_body": True}
    answer = raw(served.app, "POST", "/v1/logs", [HOST, JSON], [part] * 5)
    assert (answer["status"], answer["unread"]) == (401, 5)


# When the store cannot be asked who calls


def test_without_a_store_a_call_is_refused_as_unavailable_not_as_a_bug(served, owner):
    served.without_store("actors")
    answer = owner.get(PROPOSALS)
    assert (answer.status_code, answer.json()["title"]) == (503, "store-locked")
    assert owner.post(APPLY, json={"proposal_id": "x"}).status_code == 503
    assert served.metric("homeostat_errors_total", label="unavailable") == 2
    assert served.metric("homeostat_errors_total", label="bug") == 0
