"""The repositories whose deployed trees are moved."""

from pathlib import Path

import pytest
from deployed_scene import Scene


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A scene that every test gets a copy of: making one takes three moves."""
    return Scene(tmp_path_factory.mktemp("model"))


@pytest.fixture
def plain(model: Scene, tmp_path: Path) -> Scene:
    return Scene(tmp_path, like=model)


@pytest.fixture
def linked(tmp_path: Path) -> Scene:
    """The deployed branch is checked out in a linked worktree, another one in the main checkout."""
    return Scene(tmp_path, linked=True)
