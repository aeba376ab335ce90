"""The published description of the interface is kept, and is true."""

import json
import os
from pathlib import Path

from hub_harness import OWNER_TOKEN

GOLDEN = Path(__file__).parents[2] / "golden" / "openapi.json"
RENEW = (
    "the interface changed. Look at the difference; if it is meant, renew the golden file:\n"
    "  RENEW_GOLDEN=1 .venv/bin/python -m pytest tests/unit/hub/test_openapi.py"
)


def document_of(client):
    answer = client.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def test_the_document_is_the_golden_one(owner):
    text = json.dumps(document_of(owner), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("RENEW_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert GOLDEN.exists() and text == GOLDEN.read_text(encoding="utf-8"), RENEW


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method} {path}", operation


def test_it_promises_a_422_nowhere_and_the_documented_400s(owner):
    document = document_of(owner)
    assert [name for name, operation in operations(document) if "422" in operation["responses"]] == []
    apply = document["paths"]["/api/selfimprove/apply"]["post"]["responses"]
    assert apply["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/ApplyResponse")
    assert apply["400"]["content"]["application/json"]["schema"]["$ref"].endswith("/ApplyError")
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_it_says_of_every_operation_that_it_needs_a_token_but_of_the_probes(owner):
    document = document_of(owner)
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    open_ones = {name for name, operation in operations(document) if "security" not in operation}
    assert open_ones == {"get /health/live", "get /health/ready"}
    assert all("401" in operation["responses"] for name, operation in operations(document) if name not in open_ones)


def test_it_includes_the_maintenance_status_and_its_kpis(owner):
    schemas = document_of(owner)["components"]["schemas"]
    assert "kpis" in schemas["MaintenanceStatus"]["properties"]
    assert "last_rollback_token" in schemas["Kpis"]["properties"]


def test_every_operation_has_a_summary_for_people_and_a_name_of_its_own(owner):
    found = dict(operations(document_of(owner)))
    assert [name for name, operation in found.items() if not operation.get("description")] == []
    assert len({operation["operationId"] for operation in found.values()}) == len(found)


def test_every_reference_in_it_leads_somewhere(owner):
    document = document_of(owner)
    schemas = document["components"]["schemas"]
    names = {part.split('"')[0] for part in json.dumps(document).split("#/components/schemas/")[1:]}
    assert names <= set(schemas)
    assert set(schemas) - names == set(), "schemas that nothing refers to"


def test_it_tells_no_token_and_needs_one_itself(served):
    assert served.client(None).get("/openapi.json").status_code == 401
    assert OWNER_TOKEN not in json.dumps(document_of(served.client()))
    for page in ("/docs", "/redoc", "/docs/oauth2-redirect"):
        assert served.client().get(page).status_code == 404
