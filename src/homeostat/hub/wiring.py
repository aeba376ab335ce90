"""The one place that joins the parts: settings and a state directory in, a running hub out."""

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from homeostat import __version__
from homeostat.adapters.agents.gateway import AgentGateway
from homeostat.adapters.agents.launch import sweep_launches
from homeostat.adapters.agents.socket_place import choose_socket_path
from homeostat.adapters.backups import FolderBackupStore
from homeostat.adapters.clock import HubClock, RandomIds
from homeostat.adapters.durable import DurableStarter
from homeostat.adapters.edited_files import DiskEditedFiles
from homeostat.adapters.git.candidate import GitCandidateBranch
from homeostat.adapters.git.deployed import GitDeployedTree
from homeostat.adapters.git.merging import GitCommitMerger
from homeostat.adapters.git.reader import GitCommitReader
from homeostat.adapters.git.records import GitRecordBranch
from homeostat.adapters.git.repository import GitRepository, open_repository
from homeostat.adapters.keys import Keys, load_or_create_keys
from homeostat.adapters.policies import load_authorizer
from homeostat.adapters.prometheus import NoPrometheus, Prometheus
from homeostat.adapters.state_lock import hold_state
from homeostat.adapters.store.store import SqlStore
from homeostat.adapters.supervising.client import SupervisorRestarter
from homeostat.adapters.supervising.command import CommandRestarter
from homeostat.adapters.worker_process import WorkerProver
from homeostat.audit.credentials import credential_made, is_bound, unlike_ledger
from homeostat.audit.head import TRAILER_KEY, compare_head
from homeostat.core.digests import digest_bytes
from homeostat.core.errors import HomeostatError, IntegrityFailure
from homeostat.core.ids import ActorId
from homeostat.flows.applying import apply
from homeostat.flows.deps import Deps
from homeostat.flows.ingesting import ingest_logs, ingest_vitals
from homeostat.flows.observing import last_evidence
from homeostat.flows.recovering import recover
from homeostat.flows.reloading import Reloading
from homeostat.flows.reverting import revert
from homeostat.flows.troubles import Troubles
from homeostat.flows.validating import validate
from homeostat.hub.context import HubContext
from homeostat.hub.isolation_watch import IsolationWatch
from homeostat.hub.measured_live import MeasuredLive
from homeostat.hub.metrics import HubMetrics
from homeostat.hub.reload_watch import ReloadWatch
from homeostat.hub.ticker import Ticker
from homeostat.model.actor import Actor, Role
from homeostat.model.finding import AGENTS
from homeostat.model.process import HostProcess
from homeostat.model.reload import ReloadReport
from homeostat.model.settings import Settings
from homeostat.policy.document import policy_in_force
from homeostat.ports.live import LiveProcesses
from homeostat.ports.measuring import Measures
from homeostat.ports.restarting import Restarter
from homeostat.telemetry.otlp import CumulativeReader
from homeostat.telemetry.own_word import OwnWord

_log = logging.getLogger(__name__)


def log_reload(report: ReloadReport) -> None:
    """Write what became of a developer's save to the log."""
    _log.info("[SI] %s", report.line())


