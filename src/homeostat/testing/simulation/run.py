"""One run: a seed makes a world, its weather and everybody in it; time passes; the oracle judges."""

import random
import traceback
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from homeostat.adapters.keys import Ed25519Signer
from homeostat.audit.credentials import credential_made
from homeostat.core.digests import digest_bytes
from homeostat.flows.deps import Deps
from homeostat.model.change import REGULAR, FileState
from homeostat.model.settings import CanarySettings, HmrSettings, ObservationSettings, PolicySettings, RestartSettings
from homeostat.policy.document import policy_in_force
from homeostat.testing.example_rows import START
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
from homeostat.testing.simulation.fleet import Fleet, Manners, SimulatedLive
from homeostat.testing.simulation.hazards import CALM, Hazards, Weather
from homeostat.testing.simulation.hub import SimulatedHub, Workflows
from homeostat.testing.simulation.oracle import Oracle
from homeostat.testing.simulation.people import People
from homeostat.testing.simulation.program import FUNCTION, PARTS, clause, path_of, run_tests, source_of
from homeostat.testing.simulation.supervising import SimulatedSupervisor
from homeostat.testing.simulation.timeline import Timeline
from homeostat.testing.simulation.trace import Trace
from homeostat.testing.world import BOT, OWNER, WORLD_SETTINGS, CountedIds, QueuedStarter

AFTERMATH_S = 240.0
"""How long everything is left alone at the end, beyond the observation window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a run."""

    seed: int
    hours: float
    wrong: tuple[str, ...]
    digest: str
    """Of the trace: the same for the same seed, on any machine."""

    trace: tuple[str, ...]
    states: Mapping[str, int]
    hubs: int

    def report(self) -> str:
        """Return the trace and what is wrong, and how to see it again."""
        again = f"python -m homeostat.testing.simulation --seed {self.seed} --hours {self.hours:g}"
        return "\n".join((*self.trace, "", *(f"WRONG: {item}" for item in self.wrong), f"again with: {again}"))


