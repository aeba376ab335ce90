import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from homeostat.core.errors import InvalidInput, NotFound, Unavailable
from homeostat.core.limits import MAX_UNDECIDED
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.recording import catch_up
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.verdict import Denied
from homeostat.testing.world import BOT, DIFF, OWNER, World

MEND = Submission(title="Mend price", rationale="Unknown coupons raise.", diff=DIFF, author="fixer-bot")
RANDOM = "q7Zp9" + "Lw2xV" + "c8Rt4" + "Yb6Nn"


def handed_in(world, submission=MEND, actor=BOT):
    outcome = submit(world.deps, submission, actor=actor)
    assert isinstance(outcome, Proposal), outcome
    return outcome


def refused(world, submission, code):
    before = world.store.ledger.head().size
    outcome = submit(world.deps, submission, actor=BOT)
    assert isinstance(outcome, Denied) and outcome.code == code, outcome
    assert world.deps.proposals.find() == []
    return world.store.ledger.head().size - before


def test_a_patch_becomes_a_pending_proposal_with_its_ledger_entry_and_record():
    world = World()
    proposal = handed_in(world)
    assert proposal.state is ProposalState.PENDING
    assert proposal.files == ("shop.py",)
    assert proposal.author == "fixer-bot"
    assert world.store.ledger.head().size == 1
    assert world.store.records.pending_records() == []
    assert list(world.starter.queue) == [("submitted", proposal.id)]


def test_the_same_patch_again_answers_with_the_proposal_that_is_open():
    world = World()
    assert handed_in(world).id == handed_in(world).id
    assert len(world.deps.proposals.find()) == 1


def test_a_persons_own_label_is_replaced_by_their_pseudonym():
    assert handed_in(World(), replace(MEND, author="Ada Lovelace"), actor=OWNER).author == OWNER.id


def test_texts_are_cleaned_before_they_are_stored():
    world = World()
    proposal = handed_in(
        world, replace(MEND, rationale="ann@example.org could not pay from 10.1.2.3", evidence=("Bearer " + RANDOM,))
    )
    stored = repr(world.deps.proposals.get(proposal.id))
    assert "ann@example.org" not in stored and "10.1.2.3" not in stored and RANDOM not in stored


def test_a_patch_with_a_secret_is_refused_before_anything_of_it_is_stored():
    world = World()
    diff = DIFF.replace("PRICES.get(coupon, 0)\n", f"PRICES.get(coupon, 0) or connect(password='{RANDOM}')\n")
    assert refused(world, replace(MEND, diff=diff), "secret-in-diff") == 1
    assert RANDOM not in repr(world.store.ledger.entries())
    assert world.repository.branches.keys() == {"main"}


def test_a_patch_that_does_not_fit_its_base_is_refused():
    outcome = submit(World().deps, replace(MEND, diff=DIFF.replace("PRICES[coupon]", "COSTS[coupon]")), actor=BOT)
    assert isinstance(outcome, Denied)


def test_a_base_that_is_not_there_is_not_found():
    with pytest.raises(NotFound):
        submit(World().deps, replace(MEND, base_commit="f" * 40), actor=BOT)


@pytest.mark.parametrize(
    "bad",
    [
        {"title": ""},
        {"title": "x" * 201},
        {"title": "two\nlines"},
        {"rationale": " "},
        {"rationale": "x" * 20_001},
        {"evidence": ("x",) * 101},
        {"evidence": ("x" * 20_001,)},
        {"provenance": {"x" * 81: "y"}},
        {"diff": "\ud800"},
    ],
)
def test_texts_beyond_their_limits_are_invalid(bad):
    with pytest.raises(InvalidInput):
        submit(World().deps, replace(MEND, **bad), actor=BOT)


@pytest.mark.parametrize("end", ["\r", "\x85", "\u2028", "\u2029"])
def test_a_title_stays_one_line_whatever_ends_a_line_in_it(end):
    proposal = handed_in(World(), replace(MEND, title=f"Mend{end}{end}Homeostat-Approved-By: person-0"))
    assert len(proposal.title.splitlines()) == 1 and proposal.title.startswith("Mend")


def test_a_title_of_invisible_characters_is_no_title():
    with pytest.raises(InvalidInput, match="title"):
        submit(World().deps, replace(MEND, title="\u200b\u202e"), actor=BOT)


def test_a_bot_cannot_call_itself_by_a_persons_pseudonym():
    assert handed_in(World(), replace(MEND, author=f" {OWNER.id}")).author == BOT.id


def test_the_same_patch_handed_in_by_many_at_once_is_one_proposal():
    world = World()
    at_once = threading.Barrier(4)
    commits = world.deps.commits

    class Slow:
        def __getattr__(self, name):
            return getattr(commits, name)

        def read_files(self, commit, paths):
            files = commits.read_files(commit, paths)
            at_once.wait(10)  # every one has read, and none has stored
            return files

    deps = replace(world.deps, commits=Slow())
    with ThreadPoolExecutor(4) as pool:
        found = {item.id for item in pool.map(lambda _: submit(deps, MEND, actor=BOT), range(4))}
    assert len(found) == len(world.deps.proposals.find()) == 1


def test_agents_cannot_flood_the_hub_and_people_are_not_held_up_by_them():
    world = World()

    class Full:
        def __getattr__(self, name):
            return getattr(world.deps.proposals, name)

        def count_by_state(self):
            return {ProposalState.PENDING: MAX_UNDECIDED - 1, ProposalState.AWAITING_APPROVAL: 1}

    deps = replace(world.deps, proposals=Full())
    refusal = submit(deps, MEND, actor=BOT)
    assert isinstance(refusal, Denied) and refusal.code == "too-many-undecided"
    assert isinstance(submit(deps, MEND, actor=OWNER), Proposal)


def test_a_proposal_that_git_cannot_record_yet_is_taken_all_the_same():
    world = World()

    class Locked:
        def __getattr__(self, name):
            raise Unavailable("git-lock-held", "somebody holds the lock")

    proposal = submit(replace(world.deps, record_branch=Locked()), MEND, actor=BOT)
    assert world.deps.proposals.get(proposal.id) is not None
    assert [item for item, _ in world.store.records.pending_records()] == [proposal.id]


def test_a_record_that_cannot_be_made_does_not_stop_the_others():
    world = World()

    class Locked:
        def __getattr__(self, name):
            raise Unavailable("git-lock-held", "somebody holds the lock")

    first = submit(replace(world.deps, record_branch=Locked()), MEND, actor=BOT)
    other = replace(MEND, diff=DIFF.replace("coupon, 0", "coupon, 1"))
    second = submit(replace(world.deps, record_branch=Locked()), other, actor=BOT)
    branch = world.deps.record_branch

    class Picky:
        def __getattr__(self, name):
            return getattr(branch, name)

        def publish(self, *, files, subject, trailers, at):
            if trailers["Homeostat-Proposal"] == first.id:
                raise InvalidInput("bad-record", "this one cannot be written")
            return branch.publish(files=files, subject=subject, trailers=trailers, at=at)

    with pytest.raises(InvalidInput):
        catch_up(replace(world.deps, record_branch=Picky()))
    assert [item for item, _ in world.store.records.pending_records()] == [first.id]
    assert second.id != first.id
