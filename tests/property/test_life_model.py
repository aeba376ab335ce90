"""Everything that may happen to proposals, in any order, against a model of a few lines.

Propose, edit, approve, reject, defer, resume, apply and revert; the user commits meanwhile, the
program restarts, time passes; and in the middle of any of these the hub may die at any call of any
port, before or after it has effect, and another hub takes over. After each step the rows are where
the model says, and tree, checkout, processes, ledger and records agree with them.
"""

from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from homeostat.audit.chain import EMPTY_HEAD, ChainIntact, verify_integrity
from homeostat.audit.proposal_story import approvals, diffs, group_moves, states
from homeostat.flows import deciding
from homeostat.flows.applying import request_apply
from homeostat.flows.beating import beat
from homeostat.flows.editing import Edit, edit
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.reverting import request_revert
from homeostat.flows.troubles import Troubles
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.verdict import Denied
from homeostat.proposals.events import Approved, Deferred, Edited, Rejected, Resumed
from homeostat.proposals.lifecycle import ALLOWED_FROM
from homeostat.proposals.markdown import parse_header, record_path
from homeostat.testing.faults import DEADLY, FaultPlan, faulty
from homeostat.testing.memory_repository import SimulatedDeath
from homeostat.testing.world import BOT, OWNER, PROCESS, World, file

S = ProposalState
FILES = ("a.py", "b.py")
OPEN = {S.PENDING, S.AWAITING_APPROVAL, S.APPROVED, S.DEFERRED}
LIVE = {S.OBSERVING, S.AWAITING_RESTART, S.IMPLEMENTED}
CRASH = st.one_of(st.none(), st.none(), st.tuples(st.integers(0, 60), st.sampled_from(sorted(DEADLY))))
HAPPENINGS = [
    *("propose", "propose", "propose", "propose again", "edit", "edit", "edit to another's"),
    *("approve", "approve", "reject", "defer", "resume", "resume"),
    *("apply", "apply", "apply", "apply", "revert", "revert", "revert"),
    *("work", "work", "user commits", "program restarts", "time passes", "hub restarts"),
]


def source(number):
    return f"def f():\n    return {number}\n"


def diff_of(path, old, new):
    return f"--- a/{path}\n+++ b/{path}\n@@ -1,2 +1,2 @@\n def f():\n-    return {old}\n+    return {new}\n"


@dataclass(frozen=True)
class Row:
    """What the model knows of a proposal: (path, old, new) is its change, `base` counts the moves of the branch."""

    change: tuple[str, int, int]
    base: int
    state: ProposalState = S.PENDING
    revision: int = 1


class NoTroubles(Troubles):
    def note_error(self, activity, error):
        raise AssertionError(f"{activity}: {error!r}")