class Hub:
    """A wired hub: `context` for the HTTP application, `close` to stop everything in order.

    Opening it takes the state directory for itself (`Conflict` ``hub-running`` when another hub has
    it), checks that the ledger is the one its witnesses know, opens the agents' door, and takes up
    what an earlier run left. When any step fails, the steps before it are undone.

    `wrap` may put something around the ports before anything uses them: a test that ends the process
    at a chosen call, a tracer. It gets and returns all of them. `tell` gets what became of each save of
    a developer, from a thread (`hmr.auto_reload`).
    """

    def __init__(
        self,
        *,
        settings: Settings,
        repository: Path,
        state_dir: Path,
        wrap: Callable[[Deps], Deps] = lambda deps: deps,
        tell: Callable[[ReloadReport], None] = log_reload,
    ) -> None:
        self._tell = tell
        with ExitStack() as undo:
            keys = load_or_create_keys(state_dir)
            undo.callback(hold_state(state_dir))
            self.context = self._wire(settings, repository, state_dir, keys, undo, wrap)
            self.agent_socket = choose_socket_path(state_dir)
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Stop the beat, the proofs, the flows, the agents' door and the store, in this order."""
        self._undo.close()

    def _wire(
        self,
        settings: Settings,
        repository: Path,
        state_dir: Path,
        keys: Keys,
        undo: ExitStack,
        wrap: Callable[[Deps], Deps],
    ) -> HubContext:
        clock, ids = HubClock(), RandomIds()
        git = open_repository(repository)
        store = _open_store(state_dir, keys, clock, undo)
        _check_witnesses(store, GitRecordBranch(git))
        _register_owner(store, keys, ids.new_uuid)
        troubles, metrics = Troubles(), HubMetrics()
        words = OwnWord()

        gateway = AgentGateway(
            socket_path=choose_socket_path(state_dir),
            master_key=keys.agent_key,
            clock=clock,
            on_telemetry=lambda kind, body, process: _take(deps, metrics, words, ticker, kind, body, process),
            on_processes_changed=lambda: ticker.wake(),
        )
        starter = DurableStarter(
            database=state_dir / "flows.sqlite",
            handlers={
                "submitted": lambda proposal_id: validate(deps, proposal_id),
                "apply_asked": lambda proposal_id: apply(deps, proposal_id),
                "revert_asked": lambda proposal_id: revert(deps, proposal_id),
            },
            on_outcome=troubles.note_flow,
            new_id=ids.new_uuid,
        )
        live = MeasuredLive(gateway, metrics)
        deps = wrap(_deps(settings, clock, git, store, state_dir, keys, live, starter))
        ticker = Ticker(deps, troubles, chores={"sweeping launches": partial(_sweep, state_dir, gateway)})
        store.ledger.subscribe(ticker.stir)  # a row was written: its record, or its watch, may be due
        gateway.start()
        undo.callback(gateway.close)
        starter.launch()
        undo.callback(starter.close)
        isolation = IsolationWatch(deps.prover, troubles)
        undo.callback(isolation.close)
        undo.callback(deps.prover.close)  # first, or the flows would be waited for as long as tests may run
        _take_up(deps, troubles)
        isolation.start()
        ticker.start()
        undo.callback(deps.measures.close)
        undo.callback(ticker.close)
        return HubContext(
            deps=deps,
            metrics=metrics,
            reader=CumulativeReader(),
            state_dir=state_dir,
            troubles=troubles,
            version=__version__,
            started_at=clock.now(),
            reloading=_follow_saves(deps, gateway, git, troubles, self._tell, undo),
        )


def _open_store(state_dir: Path, keys: Keys, clock: HubClock, undo: ExitStack) -> SqlStore:
    database, head = state_dir / "homeostat.sqlite", state_dir / "ledger-head.json"
    store = SqlStore.open(database, signer=keys.signer, clock=clock, head_path=head)
    undo.callback(store.close)
    return store


def _deps(
    settings: Settings,
    clock: HubClock,
    git: GitRepository,
    store: SqlStore,
    state_dir: Path,
    keys: Keys,
    live: LiveProcesses,
    starter: DurableStarter,
) -> Deps:
    # Where none is configured, the branch that is checked out now is the one that runs, whatever the
    # user looks at later.
    branch = git.deployed_branch(settings.host.deployed_branch)
    authorizer = load_authorizer(state_dir)
    deps = Deps(
        clock=clock,
        ids=RandomIds(),
        settings=settings,
        policy=policy_in_force(settings.policy, authorization=authorizer.digest),
        authorizer=authorizer,
        repository_path=str(git.root),
        proposals=store.proposals,
        records=store.records,
        ledger=store.ledger,
        findings=store.findings,
        vitals=store.vitals,
        canaries=store.canaries,
        actors=store.actors,
        commits=GitCommitReader(git, deployed_branch=branch),
        merger=GitCommitMerger(git),
        candidates=GitCandidateBranch(git),
        record_branch=GitRecordBranch(git),
        deployed=GitDeployedTree(git, deployed_branch=branch, must_be_checked_out=not settings.host.deployed_branch),
        backups=FolderBackupStore(state_dir / "backups"),
        prover=WorkerProver(state_dir=state_dir, public_key=keys.worker.public_key()),
        live=live,
        measures=_measures(settings),
        restarter=_restarter(settings, git, state_dir),
        start=starter,
    )
    _go_on_from(last_evidence(deps), clock)
    return deps


