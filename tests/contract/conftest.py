"""The stores and repositories that the contracts are tried on."""

from pathlib import Path

import pytest
from empty_database import put_empty_database
from repository_worlds import World, git_world, memory_world

from homeostat.adapters.keys import Ed25519Signer
from homeostat.adapters.store import SqlStore
from homeostat.testing.example_rows import SteppingClock
from homeostat.testing.memory_store import MemoryStore


@pytest.fixture(scope="session")
def signer():
    return Ed25519Signer.generate()


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path, signer):
    if request.param == "memory":
        opened = MemoryStore(clock=SteppingClock(), signer=signer)
    else:
        opened = SqlStore.open(
            put_empty_database(tmp_path / "homeostat.sqlite"),
            signer=signer,
            clock=SteppingClock(),
            head_path=tmp_path / "ledger-head.json",
        )
    yield opened
    opened.close()


@pytest.fixture(params=["memory", "git-sha1", "git-sha256"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    kind = str(request.param)
    return memory_world() if kind == "memory" else git_world(tmp_path, kind.removeprefix("git-"))