class Simulation:
    """A world made from a seed. `run` plays it once."""

    def __init__(self, *, seed: int, hours: float) -> None:
        self._seed = seed
        self._hours = hours
        rng = self._rng = random.Random(seed)  # noqa: S311 - chance that can be repeated is the point
        self.timeline = Timeline(START)
        self.trace = Trace(self.timeline.elapsed_s)
        self.hazards = Hazards(self.timeline, rng, self.trace, rng.choice((CALM, Weather(), Weather(), _ROUGH)))
        self.repository = MemoryRepository(faults=self.hazards)
        self.hazards.half_moved = lambda: self.repository.half_moved
        self.live = SimulatedLive(self.timeline)
        signer = Ed25519Signer.from_seed(seed.to_bytes(32, "big"))
        self._world = self._make_world(signer)
        self._workflows = Workflows()
        self._hub: SimulatedHub | None = None
        self._hubs = 0
        self._may_start = True
        self._stormy = False
        self.fleet = Fleet(
            timeline=self.timeline,
            rng=rng,
            trace=self.trace,
            live=self.live,
            repository=self.repository,
            requests_per_tick=rng.choice((60, 200, 600) if self._world.settings.canary.steps else (12, 30, 60)),
            manners=rng.choice((_GOOD_MANNERS, Manners(), Manners(crash=0.02, cut_off=0.02, hang=0.02))),
        )
        self.supervisor = SimulatedSupervisor(
            timeline=self.timeline, rng=rng, trace=self.trace, fleet=self.fleet, supervises=rng.random() < 0.5
        )
        self._world = replace(self._world, restarter=self.supervisor)
        self.people = People(
            timeline=self.timeline,
            rng=rng,
            trace=self.trace,
            world=self._world,
            repository=self.repository,
            fleet=self.fleet,
            hazards=self.hazards,
            hub=lambda: self._hub,
            supervised=lambda: self.supervisor.supervises,
        )
        self._oracle = Oracle(
            world=self._world,
            repository=self.repository,
            fleet=self.fleet,
            journal=self.people.journal,
            trace=self.trace,
            signer=signer,
            stormy=lambda: self._stormy,
        )

    def _make_world(self, signer: Ed25519Signer) -> Deps:
        rng, repository = self._rng, self.repository
        broken = rng.choice(PARTS)
        files = {path_of(part): source_of(part) for part in PARTS}
        files[path_of(broken)] = source_of(broken, clause((9,), 'raise KeyError("nine")'))
        files["README.md"] = "A shop.\n"
        repository.user_commit(
            {path: FileState(content=text.encode(), mode=REGULAR) for path, text in files.items()},
            at=self.timeline.now(),
        )
        store = MemoryStore(clock=self.timeline, signer=signer)
        for actor in (OWNER, BOT):
            digest = digest_bytes(actor.id.encode())
            store.ledger.append(credential_made(actor.id, actor.role, digest))
            store.actors.create(actor=actor, token_digest=digest)
        settings = replace(
            WORLD_SETTINGS,
            observation=ObservationSettings(
                window_s=rng.choice((60, 180)), baseline_s=rng.choice((60, 180)), min_requests=rng.choice((20, 40))
            ),
            restart=RestartSettings(automatic=rng.random() < 0.3),
            canary=_canary(rng),
            hmr=HmrSettings(enabled=True, timeout_s=rng.choice((2.0, 10.0))),
        )
        return Deps(
            clock=self.timeline,
            ids=CountedIds(),
            settings=settings,
            policy=policy_in_force(PolicySettings(), authorization=BUILT_IN_POLICIES.digest),
            authorizer=BUILT_IN_POLICIES,
            repository_path="/srv/shop",
            proposals=store.proposals,
            records=store.records,
            ledger=store.ledger,
            findings=store.findings,
            vitals=store.vitals,
            canaries=store.canaries,
            actors=store.actors,
            commits=MemoryCommitReader(repository),
            merger=MemoryCommitMerger(repository),
            candidates=MemoryCandidateBranch(repository),
            record_branch=MemoryRecordBranch(repository),
            deployed=MemoryDeployedTree(repository),
            backups=MemoryBackupStore(self.hazards),
            prover=FakeProver(
                otherwise=lambda job: (run_tests(repository, job.base), run_tests(repository, job.candidate))
            ),
            live=self.live,
            measures=FakeMeasures(),
            restarter=FakeRestarter(),
            start=QueuedStarter(),
        )

    def run(self) -> Outcome:
        wrong: list[str] = []
        active_s = self._hours * 3600
        window_s = self._world.settings.observation.window_s
        for _ in range(self._rng.randint(1, 4)):
            self.fleet.start()
        self._start_hub()
        self.people.begin()
        self._kill_some_time()
        if self._rng.random() < 0.2:
            self._storms(active_s)

        def look() -> None:
            wrong.extend(self._oracle.after_event())

        try:
            self.timeline.run(until_s=active_s, after_each=look)
            self._leave_alone()
            self.timeline.run(until_s=active_s + window_s + AFTERMATH_S, after_each=look)
            # What the last requests have shown is judged before it is asked what was not.
            self.fleet.has_customers = False
            self.timeline.run(until_s=active_s + window_s + AFTERMATH_S + _LAST_LOOKS_S, after_each=look)
            hub = self._hub
            wrong += self._oracle.at_rest(hub.troubles.last) if hub is not None else ["no hub came back"]
        except Exception as error:  # whatever a flow raises that is none of our errors is a find
            wrong.append("".join(traceback.format_exception(error)[-6:]))
        finally:
            lines, digest = tuple(self.trace.lines), self.trace.digest()
            self._may_start = False
            self.timeline.end()
        return Outcome(
            seed=self._seed,
            hours=self._hours,
            wrong=tuple(dict.fromkeys(wrong)),
            digest=digest,
            trace=lines,
            states=Counter(row.state.value for row in self._world.proposals.find(limit=10_000)),
            hubs=self._hubs,
        )

    def _start_hub(self) -> None:
        if self._hub is not None or not self._may_start:
            return
        self._hubs += 1
        self._hub = SimulatedHub(
            world=self._world,
            timeline=self.timeline,
            trace=self.trace,
            hazards=self.hazards,
            live=self.live,
            workflows=self._workflows,
            on_death=self._hub_died,
        )
        self._hub.start(self.fleet)

    def _hub_died(self) -> None:
        self._hub = None
        self.fleet.shut_door()
        self.timeline.after(self._rng.choice((0.5, 3.0, 20.0)), self._start_hub)

    def _kill_some_time(self) -> None:
        """Kill the hub now and then at any moment, not only at its own calls."""

        def kill() -> None:
            if self._hub is not None and self.hazards.weather.die:
                self._hub.die()
            self._kill_some_time()

        self.timeline.after(self._rng.expovariate(1 / 240), kill)

    def _storms(self, active_s: float) -> None:
        self._stormy = True

        def begin() -> None:
            self.trace.line("program", "a service behind it is down")
            self.fleet.storm = 0.3
            self.timeline.after(self._rng.uniform(20, 120), end)

        def end() -> None:
            self.trace.line("program", "the service behind it is back")
            self.fleet.storm = 0.0

        self.timeline.after(self._rng.uniform(0, active_s * 0.7), begin)

    def _leave_alone(self) -> None:
        """From now on nothing goes wrong any more, and everything under way has the time to end."""
        self.trace.line("", "--- nothing goes wrong any more ---")
        self.hazards.weather = CALM
        self.fleet.manners = _GOOD_MANNERS
        self.supervisor.may_fail = False
        self.fleet.storm = 0.0
        self.people.still_propose = self.people.still_decide = self.people.still_meddle = False


_LAST_LOOKS_S = 30.0
"""Looks are slow where every call takes its time."""

_GOOD_MANNERS = Manners(crash=0, cut_off=0, restart=0, hang=0)


def _canary(rng: random.Random) -> CanarySettings:
    """Have changes tried on a share of the calls first in about every second world, and on copies before in half."""
    if rng.random() < 0.5:
        return CanarySettings(steps=())
    return CanarySettings(
        pure=rng.choice(((), (f"shop/*.py:{FUNCTION}",))),
        shadow_calls=rng.choice((20, 200)),
        steps=rng.choice(((50,), (20, 50), (10, 50))),
        step_s=rng.choice((5.0, 20.0)),
        lease_s=rng.choice((5.0, 15.0, 60.0)),
        max_s=rng.choice((90.0, 3600.0)),
    )


_ROUGH = Weather(pause=0.3, fail=0.04, lie=0.04, die=0.01, misbehave=0.25)


def simulate(seed: int, *, hours: float = 0.25) -> Outcome:
    """Run one seed. The same seed and hours give the same trace, whatever else runs on the machine."""
    return Simulation(seed=seed, hours=hours).run()
