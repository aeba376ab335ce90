"""The repository in memory dies, fails and lies as the real one does."""

from contextlib import suppress

import pytest
from builders import state
from deployed_scene import AT, CHANGE, FILES, SCRIPT

from homeostat.core.errors import OutcomeUnknown, Unavailable
from homeostat.core.ids import CommitId
from homeostat.testing.memory_repository import (
    Fault,
    MemoryDeployedTree,
    MemoryRepository,
    SimulatedDeath,
)


def memory() -> tuple[MemoryRepository, CommitId, CommitId]:
    repository = MemoryRepository()
    files = {path: state(content) for path, content in FILES.items()}
    base = repository.user_commit({**files, "run.sh": SCRIPT.before}, at=AT)
    commit = MemoryDeployedTree(repository).prepare(parent=base, change=CHANGE, message="apply", at=AT)
    return repository, base, commit


@pytest.mark.parametrize("step", range(10))
@pytest.mark.parametrize("then", ["advance", "retreat"])
def test_the_repository_in_memory_dies_and_recovers_in_the_same_way(step: int, then: str) -> None:
    repository, base, commit = memory()
    before = dict(repository.disk)
    deployed = MemoryDeployedTree(repository)
    repository.faults.die_after_steps = step
    with suppress(SimulatedDeath):
        deployed.advance(expected=base, commit=commit, change=CHANGE)
    repository.faults.die_after_steps = None
    getattr(deployed, then)(expected=base, commit=commit, change=CHANGE)
    done = then == "advance"
    assert repository.branches["main"] == (commit if done else base)
    assert (repository.disk == before) is not done
    assert repository.index == repository.disk


@pytest.mark.parametrize("fault", list(Fault))
def test_the_repository_in_memory_fails_without_doing_and_lies_after_doing(fault: Fault) -> None:
    repository, base, commit = memory()
    repository.faults.calls["advance"] = fault
    with pytest.raises((Unavailable, OutcomeUnknown)):
        MemoryDeployedTree(repository).advance(expected=base, commit=commit, change=CHANGE)
    assert repository.branches["main"] == (commit if fault is Fault.LIE else base)
    MemoryDeployedTree(repository).advance(expected=base, commit=commit, change=CHANGE)
    assert repository.branches["main"] == commit
