from dataclasses import replace

from homeostat.core.errors import Conflict, IntegrityFailure, Unavailable
from homeostat.core.ids import ProposalId
from homeostat.flows.applying import request_apply
from homeostat.flows.beating import RECOVER_EVERY, beat, heed
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.reverting import request_revert
from homeostat.flows.troubles import Troubles
from homeostat.model.proposal import ProposalState
from homeostat.model.settings import CanarySettings
from homeostat.testing.world import BOT, DIFF, OWNER, WORLD_SETTINGS, World, file


class Busy:
    """A store that answers nothing."""

    def __getattr__(self, name):
        def refuse(*_, **__):
            raise Unavailable("database-busy", "it is being written to")

        return refuse


OTHER = "--- a/other.py\n+++ b/other.py\n@@ -1 +1 @@\n-X = 1\n+X = 2\n"


def applied(world, title, diff):
    proposal = submit(world.deps, Submission(title=title, rationale="why", diff=diff), actor=BOT)
    world.run()
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.run()
    return proposal.id


def test_an_applied_change_that_cannot_be_looked_at_does_not_stop_the_watch_over_the_others():
    world = World()
    world.repository.user_commit({"other.py": file("X = 1\n")}, at=world.clock.now())
    first = applied(world, "First", DIFF)
    second = applied(world, "Second", OTHER)
    assert {world.deps.proposals.get(each).state for each in (first, second)} <= {
        ProposalState.OBSERVING,
        ProposalState.AWAITING_RESTART,
    }
    seen = []

    class Picky:
        def __getattr__(self, name):
            return getattr(world.deps.proposals, name)

        def get(self, proposal_id):
            seen.append(proposal_id)
            if len(seen) == 1:
                raise Conflict("scripted", "this row is in the way")
            return world.deps.proposals.get(proposal_id)

    troubles = Troubles()
    beat(replace(world.deps, proposals=Picky()), troubles, 1, chores={})

    assert set(seen) == {first, second}
    assert "this row is in the way" in troubles.last["observing"]


def test_trouble_of_a_look_between_two_beats_is_told_until_a_beat_has_looked_again():
    world = World(settings=replace(WORLD_SETTINGS, canary=CanarySettings(steps=(10,))))
    world.serve(seconds=30, requests=50, errors=0)
    identity = applied(world, "First", DIFF)
    assert world.deps.proposals.get(identity).state is ProposalState.CANARY

    troubles = Troubles()
    heed(replace(world.deps, canaries=Busy()), troubles)
    assert "it is being written to" in troubles.last["observing"]
    heed(world.deps, troubles)
    assert "observing" in troubles.last, "only a beat looks at all"
    request_revert(world.deps, identity, actor=OWNER, reason="not wanted")
    world.run()
    beat(world.deps, troubles, 1, chores={})
    assert troubles.last == {}


def test_a_look_between_two_beats_does_not_replace_what_the_beat_told_of_the_others():
    world = World(settings=replace(WORLD_SETTINGS, canary=CanarySettings(steps=(10,))))
    world.serve(seconds=30, requests=50, errors=0)
    applied(world, "First", DIFF)

    troubles = Troubles(last={"observing": "a row cannot be read"})
    heed(replace(world.deps, canaries=Busy()), troubles)
    assert troubles.last == {"observing": "a row cannot be read"}


def test_a_row_that_cannot_be_read_does_not_stop_the_watch_over_the_others_and_is_named():
    world = World()
    applied(world, "First", DIFF)

    class Damaged:
        """A store of which the first row cannot be read, and no page that it is in."""

        def __getattr__(self, name):
            return getattr(world.deps.proposals, name)

        def find(self, *, offset=0, limit=100, after=None, **options):
            if after is None and offset == 0:
                raise IntegrityFailure("row-malformed", "the row of proposal p-1 cannot be read")
            return world.deps.proposals.find(offset=offset - 1, limit=limit, after=after, **options)

    world.serve(seconds=70, requests=10, errors=0)
    troubles = Troubles()
    beat(replace(world.deps, proposals=Damaged()), troubles, 1, chores={})
    assert [row.state for row in world.deps.proposals.find()] == [ProposalState.IMPLEMENTED]
    assert "the row of proposal p-1 cannot be read" in troubles.last["observing"]


def test_what_cannot_be_recorded_is_tried_ever_more_seldom_and_at_each_beat_again_once_it_succeeds():
    world = World()
    tries, works = [], False

    class Records:
        def __getattr__(self, name):
            return getattr(world.deps.records, name)

        def pending_records(self):
            tries.append(number)
            if not works:
                raise Conflict("scripted", "the branch is locked")
            return ()

    deps, troubles = replace(world.deps, records=Records()), Troubles()
    for number in range(1, 100):
        beat(deps, troubles, number, chores={})
    assert [number for number in tries if number % RECOVER_EVERY] == [1, 3, 7, 15, 31, 51, 71, 91]
    works = True
    for number in range(100, 120):
        beat(deps, troubles, number, chores={})
    assert "recording" not in troubles.last
    assert tries[-5:] == [115, 116, 117, 118, 119]


def test_the_trouble_of_a_flow_ends_when_its_proposal_is_not_under_way_any_more():
    world = World()
    proposal = submit(world.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
    troubles = Troubles()
    troubles.note_flow("submitted", proposal.id, Conflict("scripted", "a lock was held"))
    beat(world.deps, troubles, RECOVER_EVERY, chores={})
    assert "a lock was held" in troubles.last[f"submitted {proposal.id}"]
    world.run()
    assert world.deps.proposals.get(proposal.id).state is ProposalState.AWAITING_APPROVAL
    beat(world.deps, troubles, 2 * RECOVER_EVERY, chores={})
    assert troubles.last == {}


def test_the_trouble_of_a_flow_ends_when_it_succeeds():
    troubles = Troubles()
    one, other = (ProposalId(f"00000000-0000-4000-8000-00000000000{number}") for number in (1, 2))
    for proposal_id in (one, other):
        troubles.note_flow("apply_asked", proposal_id, Conflict("scripted", "a lock was held"))
    troubles.note_flow("apply_asked", one, None)
    assert set(troubles.last) == {f"apply_asked {other}"}


def test_a_failure_that_lasts_is_written_to_the_log_once_until_it_is_another_or_ends(caplog):
    world, troubles = World(), Troubles()
    told = ["the branch is locked", "the branch is locked", "the disk is full", None, "the branch is locked"]

    def chore():
        if (words := told.pop(0)) is not None:
            raise Conflict("scripted", words)

    for count in range(1, 6):
        assert beat(world.deps, troubles, RECOVER_EVERY * count, chores={"sweeping": chore}) == (count != 4)
    said = [record.getMessage() for record in caplog.records if "sweeping" in record.getMessage()]
    assert [line.rpartition(": ")[2] for line in said] == [
        "the branch is locked",
        "the disk is full",
        "the branch is locked",
    ]