def _go_on_from(latest: datetime | None, clock: HubClock) -> None:
    if latest is None:
        return
    clock.not_before(latest)
    lead = clock.lead()
    if lead:
        _log.warning("[SI] the machine's clock was set back: the hub's time is %.0f s ahead", lead.total_seconds())


def _follow_saves(
    deps: Deps,
    gateway: AgentGateway,
    git: GitRepository,
    troubles: Troubles,
    tell: Callable[[ReloadReport], None],
    undo: ExitStack,
) -> Reloading | None:
    """Follow what a developer saves, where the settings say so."""
    if not deps.settings.hmr.auto_reload:
        return None
    reloading = Reloading(deps, gateway, DiskEditedFiles(git.root), tell=tell)
    watch = ReloadWatch(reloading, troubles)
    watch.start()
    undo.callback(watch.close)
    return reloading


def _measures(settings: Settings) -> Measures:
    url = settings.detectors.prometheus_url
    return Prometheus(url) if url and settings.detectors.enabled else NoPrometheus()


def _restarter(settings: Settings, git: GitRepository, state_dir: Path) -> Restarter:
    if settings.restart.command:
        return CommandRestarter(settings.restart.command, folder=git.root)
    return SupervisorRestarter(state_dir)


def _take(
    deps: Deps,
    metrics: HubMetrics,
    words: OwnWord,
    ticker: Ticker,
    kind: str,
    body: Mapping[str, Any],
    process: HostProcess,
) -> None:
    """Take in what an agent that proved its key told."""
    if kind == "logs":
        done = ingest_logs(deps, body, source=AGENTS, process_id=process.id)
    else:
        done = ingest_vitals(deps, body, process_id=process.id, words=words)
        if done.tried:
            ticker.hear()
    metrics.ingested.labels(kind, "accepted").inc(done.accepted)
    metrics.ingested.labels(kind, "rejected").inc(done.rejected)


def _take_up(deps: Deps, troubles: Troubles) -> None:
    try:
        recover(deps)
    except HomeostatError as error:
        # A stale lock in Git, say. The beat tries again, and a hub that is up can be asked what it lacks.
        troubles.note_error("recovering", error)


def _sweep(state_dir: Path, gateway: AgentGateway) -> None:
    sweep_launches(state_dir, in_use=gateway.launch_ids())


def _check_witnesses(store: SqlStore, records: GitRecordBranch) -> None:
    """Refuse to write onto a ledger that Git knows to have been longer or different."""
    report = compare_head(
        store.ledger.head(),
        None,
        records.trailers(TRAILER_KEY),
        hash_at=store.ledger.hash_at,
        verify=lambda message, signature: False,  # trailers carry no signature; the head file was checked at opening
        restored=store.ledger.restorations(),
    )
    if report.tampering:
        worst = report.tampering[0]
        raise IntegrityFailure(
            "ledger-truncated",
            f"the ledger is not the one that Git has seen: {worst.detail}",
            hint="an older database was put back, or entries were cut off: see `homeostat verify`. To begin a "
            "new ledger on purpose, put the old records aside: git branch -m homeostat/proposals old-proposals",
        )


def _register_owner(store: SqlStore, keys: Keys, new_id: Callable[[], str]) -> None:
    digest = digest_bytes(keys.owner_token.encode("ascii"))
    owner = store.actors.by_token(digest)
    if owner is None:
        identity = ActorId(f"person-{new_id().replace('-', '')[:12]}")
        # The entry first: an owner without one is what `homeostat verify` takes for tampering.
        store.ledger.append(credential_made(identity, Role.OWNER, digest))
        store.actors.create(actor=Actor(id=identity, role=Role.OWNER, name="owner"), token_digest=digest)
    elif owner.is_person:
        entries = store.ledger.entries(subject=owner.id)
        if not is_bound(owner.id, entries) and not unlike_ledger(owner, digest, entries):
            # Made when entries did not name the token yet: bound from now on.
            store.ledger.append(credential_made(owner.id, Role.OWNER, digest))
