"""What every flow is given. Built once, in `homeostat.hub.wiring`."""

from dataclasses import dataclass
from typing import Protocol

from homeostat.core.ids import ProposalId
from homeostat.model.settings import Settings
from homeostat.policy.document import PolicyDocument
from homeostat.ports.clock import Clock, IdSource
from homeostat.ports.live import LiveProcesses
from homeostat.ports.proving import Prover
from homeostat.ports.repository import BackupStore, CandidateBranch, CommitReader, DeployedTree, RecordBranch
from homeostat.ports.store import (
    ActorStore,
    FindingStore,
    LedgerStore,
    ProposalStore,
    RecordStore,
    VitalsStore,
)


class Starter(Protocol):
    """Starts the durable workflow of an event. Returns at once; starting twice starts one."""

    def submitted(self, proposal_id: ProposalId, version: int) -> None: ...

    def approved(self, proposal_id: ProposalId, version: int) -> None: ...

    def revert_asked(self, proposal_id: ProposalId, version: int) -> None: ...

    def judged(self, proposal_id: ProposalId, version: int) -> None: ...

    def changed(self, proposal_id: ProposalId, version: int) -> None:
        """The row changed: bring Git up to it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """The world, as ports, and the settings and policy in force."""

    clock: Clock
    ids: IdSource
    settings: Settings
    policy: PolicyDocument
    repository_path: str
    proposals: ProposalStore
    records: RecordStore
    ledger: LedgerStore
    findings: FindingStore
    vitals: VitalsStore
    actors: ActorStore
    commits: CommitReader
    candidates: CandidateBranch
    record_branch: RecordBranch
    deployed: DeployedTree
    backups: BackupStore
    prover: Prover
    live: LiveProcesses
    start: Starter
