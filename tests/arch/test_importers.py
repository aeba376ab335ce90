"""What only one part may import, and what the agent may import at all."""

import ast
import sys

from arch.source import modules, relative

ONLY_IMPORTERS = {
    "dbos": ("src/homeostat/adapters/durable.py",),
    "sqlalchemy": ("src/homeostat/adapters/store/", "src/homeostat/adapters/durable.py"),
    "alembic": ("src/homeostat/adapters/store/",),
    "cryptography": ("src/homeostat/adapters/keys.py", "src/homeostat/audit/notes.py"),
    "fastapi": ("src/homeostat/hub/",),
    "typer": ("src/homeostat/cli/",),
}
"""Library → the modules and folders that may know it (docs/adr/0004 for `dbos`)."""


def _imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.partition(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0], node.lineno


def test_a_library_is_known_only_to_the_part_that_wraps_it():
    found, seen = [], set()
    for path, tree in modules():
        place = relative(path)
        for name, line in _imports(tree):
            if name in ONLY_IMPORTERS:
                seen.add(name)
                if not place.startswith(ONLY_IMPORTERS[name]):
                    found.append(f"{place}:{line}: {name}")
    assert found == []
    assert seen == set(ONLY_IMPORTERS), "a library that nobody imports any more is still listed"


def test_the_agent_imports_the_standard_library_and_itself_only():
    # `sitecustomize` is the host's own one, which ours stands in front of and lets run.
    allowed = sys.stdlib_module_names | {"homeostat_agent", "sitecustomize"}
    found = [
        f"{relative(path)}:{line}: {name}"
        for path, tree in modules()
        if "homeostat_agent" in path.parts
        for name, line in _imports(tree)
        if name not in allowed
    ]
    assert found == []
