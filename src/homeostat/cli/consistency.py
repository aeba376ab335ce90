"""What `homeostat doctor` says of the invariants, with the hub up or down."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from homeostat.adapters.settings import LoadedSettings
from homeostat.cli.hub_client import HubClient
from homeostat.cli.place import Place
from homeostat.core.errors import Unavailable
from homeostat.core.ids import ProcessId
from homeostat.model.process import HostProcess
from homeostat.rollout.invariants import Observed, Violation, violations


def violated(place: Place, loaded: LoadedSettings) -> tuple[Violation, ...]:
    """Look at rows, ledger, Git, checkout, backups and, where a hub is up, processes; change nothing."""
    processes: Callable[[], Sequence[HostProcess]] | None = None
    if place.running_hub() is not None:
        client = HubClient(place, timeout_s=10)
        processes = lambda: [_process(item) for item in client.get("/api/processes")["processes"]]  # noqa: E731
    return violations(_look(place, loaded, processes))


def _look(place: Place, loaded: LoadedSettings, processes: Callable[[], Sequence[HostProcess]] | None) -> Observed:
    from homeostat.adapters.backups import FolderBackupStore
    from homeostat.adapters.clock import SystemClock
    from homeostat.adapters.git.candidate import GitCandidateBranch
    from homeostat.adapters.git.deployed import GitDeployedTree
    from homeostat.adapters.git.index_lock import left_lock
    from homeostat.adapters.git.reader import GitCommitReader
    from homeostat.adapters.git.repository import open_repository
    from homeostat.adapters.keys import load_verifier
    from homeostat.adapters.store.store import SqlStore
    from homeostat.flows.surveying import Places, survey

    git = open_repository(place.repository)
    branch = git.deployed_branch(loaded.settings.host.deployed_branch)
    clock = SystemClock()
    store = SqlStore.open(
        place.state_dir / "homeostat.sqlite",
        signer=load_verifier(place.state_dir),
        clock=clock,
        head_path=place.state_dir / "ledger-head.json",
        unsafe_skip_head_check=True,
        read_only=True,
    )

    def lock() -> str:
        checkout = git.checkout_of(branch)
        return "" if checkout is None else left_lock(checkout.git_dir)

    try:
        return survey(
            Places(
                proposals=store.proposals,
                records=store.records,
                ledger=store.ledger,
                commits=GitCommitReader(git, deployed_branch=branch),
                candidates=GitCandidateBranch(git),
                deployed=GitDeployedTree(git, deployed_branch=branch),
                backups=FolderBackupStore(place.state_dir / "backups"),
            ),
            now=clock.now,
            processes=processes,
            lock=lock,
            proof_takes=timedelta(seconds=loaded.settings.proof.timeout_s),
        )
    finally:
        store.close()


def _process(told: dict[str, Any]) -> HostProcess:
    try:
        facts = {**told, "id": ProcessId(told["id"]), "started_at": datetime.fromisoformat(told["started_at"])}
        return HostProcess(**{**facts, "changes": tuple(told["changes"])})
    except (KeyError, TypeError, ValueError) as error:
        raise Unavailable("hub-lost", f"the hub describes a process in a way that is not known: {error}") from error
