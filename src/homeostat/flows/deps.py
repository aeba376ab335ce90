"""What every flow is given. Built once, in `homeostat.hub.wiring`."""

from dataclasses import dataclass, field

from homeostat.flows.judgings import Judgings
from homeostat.flows.routing import Routing
from homeostat.model.settings import Settings
from homeostat.policy.authorization import Authorizer
from homeostat.policy.document import PolicyDocument
from homeostat.ports.clock import Clock, IdSource
from homeostat.ports.live import LiveProcesses
from homeostat.ports.measuring import Measures
from homeostat.ports.proving import Prover
from homeostat.ports.repository import (
    BackupStore,
    CandidateBranch,
    CommitMerger,
    CommitReader,
    DeployedTree,
    RecordBranch,
)
from homeostat.ports.restarting import Restarter
from homeostat.ports.starter import Starter
from homeostat.ports.store import (
    ActorStore,
    CanaryStore,
    FindingStore,
    LedgerStore,
    ProposalStore,
    RecordStore,
    VitalsStore,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """The world, as ports, and the settings and policy in force."""

    clock: Clock
    ids: IdSource
    settings: Settings
    policy: PolicyDocument
    authorizer: Authorizer
    repository_path: str
    proposals: ProposalStore
    records: RecordStore
    ledger: LedgerStore
    findings: FindingStore
    vitals: VitalsStore
    canaries: CanaryStore
    actors: ActorStore
    commits: CommitReader
    merger: CommitMerger
    candidates: CandidateBranch
    record_branch: RecordBranch
    deployed: DeployedTree
    backups: BackupStore
    prover: Prover
    live: LiveProcesses
    measures: Measures
    restarter: Restarter
    start: Starter
    routing: Routing = field(default_factory=Routing)
    """No port either: what this hub is asking just now."""

    judgings: Judgings = field(default_factory=Judgings)
    """No port: a memory that is filled again from `canaries` whenever it is lost."""
