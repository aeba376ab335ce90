"""A whole hub in memory: real flows over fakes, on a clock that the test owns.

The flows cannot tell. Started workflows are queued and run when the test says so, so that a test
decides what happens between two steps; `homeostat.testing.faults` gives the same world to a hub that
fails or dies at a chosen call, and the world that is left is what the next hub finds.
"""

from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from homeostat.core.ids import ActorId, CommitId, ProcessId, ProposalId
from homeostat.flows.applying import apply
from homeostat.flows.deps import Deps
from homeostat.flows.recovering import recover
from homeostat.flows.reverting import revert
from homeostat.flows.surveying import Places, survey
from homeostat.flows.validating import validate
from homeostat.model.actor import Actor, Role
from homeostat.model.canary import ArmTick, ProcessTick, Shadowed, ShadowOutcome, ShadowTick
from homeostat.model.change import REGULAR, FileState
from homeostat.model.process import HostProcess
from homeostat.model.settings import (
    CanarySettings,
    HmrSettings,
    HostSettings,
    ObservationSettings,
    PolicySettings,
    Settings,
)
from homeostat.model.vitals import LATENCY_BOUNDS_MS, RouteVitals, VitalsTick
from homeostat.policy.document import policy_in_force
from homeostat.ports.clock import Clock
from homeostat.rollout.invariants import Observed, Violation, violations
from homeostat.testing.example_rows import SteppingClock
from homeostat.testing.fake_live import FakeLive
from homeostat.testing.fake_measures import FakeMeasures
from homeostat.testing.fake_prover import FakeProver
from homeostat.testing.fake_restarter import FakeRestarter
from homeostat.testing.memory_repository import (
    MemoryBackupStore,
    MemoryCandidateBranch,
    MemoryCommitMerger,
    MemoryCommitReader,
    MemoryDeployedTree,
    MemoryRecordBranch,
    MemoryRepository,
)
from homeostat.testing.memory_store import MemoryStore
from homeostat.testing.policies import BUILT_IN_POLICIES

SOURCE = "def price(coupon):\n    return PRICES[coupon]\n\n\nPRICES = {'A': 1}\n"
MENDED = SOURCE.replace("PRICES[coupon]", "PRICES.get(coupon, 0)")
DIFF = (
    "--- a/shop.py\n+++ b/shop.py\n@@ -1,5 +1,5 @@\n def price(coupon):\n"
    "-    return PRICES[coupon]\n+    return PRICES.get(coupon, 0)\n \n \n PRICES = {'A': 1}\n"
)

OWNER = Actor(id=ActorId("person-00000000000a"), role=Role.OWNER, name="Ada")
BOT = Actor(id=ActorId("agent-00000000000b"), role=Role.AGENT, name="fixer")
PROCESS = ProcessId("00000000-0000-4000-8000-000000000001")

WORLD_SETTINGS = Settings(
    host=HostSettings(python="/usr/bin/python3", test_command=("python3", "-m", "pytest")),
    hmr=HmrSettings(enabled=True),
    observation=ObservationSettings(window_s=60, baseline_s=60, min_requests=20),
    canary=CanarySettings(steps=()),
)


class QueuedStarter:
    """`homeostat.ports.starter.Starter` that queues each event; `World.run` works the queue off."""

    def __init__(self) -> None:
        self.queue: deque[tuple[str, ProposalId]] = deque()

    def submitted(self, proposal_id: ProposalId, *, retry: bool = False) -> None:
        self.queue.append(("submitted", proposal_id))

    def apply_asked(self, proposal_id: ProposalId, *, retry: bool = False) -> None:
        self.queue.append(("apply_asked", proposal_id))

    def revert_asked(self, proposal_id: ProposalId, *, retry: bool = False) -> None:
        self.queue.append(("revert_asked", proposal_id))


class CountedIds:
    """Ids in order, the same in every run."""

    def __init__(self) -> None:
        self._made = 0

    def new_uuid(self) -> str:
        self._made += 1
        return f"00000000-0000-4000-8000-{self._made:012x}"