class Life(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.world = World()
        self.process = PROCESS
        self.content = dict.fromkeys(FILES, 0)
        self.runs = dict.fromkeys(FILES, 0)
        self.moves = 0
        self.rows = {}
        self.fresh = 0
        self.checked = EMPTY_HEAD
        self.user_writes({path: source(0) for path in FILES})
        self.world.live.end(PROCESS)
        self.start_program()
        for path in FILES:
            self.hand_in(self.new_change(path), BOT, None)

    # What happens

    @rule(
        happening=st.sampled_from(HAPPENINGS),
        path=st.sampled_from(FILES),
        one=st.integers(0, 5),
        other=st.integers(0, 5),
        actor=st.sampled_from([OWNER, BOT]),
        crash=CRASH,
    )
    def something_happens(self, happening, path, one, other, actor, crash):
        # One rule, not one each: hypothesis leaves rules out at random, and here all belong together.
        match happening:
            case "propose":
                self.hand_in(self.new_change(path), actor, crash)
            case "propose again":
                self.hand_in(self.pick(one)[1].change, actor, crash)
            case "edit":
                self.edit(self.pick(one), self.new_change(path), crash)
            case "edit to another's":
                self.edit(self.pick(one), self.pick(other)[1].change, crash)
            case "approve" | "reject" | "defer" | "resume":
                self.decide(happening, *self.pick(one), crash)
            case "apply":
                self.apply(*self.pick(one), crash)
            case "revert":
                self.revert(*self.pick(one), crash)
            case _:
                getattr(self, happening.replace(" ", "_"))(path)

    def new_change(self, path):
        self.fresh += 1
        return (path, self.content[path], self.fresh)

    def edit(self, picked, change, crash):
        identity, row = picked
        wanted = Edit(diff=diff_of(*change))
        expected = self.expect_edit(identity, row, change)
        self.perform(lambda deps: edit(deps, identity, wanted, actor=OWNER), expected, crash)

    def decide(self, what, identity, row, crash):
        event, state, call = {
            "approve": (Approved, S.APPROVED, lambda deps: deciding.approve(deps, identity, actor=OWNER, seen=None)),
            "reject": (Rejected, S.REJECTED, lambda deps: deciding.reject(deps, identity, actor=OWNER, notes="no")),
            "defer": (Deferred, S.DEFERRED, lambda deps: deciding.defer(deps, identity, actor=OWNER)),
            "resume": (Resumed, S.PENDING, lambda deps: deciding.resume(deps, identity, actor=OWNER)),
        }[what]
        after = {identity: replace(row, state=state)} if row.state in ALLOWED_FROM[event] else None
        self.perform(call, after, crash)

    def apply(self, identity, row, crash):
        self.work()
        row = self.rows[identity]
        path, old, new = row.change
        after, done = None, lambda: None
        if row.state in LIVE:
            after = {}  # it happened already, and is answered as the first time
        elif row.state in (S.AWAITING_APPROVAL, S.APPROVED) and row.base == self.moves:
            live = self.runs[path] == old
            after = {identity: replace(row, state=S.OBSERVING if live else S.AWAITING_RESTART)}

            def done():
                self.move(path, new)
                if live:
                    self.runs[path] = new

        self.perform(lambda deps: request_apply(deps, identity, actor=OWNER, seen=None), after, crash, done, run=True)

    def revert(self, identity, row, crash):
        self.work()
        row = self.rows[identity]
        path, old, new = row.change
        after, done = None, lambda: None
        if row.state is S.REVERTED:
            after = {}  # asked again, it is answered as the first time
        elif row.state in LIVE and self.content[path] == new:
            after = {identity: replace(row, state=S.REVERTED)}

            def done():
                self.move(path, old)
                if self.runs[path] == new:
                    self.runs[path] = old

        call = lambda deps: request_revert(deps, identity, actor=OWNER, reason="asked")  # noqa: E731
        self.perform(call, after, crash, done, run=True)

    def work(self, _path=None):
        self.world.run()
        self.settle_model()

    def user_commits(self, path):
        self.work()
        self.fresh += 1
        self.user_writes({path: source(self.fresh)})
        self.move(path, self.fresh)

    def program_restarts(self, _path):
        self.work()
        self.world.live.end(self.process)
        self.start_program()
        self.runs = dict(self.content)
        self.beat()
        for identity, row in self.rows.items():
            if row.state is S.AWAITING_RESTART:
                self.rows[identity] = replace(row, state=S.OBSERVING)

    def time_passes(self, _path):
        self.work()
        self.world.serve(seconds=70, requests=5, errors=0)
        self.beat()
        for identity, row in self.rows.items():
            now = self.world.deps.proposals.get(identity).state
            if row.state is S.OBSERVING and now is S.IMPLEMENTED:
                self.rows[identity] = replace(row, state=now)

    def hub_restarts(self, _path):
        self.world.restart()
        self.settle_model()

    # The model

    def hand_in(self, change, actor, crash):
        submission = Submission(title="Change f", rationale="Another number.", diff=diff_of(*change))
        before = set(self.rows)
        known = self.known(change, besides=None)
        if not self.fits(change) or known == "locked-out":
            expected = None
        elif known is not None:
            expected = {}
        else:
            expected = "new"
        self.perform(lambda deps: submit(deps, submission, actor=actor), expected, crash, change=change)
        assert len(set(self.rows) - before) <= 1

    def expect_edit(self, identity, row, change):
        if row.state not in ALLOWED_FROM[Edited] or not self.fits(change):
            return None
        if (change, self.moves) == (row.change, row.base):
            return {}
        if self.known(change, besides=identity) is not None:
            return None
        edited = Row(change=change, base=self.moves, revision=row.revision + 1)
        return {identity: edited}

    def fits(self, change):
        return self.content[change[0]] == change[1]

    def known(self, change, *, besides):
        others = [row for identity, row in self.rows.items() if identity != besides and row.change == change]
        if any(row.state is S.REVERTED for row in others):
            return "locked-out"
        return next((row for row in others if row.state in OPEN and row.base == self.moves), None)

    def move(self, path, number):
        self.content[path] = number
        self.moves += 1

    def settle_model(self):
        for identity, row in self.rows.items():
            if row.state is S.PENDING:
                self.rows[identity] = replace(row, state=S.AWAITING_APPROVAL)

    # Carrying out

    def perform(self, call, expected, crash, done=lambda: None, *, run=False, change=None):
        """Carry a request out; `expected`: None for a refusal, else the rows that become different."""
        if crash is None:
            outcome = call(self.world.deps)
            assert isinstance(outcome, Denied if expected is None else Proposal), outcome
            self.take(expected, done, change)
            if run:
                self.work()
            return
        deps = faulty(self.world.deps, FaultPlan(at_call=crash[0], outcome=crash[1]))
        try:
            call(deps)
            self.world.run(deps)
        except SimulatedDeath:
            self.world.restart()
        else:
            self.take(expected, done, change)
            self.settle_model()
            return
        # It was accepted, or it never was: nothing in between.
        if self.has_happened(expected):
            self.take(expected, done, change)
        self.settle_model()

    def has_happened(self, expected):
        if expected is None or expected == {}:
            return False
        if expected == "new":
            return len(self.world.deps.proposals.find()) > len(self.rows)
        ((identity, row),) = expected.items()
        now, before = self.world.deps.proposals.get(identity), self.rows[identity]
        rested = {S.PENDING: S.AWAITING_APPROVAL}
        if (now.state, now.revision) == (rested.get(row.state, row.state), row.revision):
            # The same to the eye where a pending proposal is edited or resumed: the revision tells, or nothing differs.
            return True
        assert (now.state, now.revision) == (rested.get(before.state, before.state), before.revision), now.state
        return False

    def take(self, expected, done, change):
        if expected == "new":
            (identity,) = {row.id for row in self.world.deps.proposals.find()} - set(self.rows)
            self.rows[identity] = Row(change=change, base=self.moves)
        elif expected:
            self.rows |= expected
            done()

    def pick(self, number):
        """Return one of the last few, or one of all: what was just handed in is what is mostly dealt with."""
        newest = sorted(self.rows)[::-1]
        identity = newest[number % len(newest)]
        return identity, self.rows[identity]

    def user_writes(self, texts):
        self.world.repository.user_commit({path: file(text) for path, text in texts.items()}, at=self.world.clock.now())

    def start_program(self):
        self.fresh += 1
        self.process = f"00000000-0000-4000-8000-{self.fresh:012x}"
        loaded = {path: source(number) for path, number in self.content.items()}
        self.world.live.attach(self.world.process(identity=self.process), loaded=loaded)

    def beat(self):
        for count in range(1, 3):
            beat(self.world.deps, NoTroubles(), count, chores={})
            self.world.run()

    # What always holds

    @invariant()
    def the_rows_are_where_the_model_says(self):
        rows = self.world.deps.proposals.find(limit=1000)
        assert {row.id: (row.state, row.revision, row.diff) for row in rows} == {
            identity: (row.state, row.revision, diff_of(*row.change)) for identity, row in self.rows.items()
        }

    @invariant()
    def tree_checkout_and_processes_are_as_the_applied_changes_left_them(self):
        repository = self.world.repository
        for place in (repository.at(repository.branches["main"]).tree, repository.index, repository.disk):
            assert {path: place[path].content.decode() for path in FILES} == {
                path: source(number) for path, number in self.content.items()
            }
        assert {path: self.world.live.source(self.process, path) for path in FILES} == {
            path: source(number) for path, number in self.runs.items()
        }

    @invariant()
    def doctor_finds_nothing(self):
        assert self.world.violations() == ()

    @invariant()
    def the_ledger_tells_how_each_row_came_to_stand_there(self):
        entries = self.world.store.ledger.entries(limit=100_000)
        report = verify_integrity(
            entries[self.checked.size :], verify=self.world.store.signer.verify, start=self.checked
        )
        assert isinstance(report, ChainIntact), report
        self.checked = report.head
        rows, moves = self.world.deps.proposals.find(limit=1000), group_moves(entries)
        assert states(rows, moves) == diffs(rows, moves) == approvals(rows, moves) == []

    @invariant()
    def records_and_candidates_follow_the_rows(self):
        assert self.world.store.records.pending_records() == []
        for row in self.world.deps.proposals.find(limit=1000):
            header = parse_header(self.world.deps.record_branch.read(record_path(row)))
            assert (header.id, header.status) == (row.id, row.status)
        kept = {identity for identity, row in self.rows.items() if row.state in OPEN}
        assert set(self.world.deps.candidates.proposals()) <= kept


@pytest.mark.parametrize(
    ("examples", "steps"),
    [
        pytest.param(50, 20, id="some"),
        pytest.param(3_000, 50, id="many", marks=[pytest.mark.matrix, pytest.mark.timeout(7200)]),
    ],
)
def test_whatever_happens_in_whatever_order_the_rows_are_where_the_model_says(examples, steps):
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],  # making a failure smaller takes minutes; its steps are read as they are
            suppress_health_check=list(HealthCheck),
        ),
    )
