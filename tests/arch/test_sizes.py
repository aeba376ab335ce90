"""Sizes that keep a module readable in one sitting (STYLE: 100 to 300 lines, past 500 only on record)."""

import ast

from arch.source import modules, relative

MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 60
MAX_PORT_METHODS = 6


def test_no_module_is_longer_than_500_lines():
    long = {relative(path): count for path, _ in modules() if (count := len(path.read_text().splitlines())) > 500}
    assert long == {}


def test_no_function_is_longer_than_60_lines():
    long = {}
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    long[f"{relative(path)}:{node.name}"] = length
    assert long == {}


def test_a_port_has_at_most_six_methods():
    wide = {}
    for path, tree in modules():
        if "ports" not in path.parts:
            continue
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Protocol" for base in node.bases):
                methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
                if len(methods) > MAX_PORT_METHODS:
                    wide[f"{relative(path)}:{node.name}"] = len(methods)
    assert wide == {}
