"""Every error and refusal code is explained in docs/reference/errors.md, and none there is stale."""

import ast
import functools
import re

from arch.source import ROOT, modules, relative

from homeostat.core.error_table import FAMILIES

FAMILY_NAMES = {family.__name__ for family in FAMILIES}
PAGE = ROOT / "docs" / "reference" / "errors.md"


@functools.cache
def _codes_in_code():
    codes = {}
    for path, tree in modules():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            code = None
            if name in FAMILY_NAMES and node.args and isinstance(node.args[0], ast.Constant):
                code = node.args[0].value
            elif name == "Denied":
                code = next(
                    (k.value.value for k in node.keywords if k.arg == "code" and isinstance(k.value, ast.Constant)),
                    None,
                )
            if isinstance(code, str):
                codes.setdefault(code, f"{relative(path)}:{node.lineno}")
    for path in sorted((ROOT / "src" / "homeostat" / "policy" / "cedar").glob("*.cedar")):
        for code in re.findall(r'^@code\("([^"]*)"\)', path.read_text(encoding="utf-8"), flags=re.MULTILINE):
            codes.setdefault(code, relative(path))
    return codes


def test_every_code_is_documented_and_every_documented_code_exists():
    documented = set(re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    used = _codes_in_code()
    assert {code: place for code, place in used.items() if code not in documented} == {}
    assert documented - set(used) == set()


def test_codes_are_kebab_case():
    assert [code for code in _codes_in_code() if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)] == []
