"""A hub over fakes, spoken to over HTTP as a client would; its flows run in a thread beside it."""

import threading
from dataclasses import replace

from starlette.testclient import TestClient

from homeostat.audit.credentials import credential_made
from homeostat.core.digests import digest_bytes
from homeostat.core.errors import Unavailable
from homeostat.flows.troubles import Troubles
from homeostat.hub.app import create_app
from homeostat.hub.context import HubContext
from homeostat.hub.measured_live import MeasuredLive
from homeostat.hub.metrics import HubMetrics
from homeostat.telemetry.otlp import CumulativeReader
from homeostat.testing.world import BOT, DIFF, OWNER

PROPOSALS = "/api/selfimprove/proposals"
APPLY = "/api/selfimprove/apply"
BATCH = "/api/selfimprove/batch-apply"
UNKNOWN = "00000000-0000-4000-8000-00000000dead"

OWNER_TOKEN = "hst_owner"
BOT_TOKEN = "hst_bot"


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


class FailingStore:
    """Any noun of the store, when the database cannot be reached."""

    def __getattr__(self, name):
        def fail(*_args, **_options):
            raise Unavailable("store-locked", "another process holds the database's lock: secret detail")

        return fail


class Served:
    """One world behind its HTTP interface. Use within `with`: its flows run as soon as they are started."""

    def __init__(self, world, state_dir):
        metrics = HubMetrics()
        world.deps = replace(world.deps, live=MeasuredLive(world.live, metrics))
        self.world = world
        self.context = HubContext(
            deps=world.deps,
            metrics=metrics,
            reader=CumulativeReader(),
            state_dir=state_dir,
            troubles=Troubles(),
            version="0",
            started_at=world.clock.now(),
        )
        self.app = create_app(self.context)
        self._stop = threading.Event()
        self._runner = threading.Thread(target=self._run, daemon=True)
        self.paused = threading.Event()
        self.failure = None
        for actor, token in ((OWNER, OWNER_TOKEN), (BOT, BOT_TOKEN)):
            digest = digest_bytes(token.encode())
            world.store.ledger.append(credential_made(actor.id, actor.role, digest))
            world.store.actors.create(actor=actor, token_digest=digest)

    def _run(self):
        while not self._stop.wait(0.001):
            if not self.paused.is_set():
                try:
                    self.world.run()
                except BaseException as error:  # shown by the test, at its end
                    self.failure = error
                    return

    def __enter__(self):
        self._runner.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._runner.join(10)
        assert self.failure is None, repr(self.failure)

    def client(self, token=OWNER_TOKEN, **headers):
        """Return a client with this token (None: without one). A crash is an answer, not an exception."""
        sent = {**(bearer(token) if token else {}), **headers}
        return TestClient(self.app, base_url="http://127.0.0.1:3001", headers=sent, raise_server_exceptions=False)

    def submit(self, diff=DIFF, *, token=BOT_TOKEN, **fields):
        """Hand a patch in and return its id, once it is validated (or, when paused, at once)."""
        body = {"title": "Mend", "rationale": "why", "diff": diff, **fields}
        answer = self.client(token).post(PROPOSALS, json=body)
        assert answer.status_code == 201, answer.text
        if not self.paused.is_set():
            self.settle()
        return answer.json()["proposal_id"]

    def settle(self):
        """Wait until no flow is queued and none is at work."""
        for _ in range(5000):
            if not self.world.starter.queue and self._idle():
                return
            threading.Event().wait(0.001)
        raise AssertionError("the flows did not come to rest")

    def _idle(self):
        counts = self.world.deps.proposals.count_by_state()
        return not any(counts.get(state) for state in ("pending", "validating", "applying", "reverting"))

    def row(self, identity):
        return self.world.deps.proposals.get(identity)

    def metric(self, name, **labels):
        return self.context.metrics.registry.get_sample_value(name, labels) or 0.0

    def without_store(self, *nouns):
        """Let these nouns of the store fail from now on."""
        for noun in nouns:
            object.__setattr__(self.context.deps, noun, FailingStore())
