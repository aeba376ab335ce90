"""Durable starts of short flows, on DBOS with SQLite.

A workflow here is one idempotent handler named after its event. DBOS writes the start down before
the handler runs and runs it again after a crash; the row says what is left to do. Proofs run one at a
time, because each keeps a machine busy; so do applying and reverting, because there is one deployed
tree: what one has looked at, no other may move before it is done. There is no queue: pending rows
are the queue, and a polled one would keep an idle hub busy.

Traps that this module answers (measured, see docs/adr/0004): SQLite is opened in WAL with full
synchronisation by our own engine; arguments are portable JSON, never pickle; `executor_id` and
`application_version` are fixed, so that a restart takes its own work up again.
"""

import logging
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dbos._dbos as dbos_threads
import sqlalchemy as sa
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID
from sqlalchemy import event

from homeostat.adapters.flows_file import check_flows
from homeostat.adapters.store.failures import translated
from homeostat.core.errors import Conflict, HomeostatError
from homeostat.core.ids import ProposalId

_log = logging.getLogger(__name__)

Handler = Callable[[ProposalId], None]

_MAX_WAITING_PROOFS = 8
"""Proofs that hold a thread while they wait; beyond that the row waits for the next recovery round."""

_SQLITE_WITH_SUBSEC = (3, 42, 0)
"""On Python 3.12 and later DBOS takes it for granted, but Python runs with what the system has (Debian 12: 3.40)."""

_UNUSED = ("background_jobs_thread", "dynamic_scheduler_loop")
"""Loops of DBOS that ask the database every second for delays, deadlines and schedules. There are none here, and no
setting keeps them from asking. Its queue stays, although we use none: recovery goes through it."""

_POLL_S = 30.0
"""How often that queue is asked once recovery has had its time: by itself DBOS asks it every second, which is half
of what an idle hub does. Nothing but recovery, at the start, ever puts anything there."""

_RECOVERY_S = 10.0

_APPLICATION_VERSION = "1"
"""Counted up only when handlers of an old version could not finish the work of the new one."""


