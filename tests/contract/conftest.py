"""The stores that the contracts are tried on."""

import pytest

from homeostat.adapters.keys import Ed25519Signer
from homeostat.adapters.store import SqlStore
from homeostat.testing.example_rows import (
    SteppingClock,
)
from homeostat.testing.memory_store import MemoryStore

SIGNER = Ed25519Signer.generate()


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    if request.param == "memory":
        opened = MemoryStore(clock=SteppingClock(), signer=SIGNER)
    else:
        opened = SqlStore.open(
            tmp_path / "homeostat.sqlite", signer=SIGNER, clock=SteppingClock(), head_path=tmp_path / "ledger-head.json"
        )
    yield opened
    opened.close()
