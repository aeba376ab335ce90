"""Every call that every flow makes fails, lies, or is the hub's last; then the hub goes on, or another one starts.

Whatever the call and whatever became of it: what was answered is true, every invariant of
`homeostat doctor` holds, and proposal, branch, checkout and process end in one of the right states.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from homeostat.audit.chain import ChainIntact, verify_integrity
from homeostat.core.errors import HomeostatError
from homeostat.flows.applying import request_apply
from homeostat.flows.beating import RECOVER_EVERY, beat
from homeostat.flows.deciding import approve, defer, reject, resume
from homeostat.flows.editing import Edit, edit
from homeostat.flows.ingesting import ingest_logs
from homeostat.flows.late_reverts import propose_revert
from homeostat.flows.observing import observe
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.reverting import request_revert
from homeostat.model.finding import AGENTS
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.settings import CanarySettings, DetectorSettings, Settings
from homeostat.ports.proving import ProofRuns
from homeostat.testing.fake_live import Misbehaviour
from homeostat.testing.fake_prover import test_run as a_run
from homeostat.testing.faults import DEADLY, FaultPlan, Outcome, faulty
from homeostat.testing.memory_repository import SimulatedDeath
from homeostat.testing.simulation.hub import OwnErrorsOnly
from homeostat.testing.world import BOT, DIFF, MENDED, OWNER, PROCESS, SOURCE, WORLD_SETTINGS, World, file

S = ProposalState
OTHERWISE = DIFF.replace("+    return PRICES.get(coupon, 0)", "+    return PRICES.get(coupon, 2)")
TRYING = replace(WORLD_SETTINGS, canary=CanarySettings(steps=(10, 50), step_s=1.0))
DETECTING = DetectorSettings(grace_s=15.0, baseline_s=30.0)
MOST_CALLS = 400
SAMPLED = 4


@dataclass(frozen=True)
class Scene:
    """One thing that is asked of the hub, and everything that follows from it."""

    play: Callable
    """Asks; what it returns was promised to whoever asked."""

    ends: dict
    """State in which the proposal may end (None: there is none) -> what then stands on disk, in Git, in the process."""

    promised: frozenset
    """States that are right when the asking was answered with yes."""

    prepare: Callable = lambda world: None
    settings: Settings = WORLD_SETTINGS
    others: Callable = lambda row: frozenset()
    """Given the row of the proposal: the states of all others."""

    instead: dict = field(default_factory=dict)
    """Calls whose failure is an outcome of its own: (state, what then stands everywhere), and the reason says why."""


LATER = MENDED.replace("PRICES = {'A': 1}", "PRICES = {'A': 1, 'B': 2}")
OUT = SOURCE.replace("PRICES = {'A': 1}", "PRICES = {'A': 1, 'B': 2}")
PROOF = {"prover.prove": (S.BLOCKED, SOURCE)}
MOVE = {"deployed.advance": (S.FAILED, SOURCE)}


def row_of(world):
    rows = world.deps.proposals.find()
    return rows[0] if rows else None


def handed_in(world):
    submit(world.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
    world.run()


def applied(world):
    world.serve(seconds=30, requests=50, errors=0)
    handed_in(world)
    request_apply(world.deps, row_of(world).id, actor=OWNER, seen=None)
    world.run()


def asking(flow, **options):
    def play(world, deps):
        return flow(deps, row_of(world).id, actor=OWNER, **options)

    return play


def submitting(world, deps):
    return submit(deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)


def looking(world, deps):
    return observe(deps, row_of(world).id)


def beating(world, deps):
    beat(deps, OwnErrorsOnly(), RECOVER_EVERY, chores={})


def red(world):
    runs = ProofRuns(sandbox="bubblewrap", base=a_run({"t::a": "passed"}), candidate=a_run({"t::a": "failed"}))
    world.prover.script(*[runs] * 5)


def misbehaving(command, how):
    def prepare(world):
        handed_in(world)
        world.live.misbehave(PROCESS, command, *[how] * 5)

    return prepare


def deferred(world):
    handed_in(world)
    defer(world.deps, row_of(world).id, actor=OWNER)


def served_well(world):
    applied(world)
    world.serve(seconds=70, requests=50, errors=0)


def served_badly(world):
    applied(world)
    world.serve(seconds=5, requests=50, errors=20)


def tried(world):
    """A share of the calls runs the change."""
    applied(world)
    assert row_of(world).state is S.CANARY


def tried_badly(world):
    tried(world)
    world.try_out(row_of(world).id, seconds=5, calls=500, failed=30)


def tried_on_little(world):
    tried(world)
    world.try_out(row_of(world).id, seconds=30, calls=500)


def tried_well(world):
    tried_on_little(world)
    observe(world.deps, row_of(world).id)
    observe(world.deps, row_of(world).id)
    world.try_out(row_of(world).id, seconds=30, calls=500)


def served_slowly(world):
    """Harm that its own judge does not see, as it counts failures: a detector fires at the next look."""
    world.serve(seconds=60, requests=50, errors=0)
    applied(world)
    world.serve(seconds=40, requests=50, errors=0, slow=30)


def tried_slowly(world):
    served_slowly(world)
    assert row_of(world).state is S.CANARY


def left_unrecorded(world):
    """The beat finds something to record, and something to judge."""
    applied(world)
    world.store.records.mark_recorded(row_of(world).id, 0)
    world.serve(seconds=70, requests=50, errors=0)


def built_upon(world):
    """What takes an applied change out of a file that was edited since is live; the change itself is as it was."""
    applied(world)
    original = row_of(world)
    world.repository.user_commit({"shop.py": file(LATER)}, at=world.clock.now())
    world.live.load(PROCESS, "shop.py", LATER)
    propose_revert(world.deps, original.id, actor=BOT, reason="")
    world.run()
    request_apply(world.deps, row_of(world).id, actor=OWNER, seen=None)
    world.run()
    assert row_of(world).takes_back == original.id


def taken_out(world):
    built_upon(world)
    observe(world.deps, row_of(world).id)


def original_of(row):
    return frozenset({S.OBSERVING if row.state is S.REVERTED else S.REVERTED})


BEFORE = {S.AWAITING_APPROVAL: SOURCE}
SCENES = {
    "submit": Scene(
        play=submitting,
        ends={None: SOURCE, **BEFORE},
        promised=frozenset({S.AWAITING_APPROVAL}),
        instead=PROOF,
    ),
    "submit-what-breaks-tests": Scene(
        play=submitting, prepare=red, ends={None: SOURCE, S.BLOCKED: SOURCE}, promised=frozenset({S.BLOCKED})
    ),
    "edit": Scene(
        play=asking(edit, wanted=Edit(diff=OTHERWISE)),
        prepare=handed_in,
        ends=BEFORE,
        promised=frozenset({S.AWAITING_APPROVAL}),
        instead=PROOF,
    ),
    "approve": Scene(
        play=asking(approve, seen=None),
        prepare=handed_in,
        ends={**BEFORE, S.APPROVED: SOURCE},
        promised=frozenset({S.APPROVED}),
    ),
    "reject": Scene(
        play=asking(reject, notes="no"),
        prepare=handed_in,
        ends={**BEFORE, S.REJECTED: SOURCE},
        promised=frozenset({S.REJECTED}),
    ),
    "defer": Scene(
        play=asking(defer), prepare=handed_in, ends={**BEFORE, S.DEFERRED: SOURCE}, promised=frozenset({S.DEFERRED})
    ),
    "resume": Scene(
        play=asking(resume),
        prepare=deferred,
        ends={**BEFORE, S.DEFERRED: SOURCE},
        promised=frozenset({S.AWAITING_APPROVAL}),
        instead=PROOF,
    ),
    "apply": Scene(
        play=asking(request_apply, seen=None),
        prepare=handed_in,
        ends={**BEFORE, S.OBSERVING: MENDED},
        promised=frozenset({S.OBSERVING}),
        instead=MOVE,
    ),
    "apply-what-fails-to-swap": Scene(
        play=asking(request_apply, seen=None),
        prepare=misbehaving("swap", Misbehaviour.FAIL),
        ends={**BEFORE, S.FAILED: SOURCE},
        promised=frozenset({S.FAILED}),
    ),
    "apply-what-needs-a-restart": Scene(
        play=asking(request_apply, seen=None),
        prepare=misbehaving("prepare", Misbehaviour.REFUSE),
        ends={**BEFORE, S.AWAITING_RESTART: MENDED},
        promised=frozenset({S.AWAITING_RESTART}),
        instead=MOVE,
    ),
    "revert": Scene(
        play=asking(request_revert, reason="asked"),
        prepare=applied,
        ends={S.OBSERVING: MENDED, S.REVERTED: SOURCE},
        promised=frozenset({S.REVERTED}),
    ),
    "observe-harm": Scene(
        play=looking, prepare=served_badly, ends={S.REVERTED: SOURCE}, promised=frozenset({S.REVERTED})
    ),
    "observe-well": Scene(
        play=looking, prepare=served_well, ends={S.IMPLEMENTED: MENDED}, promised=frozenset({S.IMPLEMENTED})
    ),
    "canary-begin": Scene(
        play=asking(request_apply, seen=None),
        prepare=handed_in,
        settings=TRYING,
        ends={**BEFORE, S.CANARY: SOURCE},
        promised=frozenset({S.CANARY}),
    ),
    "canary-widen": Scene(
        play=looking, prepare=tried_on_little, settings=TRYING, ends={S.CANARY: SOURCE}, promised=frozenset({S.CANARY})
    ),
    "canary-pass": Scene(
        play=looking,
        prepare=tried_well,
        settings=TRYING,
        ends={S.CANARY: SOURCE, S.OBSERVING: MENDED},
        promised=frozenset({S.OBSERVING}),
        instead=MOVE,
    ),
    "canary-harm": Scene(
        play=looking, prepare=tried_badly, settings=TRYING, ends={S.REVERTED: SOURCE}, promised=frozenset({S.REVERTED})
    ),
    "canary-revert": Scene(
        play=asking(request_revert, reason="asked"),
        prepare=tried,
        settings=TRYING,
        ends={S.CANARY: SOURCE, S.REVERTED: SOURCE},
        promised=frozenset({S.REVERTED}),
    ),
    "detected-when-live": Scene(
        play=looking,
        prepare=served_slowly,
        settings=replace(WORLD_SETTINGS, detectors=DETECTING),
        ends={S.REVERTED: SOURCE},
        promised=frozenset({S.REVERTED}),
    ),
    "detected-in-canary": Scene(
        play=looking,
        prepare=tried_slowly,
        settings=replace(TRYING, detectors=DETECTING),
        ends={S.REVERTED: SOURCE},
        promised=frozenset({S.REVERTED}),
    ),
    "take-out": Scene(
        play=looking,
        prepare=built_upon,
        ends={S.OBSERVING: OUT},
        promised=frozenset({S.OBSERVING}),
        others=original_of,
    ),
    "revert-what-took-out": Scene(
        play=asking(request_revert, reason="asked"),
        prepare=taken_out,
        ends={S.OBSERVING: OUT, S.REVERTED: LATER},
        promised=frozenset({S.REVERTED}),
        others=original_of,
    ),
    "beat": Scene(
        play=beating,
        prepare=left_unrecorded,
        ends={S.IMPLEMENTED: MENDED},
        promised=frozenset({S.IMPLEMENTED}),
    ),
}


def strike(scene, outcome, number):
    """Play a scene with a fault at one call; return the world afterwards, the plan, and the state that was promised."""
    world = World(settings=scene.settings)
    scene.prepare(world)
    world.starter.queue.clear()
    plan = FaultPlan(outcome=outcome, at_call=number)
    deps = faulty(world.deps, plan)
    answered = None
    try:
        try:
            answered = scene.play(world, deps)
        except HomeostatError as error:
            assert error.code == "injected"  # whoever asked was told
        work_off(world, deps)
    except SimulatedDeath:
        assert plan.outcome in DEADLY and plan.hit
    go_on(world)
    return world, plan, answered


def work_off(world, deps):
    """Run what was started, as the durable starter does: what fails is left to the next look for stuck flows."""
    while world.starter.queue:
        try:
            world.run(deps)
        except HomeostatError as error:
            assert error.code in ("injected", "stale-row"), error


def go_on(world):
    """Start anew, and beat until nothing is left to do."""
    world.restart()
    for number in (RECOVER_EVERY, 2 * RECOVER_EVERY):
        beat(world.deps, OwnErrorsOnly(), number, chores={})
        world.run()


def assert_all_is_well(world, scene, plan, answered):
    row = row_of(world)
    state = row.state if row else None
    place = f"{plan.outcome.value} at {plan.hit}"
    assert world.violations() == (), place
    other = scene.instead.get(plan.hit) if plan.outcome not in DEADLY else None
    if other is not None and state is other[0]:
        assert plan.hit in row.state_reason, "the reason says what went wrong"
        expected = other[1]
    else:
        assert state in scene.ends, f"{state}: {place}"
        assert state in scene.promised or not isinstance(answered, Proposal), f"it was answered with yes: {place}"
        expected = scene.ends[state]
    assert {item.state for item in world.deps.proposals.find()[1:]} == scene.others(row), place
    head = world.repository.at(world.repository.branches["main"])
    seen = {
        "branch": head.tree["shop.py"].content.decode(),
        "disk": world.repository.disk["shop.py"].content.decode(),
        "index": world.repository.index["shop.py"].content.decode(),
        "process": world.live.source(PROCESS, "shop.py"),
    }
    if state is S.AWAITING_RESTART:
        del seen["process"]  # it runs the old code until it is restarted, and is said to
    assert seen == dict.fromkeys(seen, expected), place
    entries = world.store.ledger.entries(limit=10_000)
    assert isinstance(verify_integrity(entries, verify=world.store.signer.verify), ChainIntact)


def sweep(scene, outcome, calls):
    """Play the scene with the fault at each of these calls, until there are no more; return how many there are."""
    ends = set()
    for number in calls:
        assert number < MOST_CALLS
        world, plan, answered = strike(scene, outcome, number)
        assert_all_is_well(world, scene, plan, answered)
        row = row_of(world)
        ends.add(row.state if row else None)
        if not plan.hit:
            break
    assert scene.promised <= ends
    return len(plan.calls)


@pytest.mark.parametrize("outcome", Outcome, ids=str)
@pytest.mark.parametrize("name", SCENES)
def test_whatever_goes_wrong_at_whatever_call_ends_well(name, outcome):
    """Every fourth call, beginning elsewhere in each scene; `make soak` takes every one."""
    first = (list(SCENES).index(name) + list(Outcome).index(outcome)) % SAMPLED
    assert sweep(SCENES[name], outcome, itertools.count(first, SAMPLED)) > 5


@pytest.mark.matrix
@pytest.mark.parametrize("outcome", Outcome, ids=str)
@pytest.mark.parametrize("name", SCENES)
def test_whatever_goes_wrong_at_each_single_call_ends_well(name, outcome):
    assert sweep(SCENES[name], outcome, itertools.count()) > 5


@pytest.mark.parametrize("name", ["apply", "revert"])
def test_whenever_it_dies_inside_the_move_of_the_checkout_the_next_one_finishes(name):
    scene = SCENES[name]
    for steps in range(50):
        world = World()
        scene.prepare(world)
        world.repository.faults.die_after_steps = steps
        try:
            scene.play(world, world.deps)
            work_off(world, world.deps)
        except SimulatedDeath:
            go_on(world)
            plan = FaultPlan(outcome=Outcome.DIES_AFTER, at_call=0, calls=[f"step {steps} of the move"])
            assert_all_is_well(world, scene, plan, None)
            continue
        assert steps > 2
        break


def log_body(world):
    at_ns = int(world.clock.now().timestamp() * 1e9)
    record = {
        "timeUnixNano": str(at_ns),
        "severityNumber": 17,
        "severityText": "ERROR",
        "body": {"stringValue": "order failed"},
        "attributes": [{"key": "exception.type", "value": {"stringValue": "KeyError"}}],
    }
    records = [{**record, "timeUnixNano": str(at_ns + number * 1_000_003)} for number in range(3)]
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}


@pytest.mark.parametrize("outcome", Outcome, ids=str)
def test_telemetry_that_is_sent_again_after_any_fault_is_counted_once_and_becomes_one_finding(outcome):
    """A sender that got no answer sends the same again."""
    for number in itertools.count():
        world = World()
        body = log_body(world)
        plan = FaultPlan(outcome=outcome, at_call=number)
        try:
            ingest_logs(faulty(world.deps, plan), body, source=AGENTS)
        except HomeostatError as error:
            assert error.code == "injected"
            ingest_logs(world.deps, body, source=AGENTS)
        except SimulatedDeath:
            ingest_logs(world.deps, body, source=AGENTS)
        (finding,) = world.deps.findings.findings()
        assert finding.group.count == 3, plan.hit
        if not plan.hit:
            break
    assert number == 1  # all of it is one call, in one transaction
