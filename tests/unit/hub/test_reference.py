"""The reference pages say what the hub says."""

import json
import re
from pathlib import Path

import pytest

from homeostat.core.error_table import FAMILIES
from homeostat.hub.contract import ERROR_TEXTS, error_text

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"
HTTP = (REFERENCE / "http.md").read_text(encoding="utf-8")
ERRORS = (REFERENCE / "errors.md").read_text(encoding="utf-8")
SECTIONS = {
    match[1]: match[2]
    for match in re.finditer(r"^### `([A-Z]+ \S+)`\n(.*?)(?=^##|\Z)", HTTP, flags=re.MULTILINE | re.DOTALL)
}


@pytest.fixture(scope="module")
def document():
    golden = Path(__file__).parents[2] / "golden" / "openapi.json"
    return json.loads(golden.read_text(encoding="utf-8"))


def operations(document):
    return {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def test_every_operation_has_a_section_and_every_section_an_operation(document):
    assert set(SECTIONS) == set(operations(document))


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_has_an_example_of_its_own_call(name):
    method, path = name.split()
    (call,) = re.findall(r"^    curl (.*)$", SECTIONS[name], flags=re.MULTILINE)
    called = re.search(r"http://127\.0\.0\.1:3001(/[^\s'?]*)", call)[1]
    assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), called)
    assert ("-X POST" in call) is (method == "POST")


@pytest.mark.parametrize("name", SECTIONS)
def test_every_field_of_an_example_is_a_field_of_the_answer(name, document):
    schemas = document["components"]["schemas"]
    answers = operations(document)[name]["responses"]
    (good,) = (answers[status] for status in ("200", "201", "202") if status in answers)
    reference = json.dumps(good.get("content", {})).partition("#/components/schemas/")[2].partition('"')[0]
    for block in re.findall(r"```json\n(.*?)```", SECTIONS[name], flags=re.DOTALL):
        body = json.loads(block)
        if reference:
            assert set(body) <= set(schemas[reference]["properties"]), name


@pytest.mark.parametrize("name", [name for name in SECTIONS if name.startswith("POST")])
def test_every_body_of_an_example_has_the_fields_that_are_needed(name, document):
    wanted = operations(document)[name].get("requestBody")
    sent = re.search(r"-d '(.*)'", SECTIONS[name])
    assert bool(wanted) is bool(sent)
    if wanted and (reference := wanted["content"]["application/json"]["schema"].get("$ref")):
        schema = document["components"]["schemas"][reference.rpartition("/")[2]]
        body = set(json.loads(sent[1]))
        assert set(schema.get("required", ())) <= body <= set(schema["properties"])


def test_the_table_of_apply_knows_every_error_text():
    rows = re.findall(
        r"^\| [^|]+ \| 400 \| false \| (?:true|false) \| ([^|]+) \|$", SECTIONS["POST /api/selfimprove/apply"], re.M
    )
    assert set(rows) == {*ERROR_TEXTS.values(), error_text("any other"), "HMR application failed"}


def test_the_table_of_families_is_the_one_in_the_code():
    rows = re.findall(r"^\| ([a-z ]+) \| (\d+) \| (\d) \|", ERRORS, flags=re.MULTILINE)
    told = {name: (int(status), int(code)) for name, status, code in rows}
    words = {"invalid_input": "invalid input", "not_permitted": "not permitted", "not_found": "not found"}
    words |= {"outcome_unknown": "outcome unknown"}
    known = {words.get(item.label, item.label): (item.http_status, item.exit_code) for item in FAMILIES.values()}
    assert told == {**known, "refused": (400, 2)}


def test_every_code_has_a_whole_row_and_the_rows_are_in_order():
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|(.*)$", ERRORS, flags=re.MULTILINE)
    codes = [code for code, _ in rows]
    assert codes == sorted(set(codes))
    families = {
        "invalid input",
        "not permitted",
        "not found",
        "conflict",
        "unavailable",
        "outcome unknown",
        "integrity",
    }
    for code, rest in rows:
        kinds, meaning, remedy = (cell.strip() for cell in rest.removesuffix("|").split(" |"))
        assert set(kinds.split(", ")) <= families | {"bug", "refused"}, code
        assert len(meaning) >= 10 <= len(remedy) and meaning.endswith("."), code
