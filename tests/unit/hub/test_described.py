"""Whatever is sent, the answer is one that the published description knows; schemathesis thinks of what to send.

The real application with a real store. Few cases in `make test`, the same ones each time; many in `make soak`.
"""

import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import schemathesis
from empty_database import put_empty_database
from hub_harness import BOT_TOKEN, OWNER_TOKEN, Served, bearer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode

from homeostat.adapters.store import SqlStore
from homeostat.testing.world import DIFF, World

load_all_checks()
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# Any bytes are a body in protobuf's form. What becomes of those that are none: `test_telemetry_protobuf`.
PROTOBUF = "application/x-protobuf"
schemathesis.openapi.media_type(PROTOBUF, st.binary(max_size=100) | st.just(b"\x0a\x00"))
BODY = ParameterLocation.BODY
URL = "http://127.0.0.1:3001"
NO_BODY_OR_QUERY = {"GET /health/live", "GET /health/ready"}  # nothing about them can be wrong
DIFFS = [DIFF, DIFF.replace("0)", "1)"), "--- /dev/null\n+++ b/other.py\n@@ -0,0 +1 @@\n+value = 1\n"]
FEW = pytest.param(200, id="few")
MANY = pytest.param(20_000, id="many", marks=[pytest.mark.matrix, pytest.mark.timeout(3600)])


def thrifty(examples, **more):
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],  # what is found is shown as it is: making it smaller takes longer than reading it
        suppress_health_check=list(HealthCheck),
        **more,
    )


@contextmanager
def serve(folder):
    """A hub with a real store in this folder."""
    world = World()
    store = SqlStore.open(
        put_empty_database(folder / "h.sqlite"),
        signer=world.store.signer,
        clock=world.clock,
        head_path=folder / "head.json",
    )
    world.store = store
    nouns = ("proposals", "records", "ledger", "findings", "vitals", "actors")
    world.deps = replace(world.deps, **{noun: getattr(store, noun) for noun in nouns})
    with Served(world, folder) as opened:
        yield opened
    store.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("state")) as opened:
        yield opened


@pytest.fixture(scope="module")
def schema(served):
    described = schemathesis.openapi.from_dict(served.client().get("/openapi.json").json())
    described.app = served.app
    return described


def operations(schema):
    return [found.ok() for found in schema.get_all_operations()]


CHOICES = st.tuples(st.booleans(), st.booleans(), st.integers(0, 5), st.integers(0, len(DIFFS) - 1))
"""Drawn before anything is asked: what hypothesis draws may not depend on what the hub holds."""


def likely(served, choices, case):
    """Name what is there and hand in what fits, often enough that the routes get further than their door."""
    named, fitting, which, diff = choices
    ids = _ids(served)
    if "proposal_id" in (case.path_parameters or {}) and named:
        case.path_parameters = {"proposal_id": ids[which % len(ids)]}
    if isinstance(case.body, dict) and fitting:
        if isinstance(case.body.get("diff"), str):
            case.body = {**case.body, "diff": DIFFS[diff], "base_commit": ""}
        if isinstance(case.body.get("proposal_id"), str):
            case.body = {**case.body, "proposal_id": ids[which % len(ids)]}


def _ids(served):
    return [row.id for row in served.world.deps.proposals.find(limit=5)] or ["0"]


@pytest.mark.parametrize("examples", [FEW, MANY])
@pytest.mark.parametrize("token", [OWNER_TOKEN, BOT_TOKEN, None], ids=["owner", "bot", "nobody"])
def test_a_request_as_described_is_answered_as_described(served, schema, examples, token):
    strategies = [item.as_strategy(generation_mode=GenerationMode.POSITIVE) for item in operations(schema)]

    @thrifty(examples // (2 if token == OWNER_TOKEN else 8))
    @given(data=st.data())
    def ask(data):
        case = data.draw(data.draw(st.sampled_from(strategies)))
        likely(served, data.draw(CHOICES), case)
        headers = bearer(token) if token else {"Authorization": ""}
        case.validate_response(case.call(headers=headers, base_url=URL), checks=CHECKS, headers=headers)

    ask()


@pytest.mark.parametrize("examples", [FEW, MANY])
@pytest.mark.parametrize("token", [OWNER_TOKEN, BOT_TOKEN], ids=["owner", "bot"])
def test_a_request_that_is_not_as_described_is_refused_as_described(served, schema, examples, token):
    wrong = [
        item.as_strategy(generation_mode=GenerationMode.NEGATIVE)
        for item in operations(schema)
        if item.label not in NO_BODY_OR_QUERY
    ]

    @thrifty(examples // (2 if token == OWNER_TOKEN else 8))
    @given(data=st.data())
    def ask(data):
        case = data.draw(data.draw(st.sampled_from(wrong)))
        headers = bearer(token)
        answer = case.call(headers=headers, base_url=URL)
        # A parameter that nobody knows is passed over, and the token is ours: only a wrong body must be refused.
        wrong_body = {place for place, part in case.meta.components.items() if part.mode.is_negative} == {BODY}
        wrong_body = wrong_body and case.media_type != PROTOBUF  # bytes that nobody meant may be a message all the same
        case.validate_response(answer, checks=[*CHECKS, *[negative_data_rejection] * wrong_body], headers=headers)

    ask()


@pytest.mark.parametrize("examples", [pytest.param(12, id="few"), pytest.param(400, id="many", marks=MANY.marks)])
def test_any_order_of_requests_that_follow_the_links_is_answered_as_described(schema, examples, tmp_path):
    handed_in = schema["/api/selfimprove/proposals"]["POST"]
    linked = handed_in.definition.raw["responses"]["201"]["links"]
    apply = schema["/api/selfimprove/apply"]["POST"]
    followed = [
        handed_in,
        apply,
        *(item for item in operations(schema) if item.definition.raw["operationId"] in linked),
    ]
    assert len(followed) == 2 + len(linked) >= 9
    strategies = [item.as_strategy(generation_mode=GenerationMode.POSITIVE) for item in followed]
    reached = set()

    @thrifty(examples)
    @given(data=st.data())
    def walk(data):
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder, serve(Path(folder)) as served:
            for strategy in [strategies[0], *data.draw(st.lists(st.sampled_from(strategies), min_size=6, max_size=15))]:
                case, (_, _, which, diff) = data.draw(strategy), data.draw(CHOICES)
                if isinstance(case.body, dict):
                    forgotten = ("change_digest", "finding_id")
                    case.body = {name: value for name, value in case.body.items() if name not in forgotten}
                likely(served, (True, True, which, diff), case)
                headers = bearer(OWNER_TOKEN)
                answer = case.call(headers=headers, base_url=URL, app=served.app)
                case.validate_response(answer, checks=CHECKS, headers=headers)
                served.settle()
            reached.update(row.state for row in served.world.deps.proposals.find())

    walk()
    assert len(reached) >= 3, f"the links led nowhere but to {reached}"
