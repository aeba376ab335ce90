"""Whatever is sent, the hub answers, and never with a 500."""

import json
import warnings
from urllib.parse import quote

import pytest
from google.rpc.status_pb2 import Status
from hub_harness import BOT_TOKEN, OWNER_TOKEN, Served
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeostat.testing.world import World

NAMES = [
    *("proposal_id", "proposal_ids", "title", "rationale", "diff", "reason", "change_digest", "evidence", "x"),
    *("provenance", "force", "user", "base_commit", "finding_id", "resourceLogs", "scopeLogs", "logRecords"),
    *("resourceMetrics", "scopeMetrics", "metrics", "\ud800"),
]

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(["\ud800", "\x00", "0000", "approved", "sha256:0"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)
SUBMISSION = st.fixed_dictionaries(
    {
        "title": st.text(max_size=30),
        "rationale": st.text(max_size=30),
        "diff": st.text(max_size=200) | st.just("--- a/shop.py\n+++ b/shop.py\n@@ -1 +1 @@\n-x\n+y\n"),
    },
    optional={
        "base_commit": st.text(max_size=50) | st.sampled_from(["HEAD", "-h", "HEAD~1", "main"]),
        "evidence": st.lists(st.text(max_size=20), max_size=3),
        "provenance": st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3),
        "author": st.text(max_size=20),
        "finding_id": st.text(max_size=20),
    },
)


@pytest.fixture(scope="module")
def clients(tmp_path_factory):
    with warnings.catch_warnings():
        served = Served(World(), tmp_path_factory.mktemp("state"))
    with served:
        yield served.client(OWNER_TOKEN), served.client(BOT_TOKEN)


def operations(client):
    paths = client.get("/openapi.json").json()["paths"]
    return [(method, path) for path, item in sorted(paths.items()) for method in sorted(item)]


def assert_answered(answer):
    assert answer.status_code != 422 and answer.status_code < 500, (answer.request.url, answer.text)
    if answer.headers.get("Content-Type") == "application/x-protobuf":
        assert answer.status_code == 200 or Status.FromString(answer.content).message
    elif answer.status_code >= 400:
        body = answer.json()
        assert body["ok"] is False and body["error"] and body["details"], body


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_json_to_any_route_is_answered(clients, data):
    client = clients[0]
    method, path = data.draw(st.sampled_from(operations(client)))
    name = data.draw(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40))
    path = path.replace("{proposal_id}", "{}").replace("{finding_id}", "{}")
    body = json.dumps(data.draw(JSON)).encode("utf-8", "surrogatepass")
    query = data.draw(st.dictionaries(st.sampled_from(["limit", "offset", "status", "x"]), st.text(max_size=10)))
    answer = client.request(
        method,
        path.replace("{}", quoted(name)),
        params={key: value.encode("utf-8", "replace").decode() for key, value in query.items()},
        content=body,
        headers={"Content-Type": "application/json"},
    )
    assert_answered(answer)


def quoted(name):
    return quote(name, safe="")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=SUBMISSION)
def test_any_submission_is_answered(clients, body):
    data = json.dumps(body).encode()
    assert_answered(
        clients[1].post("/api/selfimprove/proposals", content=data, headers={"Content-Type": "application/json"})
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=200),
    kind=st.sampled_from(["application/json", "text/plain", "", "application/json;", "application/x-protobuf"]),
)
def test_any_bytes_to_any_body_are_answered(clients, data, kind):
    client = clients[0]
    for method, path in operations(client):
        if method == "post":
            assert_answered(client.post(path, content=data, headers={"Content-Type": kind}))


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "HEAD", "CONNECT", "PROPFIND", "OPTIONS"])
def test_any_other_method_is_a_405(clients, method):
    for _, path in operations(clients[0]):
        answer = clients[0].request(method, path)
        assert answer.status_code == 405, (method, path)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/favicon.ico",
        "/api",
        "/api/selfimprove",
        "/.env",
        "/api/%2e%2e/etc/passwd",
        "/v1/profiles",
        "/apply",
        "/%ff",
    ],
)
def test_any_other_path_is_a_404_in_our_form(clients, path):
    answer = clients[0].get(path)
    assert answer.status_code == 404
    assert answer.json()["ok"] is False and answer.json()["title"] == "http-error"