class World:
    """One repository with one program, one process that runs it, and one hub."""

    def __init__(
        self, *, settings: Settings = WORLD_SETTINGS, longest_wait_s: float = 0.01, hub_clock: Clock | None = None
    ) -> None:
        self.clock = SteppingClock()
        self.store = MemoryStore(clock=hub_clock or self.clock)
        self.repository = MemoryRepository()
        self.live = FakeLive(longest_wait_s=longest_wait_s)
        self.measures = FakeMeasures()
        self.prover = FakeProver()
        self.restarter = FakeRestarter()
        self.starter = QueuedStarter()
        self.backups = MemoryBackupStore(self.repository.faults)
        base = self.repository.user_commit({"shop.py": file(SOURCE)}, at=self.clock.now())
        self.live.attach(self.process(commit=base), loaded={"shop.py": SOURCE})
        self.deps = Deps(
            clock=hub_clock or self.clock,
            ids=CountedIds(),
            settings=settings,
            policy=policy_in_force(PolicySettings(), authorization=BUILT_IN_POLICIES.digest),
            authorizer=BUILT_IN_POLICIES,
            repository_path="/srv/shop",
            proposals=self.store.proposals,
            records=self.store.records,
            ledger=self.store.ledger,
            findings=self.store.findings,
            vitals=self.store.vitals,
            canaries=self.store.canaries,
            actors=self.store.actors,
            commits=MemoryCommitReader(self.repository),
            merger=MemoryCommitMerger(self.repository),
            candidates=MemoryCandidateBranch(self.repository),
            record_branch=MemoryRecordBranch(self.repository),
            deployed=MemoryDeployedTree(self.repository),
            backups=self.backups,
            prover=self.prover,
            live=self.live,
            measures=self.measures,
            restarter=self.restarter,
            start=self.starter,
        )

    def process(self, *, identity: str = PROCESS, commit: CommitId | None = None) -> HostProcess:
        """Describe a process that started now."""
        return HostProcess(
            id=ProcessId(identity),
            pid=4711,
            started_at=self.clock.now(),
            python="3.11.7",
            command="python3",
            commit=commit,
            hmr_enabled=True,
            generation=0,
            changes=(),
            connected=True,
        )

    def run(self, deps: Deps | None = None) -> None:
        """Work off what was started, also what that starts."""
        handlers: dict[str, Callable[[Deps, ProposalId], None]] = {
            "submitted": validate,
            "apply_asked": apply,
            "revert_asked": revert,
        }
        while self.starter.queue:
            name, proposal_id = self.starter.queue.popleft()
            handlers[name](deps or self.deps, proposal_id)

    def restart(self) -> None:
        """Let a new hub find what the last one left: nothing in memory, everything in store and repository."""
        self.starter.queue.clear()
        self.repository.faults.die_after_steps = None
        recover(self.deps)
        self.run()

    def violations(self, deps: Deps | None = None) -> tuple[Violation, ...]:
        """Check the invariants that `homeostat doctor` checks."""
        return violations(self.observed(deps))

    def observed(self, deps: Deps | None = None) -> Observed:
        """Look at everything as if a day later, when nothing is excused by being under way."""
        deps = deps or self.deps
        return survey(
            Places(
                proposals=deps.proposals,
                records=deps.records,
                ledger=deps.ledger,
                commits=deps.commits,
                candidates=deps.candidates,
                deployed=deps.deployed,
                backups=deps.backups,
            ),
            now=lambda: deps.clock.now() + timedelta(days=1),
            processes=deps.live.processes,
        )

    def serve(self, *, seconds: int, requests: int, errors: int, slow: int = 0, serves: bool = False) -> None:
        """Let the process serve so many requests (of which so many fail, or take seconds) in each of so many seconds.

        `serves`: it is a service that says so, whether anybody asks or not.
        """
        for _ in range(seconds):
            start: datetime = self.clock.now()
            self.clock.move(timedelta(seconds=1))
            times = [0] * (len(LATENCY_BOUNDS_MS) + 1)
            times[LATENCY_BOUNDS_MS.index(50)], times[LATENCY_BOUNDS_MS.index(5000)] = requests - slow, slow
            route = RouteVitals(requests=requests, errors=errors, latency_ms_sum=1.0, latency_ms_buckets=tuple(times))
            tick = VitalsTick(
                process_id=PROCESS,
                start=start,
                end=self.clock.now(),
                routes={"/price": route} if requests else {},
                errors_logged=errors,
                serves=serves,
            )
            self.store.vitals.record_ticks([tick])

    def try_out(self, change_id: ProposalId, *, seconds: int, calls: int, failed: int = 0) -> None:
        """Let so many calls of a canary be made in each of so many seconds, of whose new arm so many fail."""
        for _ in range(seconds):
            start = self.clock.now()
            self.clock.move(timedelta(seconds=1))
            percent = self.live.share(PROCESS, change_id)
            new = calls * percent // 100
            hit = min(failed, new)
            tick = ProcessTick(
                change_id=change_id,
                process_id=PROCESS,
                start=start,
                end=self.clock.now(),
                percent=percent,
                control=ArmTick(units=calls - new, latency={-60: calls - new}),
                canary=ArmTick(units=new, failures={"ValueError": hit} if hit else {}, latency={-60: new}),
            )
            self.store.canaries.record([tick])

    def compare(self, change_id: ProposalId, *, seconds: int, found: Mapping[ShadowOutcome, int]) -> None:
        """Let so many calls be compared on copies of their arguments in each of so many seconds, with this outcome."""
        for _ in range(seconds):
            start = self.clock.now()
            self.clock.move(timedelta(seconds=1))
            routed = self.live.routed(PROCESS).get(change_id)
            functions = routed.share.shadowed[:1] if routed is not None and not routed.share.percent else ()
            calls = {
                Shadowed(function=function, outcome=outcome): count
                for function in functions
                for outcome, count in found.items()
            }
            tick = ProcessTick(
                change_id=change_id,
                process_id=PROCESS,
                start=start,
                end=self.clock.now(),
                percent=0,
                control=ArmTick(),
                canary=ArmTick(),
                shadow=ShadowTick(calls=calls, control_s=0.001, canary_s=0.002),
            )
            if calls:
                self.store.canaries.record([tick])


def file(text: str) -> FileState:
    """Return a regular file with this text."""
    return FileState(content=text.encode(), mode=REGULAR)
