from contextlib import contextmanager

import pytest
from hub_harness import BOT_TOKEN, Served

from homeostat.testing.world import WORLD_SETTINGS, World


@pytest.fixture
def serve(tmp_path):
    """Return a context manager that serves a world."""

    @contextmanager
    def make(settings=WORLD_SETTINGS):
        with Served(World(settings=settings), tmp_path) as served:
            yield served

    return make


@pytest.fixture
def served(serve):
    with serve() as running:
        yield running


@pytest.fixture
def owner(served):
    return served.client()


@pytest.fixture
def bot(served):
    return served.client(BOT_TOKEN)
