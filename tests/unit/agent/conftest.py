"""The host's repository that the agent is tried in."""

import pytest
from agents_harness import Place


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)
