"""Public vectors, which are no part of the project: they lie beside it, and are skipped, saying so, where they are not.

In CI a skipped test fails (`conftest.py`), so there they are.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

_FOLDER = Path(os.environ.get("HOMEOSTAT_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")


def vectors(name: str) -> Any:
    """Return what the file of this name below the folder holds, or skip the test."""
    path = _FOLDER / name
    if not path.is_file():
        pytest.skip(f"no public vectors at {path}")
    return json.loads(path.read_text(encoding="utf-8"))
