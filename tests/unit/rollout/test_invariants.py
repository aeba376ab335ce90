"""Each invariant, broken by hand in a world that was well: it is found, under its number, with what to do."""

from dataclasses import replace
from datetime import timedelta

import pytest

from homeostat.core.errors import Unavailable
from homeostat.core.ids import ProposalId
from homeostat.flows.applying import request_apply
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.reverting import request_revert
from homeostat.model.change import TreeChange
from homeostat.model.proposal import ProposalState
from homeostat.rollout.invariants import violations
from homeostat.testing.fake_live import Misbehaviour
from homeostat.testing.world import BOT, DIFF, MENDED, OWNER, PROCESS, SOURCE, World, file

S = ProposalState
UNDONE = DIFF.replace("-    return", "?").replace("+    return", "-    return").replace("?", "+    return")


@pytest.fixture
def world():
    made = World()
    submit(made.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
    made.run()
    assert made.violations() == ()
    return made


@pytest.fixture
def applied(world):
    request_apply(world.deps, row(world).id, actor=OWNER, seen=None)
    world.run()
    assert world.violations() == ()
    return world


@pytest.fixture
def reverted(applied):
    request_revert(applied.deps, row(applied).id, actor=OWNER, reason="asked")
    applied.run()
    assert applied.violations() == ()
    return applied


def row(world):
    return world.deps.proposals.find()[0]


def alter(world, **changes):
    """Change a row behind the ledger's back."""
    world.store.proposals.save(replace(row(world), **changes), None)


def found(world):
    """Return what is violated by number; every violation says what to do."""
    seen = world.violations()
    assert all(item.remedy and item.detail and item.subject for item in seen)
    return {item.number: item for item in seen}


def test_1_a_row_that_is_not_where_the_ledger_left_it(applied):
    alter(applied, state=S.IMPLEMENTED)
    assert set(found(applied)) == {1}
    assert "since entry" in found(applied)[1].detail


def test_1_a_row_whose_version_the_ledger_is_ahead_of(world):
    state = world.store.proposals._memory.rows
    state.proposals[row(world).id] = replace(row(world), version=1)
    assert set(found(world)) == {1}


def test_1_a_row_that_the_ledger_does_not_know(world):
    world.store.proposals._memory.rows.ledger.clear()
    assert "no entry" in found(world)[1].detail


@pytest.mark.parametrize("review", ["none", "rejected", "other"])
def test_2_an_application_without_an_approval_of_that_change(applied, review):
    given = row(applied).review
    broken = {
        "none": None,
        "rejected": replace(given, decision="rejected"),
        "other": replace(given, change_digest="sha256:" + "0" * 64),
    }
    alter(applied, review=broken[review])
    assert set(found(applied)) == {2}


def test_3_an_applied_change_whose_commit_is_not_in_the_branch(applied):
    applied.repository.branches["main"] = row(applied).application.before_commit
    assert found(applied)[3].remedy.startswith("git cherry-pick ")


@pytest.mark.parametrize("place", ["disk", "index"])
def test_3_an_applied_change_whose_files_are_not_in_the_checkout(applied, place):
    getattr(applied.repository, place)["shop.py"] = file(SOURCE)
    (item,) = applied.violations()
    assert (item.number, item.level) == (3, "warn") and "shop.py" in item.detail


def test_3_files_that_later_commits_changed_are_nobodys_fault(applied):
    applied.repository.user_commit({"shop.py": file(MENDED + "# mine\n")}, at=applied.clock.now())
    assert applied.violations() == ()


def test_4_a_change_that_was_taken_back_and_is_in_the_branch(reverted):
    reverted.repository.branches["main"] = row(reverted).application.commit
    assert found(reverted)[4].remedy.startswith("git revert ")


def test_4_a_change_that_was_taken_back_and_is_on_disk(reverted):
    reverted.repository.disk["shop.py"] = file(MENDED)
    assert set(found(reverted)) == {4}


def test_4_a_change_that_was_taken_back_and_runs(reverted):
    process = reverted.live.processes()[0]
    reverted.live.attach(replace(process, changes=(row(reverted).id,)), loaded={"shop.py": MENDED})
    assert found(reverted)[4].subject == "process 4711"


def test_5_a_row_that_nobody_works_on(world):
    alter(world, state=S.VALIDATING)
    assert 5 in found(world)


def test_5_a_revert_that_waits_for_programs_names_them(applied):
    applied.live.misbehave(PROCESS, "rollback", *[Misbehaviour.FAIL] * 3)
    request_revert(applied.deps, row(applied).id, actor=OWNER, reason="asked")
    applied.run()
    assert "process 4711" in found(applied)[5].detail and found(applied)[5].level == "warn"


def test_6_two_changes_on_their_way_at_once(applied):
    other = replace(row(applied), id=ProposalId("00000000-0000-4000-8000-0000000000ff"), state=S.APPLYING)
    alter(applied, state=S.APPLYING)
    applied.store.proposals._memory.rows.proposals[other.id] = other
    assert 6 in found(applied)


def test_7_a_backup_that_is_gone(applied):
    applied.backups.kept.clear()
    assert set(found(applied)) == {7}


def test_7_a_backup_of_other_bytes(applied):
    name = row(applied).application.backup
    change, facts = applied.backups.kept[name]
    other = TreeChange(files=tuple(replace(item, before=file("x = 1\n")) for item in change.files))
    applied.backups.kept[name] = (other, facts)
    assert "different bytes" in found(applied)[7].detail


def test_8_a_code_branch_of_a_decided_proposal_and_of_nobodys(applied):
    unknown = "00000000-0000-4000-8000-0000000000fe"
    for identity in (row(applied).id, unknown):
        applied.repository.branches[f"homeostat/proposal-{identity}"] = applied.deps.commits.head()
    seen = applied.violations()
    assert [item.number for item in seen] == [8, 8]
    assert {item.remedy for item in seen} == {
        f"git branch -D homeostat/proposal-{row(applied).id}",
        f"git branch -D homeostat/proposal-{unknown}",
    }


def test_9_a_record_that_lags(applied):
    memory = applied.store.proposals._memory
    memory.rows.records[row(applied).id] = replace(memory.rows.records[row(applied).id], made_version=0)
    assert set(found(applied)) == {9}


def test_10_a_process_that_runs_what_no_row_knows(applied):
    process = applied.live.processes()[0]
    applied.live.attach(replace(process, changes=(*process.changes, "somebody-elses")), loaded={"shop.py": MENDED})
    assert "no row knows" in found(applied)[10].detail


def test_10_a_process_that_runs_the_old_code_of_what_is_observed_as_live(applied):
    process = applied.live.processes()[0]
    applied.live.attach(replace(process, changes=()), loaded={"shop.py": SOURCE})
    assert "does not run" in found(applied)[10].detail


def test_10_a_process_that_started_with_the_change_needs_no_swap(applied):
    applied.clock.move(timedelta(seconds=5))
    applied.live.attach(applied.process(), loaded={"shop.py": MENDED})
    assert applied.violations() == ()


def test_what_cannot_be_looked_at_is_a_violation(applied):
    class Gone:
        def __getattr__(self, name):
            def fail(*_args, **_options):
                raise Unavailable("injected", "nobody answers")

            return fail

    for part in ("proposals", "ledger", "commits", "candidates", "records", "live"):
        seen = applied.violations(replace(applied.deps, **{part: Gone()}))
        assert any(item.number == 0 and "nobody answers" in item.detail for item in seen), part


def test_11_a_lock_that_a_move_left_though_nothing_moves(applied):
    seen = replace(applied.observed(), lock="/srv/shop/.git/index.lock")
    assert [(item.number, item.remedy) for item in violations(seen)] == [(11, "rm /srv/shop/.git/index.lock")]


def test_without_a_hub_nothing_is_said_of_processes_and_what_is_under_way_waits_for_one(applied):
    alter(applied, state=S.REVERTING)
    seen = replace(applied.observed(), processes=None)
    under_way = [item for item in violations(seen) if item.number == 5]
    assert [(item.remedy, item.level) for item in under_way] == [("homeostat up", "warn")]
    assert not [item for item in violations(seen) if item.number == 10]


@pytest.mark.parametrize("state", [S.AWAITING_APPROVAL, S.APPROVED])
@pytest.mark.parametrize("says", [True, False])
def test_a_change_that_only_its_row_calls_taken_out_is_in_the_branch_still(applied, state, says):
    """The other one must be in the branch itself, and must have been made for this."""
    original = row(applied)
    other = submit(applied.deps, Submission(title="Other", rationale="why", diff=UNDONE), actor=BOT)
    applied.run()
    alter(applied, state=state, takes_back=original.id if says else None)
    application = replace(original.application, taken_out_by=other.id)
    applied.store.proposals.save(replace(original, state=S.REVERTED, application=application), None)
    assert any(item.subject == original.id and "is in main" in item.detail for item in applied.violations())
