"""The stores that the contracts are tried on."""

import pytest

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
            tmp_path / "homeostat.sqlite", signer=signer, clock=SteppingClock(), head_path=tmp_path / "ledger-head.json"
        )
    yield opened
    opened.close()
