"""Fixtures of the end-to-end tests: a shop, a user's terminal there, and nothing left when a test is over."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.support.shop import Shop
from e2e.support.terminal import Terminal

from homeostat.adapters.worker_process import WorkerProver


@pytest.fixture(scope="session", autouse=True)
def ended_in_order() -> Iterator[None]:
    """Let whoever ends the whole run with SIGTERM (a time limit) end every process that it started, too."""
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=143))
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session", autouse=True)
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where no sandbox holds (which fails in CI): nothing can be proved there, so nothing can be played."""
    prover = WorkerProver(state_dir=tmp_path_factory.mktemp("state"))
    if not prover.holds():
        pytest.skip(f"no sandbox holds here: {[kind.remedy for kind in prover.isolation()]}")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop.found(tmp_path / "shop")


@pytest.fixture
def terminal(shop: Shop, tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(shop, tmp_path)
    yield terminal
    terminal.close()
