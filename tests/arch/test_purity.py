"""The subsystems are pure: no clock, disk, network, process or randomness of their own."""

import ast

from arch.source import modules, relative

PURE = {"core", "model", "telemetry", "improvement", "proposals", "policy", "validation", "rollout", "audit"}
EFFECTS = {
    "os",
    "pathlib",
    "random",
    "requests",
    "secrets",
    "shutil",
    "socket",
    "sqlalchemy",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "urllib.request",
    "uuid",
    "httpx",
    "sqlite3",
}
CALLS = {"datetime.now", "datetime.utcnow", "date.today", "open", "print", "input"}


def _pure_modules():
    for path, tree in modules():
        parts = path.parts
        if "homeostat" in parts and parts[parts.index("homeostat") + 1] in PURE:
            yield path, tree


def test_no_subsystem_imports_an_effect():
    found = []
    for path, tree in _pure_modules():
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            found += [f"{relative(path)}:{node.lineno}: {name}" for name in names if name in EFFECTS]
    assert found == []


def test_no_subsystem_calls_a_clock_or_the_world():
    found = []
    for path, tree in _pure_modules():
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        found += [f"{relative(path)}:{node.lineno}" for node in calls if ast.unparse(node.func) in CALLS]
    assert found == []


def test_no_module_keeps_a_settable_global():
    """A `global` statement is a global instance in the making."""
    found = []
    for path, tree in modules():
        found += [f"{relative(path)}:{node.lineno}" for node in ast.walk(tree) if isinstance(node, ast.Global)]
    assert found == []
