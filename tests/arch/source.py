"""The source tree as the architecture tests read it."""

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = (ROOT / "src" / "homeostat", ROOT / "agent" / "src" / "homeostat_agent")


@functools.cache
def modules() -> tuple[tuple[Path, ast.Module], ...]:
    """Return every module with its syntax tree, to be looked at and not to be changed: all tests get the same ones."""
    paths = [path for folder in SOURCES for path in sorted(folder.rglob("*.py")) if "orders" not in path.parts]
    return tuple((path, ast.parse(path.read_text(encoding="utf-8"))) for path in paths)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