class DurableStarter:
    """Implements `homeostat.ports.starter.Starter`.

    One per process: DBOS keeps a global instance. `handlers` maps the events ``submitted``,
    ``apply_asked`` and ``revert_asked`` to flows. `on_outcome` is told of every handler that ended, with
    what it raised or None, so that the hub can show trouble; the row of one that raised stays as it is,
    and recovery tries again at its next round. Only a handler that found its row changed by somebody
    else (`Conflict` ``stale-row``) ends without a word: whoever changed it goes on from there.
    """

    def __init__(
        self,
        *,
        database: Path,
        handlers: Mapping[str, Handler],
        on_outcome: Callable[[str, ProposalId, Exception | None], None],
        new_id: Callable[[], str],
        recovery_s: float = _RECOVERY_S,
    ) -> None:
        self._handlers = dict(handlers)
        self._on_outcome = on_outcome
        self._new_id = new_id
        self._busy: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._busy_guard = threading.Lock()
        self._proof_turn = threading.Lock()
        self._tree_turn = threading.Lock()
        self._waiting_proofs = 0
        check_flows(database)
        self._engine = open_engine(database)
        config: DBOSConfig = {
            "name": "homeostat",
            "system_database_url": f"sqlite:///{database}",
            "system_database_engine": self._engine,
            "serializer": DBOSPortableJSONSerializer(),
            "application_version": _APPLICATION_VERSION,
            "executor_id": "hub",
            "log_level": "ERROR",
            "notification_listener_polling_interval_sec": 1.0,
            "scheduler_polling_interval_sec": 3600.0,
        }
        self._dbos = DBOS(config=config)
        self._calming = threading.Timer(recovery_s, self._calm_down)
        self._calming.daemon = True

        def handle_event(name: str, proposal_id: str) -> str:
            return self._handle(name, proposal_id)

        self._workflow = DBOS.workflow(name="handle_event")(handle_event)

    def launch(self) -> None:
        """Start DBOS; interrupted workflows of an earlier run are taken up at once."""
        for unused in _UNUSED:
            assert hasattr(dbos_threads, unused), f"DBOS has no {unused} any more: see how it keeps still now"
            setattr(dbos_threads, unused, _rest)
        DBOS.launch()
        self._calming.start()

    def close(self) -> None:
        """Stop starting workflows, give running ones a moment, and close the database."""
        self._calming.cancel()
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=5)
        self._engine.dispose()

    def submitted(self, proposal_id: ProposalId, *, retry: bool = False) -> None:
        if self._waiting_proofs < _MAX_WAITING_PROOFS:
            self._start("submitted", proposal_id, retry)

    def apply_asked(self, proposal_id: ProposalId, *, retry: bool = False) -> None:
        self._start("apply_asked", proposal_id, retry)

    def revert_asked(self, proposal_id: ProposalId, *, retry: bool = False) -> None:
        self._start("revert_asked", proposal_id, retry)

    def _calm_down(self) -> None:
        queue = self._dbos._registry.get_internal_queue()
        assert queue.polling_interval_sec, "DBOS's queue has no interval any more: see how it keeps still now"
        queue._polling_interval_sec = _POLL_S

    def _start(self, name: str, proposal_id: ProposalId, retry: bool) -> None:
        if retry and self._is_busy(proposal_id):
            return
        # The row was written before and says what is due: what could not be started, recovery starts.
        # Each start has an id of its own: the same event comes again in a proposal's life (applying goes on after a
        # canary), and DBOS runs no id a second time.
        with translated(committing=True), SetWorkflowID(f"{name}:{proposal_id}:{self._new_id()}"):
            DBOS.start_workflow(self._workflow, name, proposal_id)

    def _is_busy(self, proposal_id: ProposalId) -> bool:
        with self._busy_guard:
            return self._busy[proposal_id].locked()

    @contextmanager
    def _turn(self, name: str) -> Iterator[None]:
        if name != "submitted":
            with self._tree_turn:
                yield
            return
        self._count_proof(1)
        try:
            with self._proof_turn:
                yield
        finally:
            self._count_proof(-1)

    def _count_proof(self, step: int) -> None:
        with self._busy_guard:
            self._waiting_proofs += step

    def _handle(self, name: str, proposal_id: str) -> str:
        with self._busy_guard:
            lock = self._busy[proposal_id]
        # INVARIANT: flows of one proposal exclude each other within the hub.
        with lock, self._turn(name):
            try:
                DBOS.run_step({"name": name}, self._handlers[name], ProposalId(proposal_id))
            except HomeostatError as error:
                if isinstance(error, Conflict) and error.code == "stale-row":
                    _log.info("[SI] %s of %s gave way: %s", name, proposal_id, error)
                    return "gave way"
                self._on_outcome(name, ProposalId(proposal_id), error)
                return f"failed: {error.code}"
            except Exception as error:  # a process edge: recorded, shown, and tried again by recovery
                _log.exception("[SI] %s of %s failed", name, proposal_id)
                self._on_outcome(name, ProposalId(proposal_id), error)
                return f"failed: {type(error).__name__}"
        self._on_outcome(name, ProposalId(proposal_id), None)
        return "done"


def _rest(stop: threading.Event, *_: object) -> None:
    """Do what an unused loop does, without asking the database: nothing, until it is stopped."""
    stop.wait()


def open_engine(database: Path) -> sa.Engine:
    """Open the database of the flows, which DBOS and nobody else uses."""
    engine = sa.create_engine(f"sqlite:///{database}", connect_args={"timeout": 30, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
        if sqlite3.sqlite_version_info < _SQLITE_WITH_SUBSEC:
            connection.create_function("unixepoch", 1, _unixepoch)

    return engine


def _unixepoch(moment: object) -> float | None:
    """Stand in for SQLite's own where it is too old to know ``subsec``: DBOS asks for nothing else."""
    return time.time_ns() // 1_000_000 / 1000 if moment == "subsec" else None
