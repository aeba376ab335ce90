"""What a person saves goes live in every process or in none, and is said and written down as what it is."""

from dataclasses import replace

import pytest
from edited_world import Edited

from homeostat.core.digests import digest_bytes
from homeostat.core.ids import ProcessId
from homeostat.flows.applying import request_apply
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.reloading import MAX_FILES
from homeostat.flows.reverting import request_revert
from homeostat.model.reload import ReloadOutcome as Outcome
from homeostat.model.settings import RestartSettings
from homeostat.rollout.saves import SETTLE_GONE_S, SETTLE_S
from homeostat.testing.fake_live import Misbehaviour
from homeostat.testing.world import DIFF, MENDED, OWNER, PROCESS, SOURCE, WORLD_SETTINGS, file

OTHER = ProcessId("00000000-0000-4000-8000-000000000002")
THIRD = ProcessId("00000000-0000-4000-8000-000000000003")
SIDE = "def tax(amount):\n    return amount\n"
SIDE_MENDED = SIDE.replace("return amount", "return amount + 1")
RESTART = SOURCE.replace("{'A': 1}", "open('prices')")


@pytest.fixture
def edited():
    return Edited()


def test_what_is_saved_runs_and_the_editor_takes_it_back(edited):
    edited.save("shop.py", MENDED)
    assert edited.source() == MENDED
    (report,) = edited.told
    assert report.line().startswith("reloaded shop.py: shop.py in 1 process, ")
    edited.save("shop.py", SOURCE)
    assert edited.source() == SOURCE
    assert edited.outcomes == [Outcome.RELOADED] * 2


def test_the_ledger_names_the_person_at_the_files_and_nobody_who_approved(edited):
    edited.save("shop.py", MENDED)
    begun, done = edited.entries()
    assert (begun.kind, done.kind, begun.actor) == ("reload.begun", "reload.done", "person-at-the-files")
    assert begun.subject == done.subject
    assert begun.body["author"] == begun.body["approved_by"] == "person-at-the-files"
    assert "no credential was checked" in begun.body["consent"]
    digests = {"before": digest_bytes(SOURCE.encode()), "after": digest_bytes(MENDED.encode())}
    assert begun.body["files"] == [{"path": "shop.py", **digests}]
    assert begun.body["verdicts"] == [{"path": "shop.py", "definition": "price", "verdict": "swap"}]
    assert begun.body["processes"] == [PROCESS]
    assert done.body["functions"] == ["shop.py"]


def test_a_key_that_lacks_its_quotes_is_neither_written_down_nor_told(edited):
    key = "sk_live_" + "51HxQzLkJ8s9dPq2Wv7RtYb3Nc"
    edited.save("shop.py", MENDED + f"\n\ndef key():\n    return {key}\n")
    (report,), (entry,) = edited.told, edited.entries()
    assert "[REDACTED_KEY]" in report.reason and "[REDACTED_KEY]" in entry.body["reason"]
    assert key not in report.line() and key not in repr(entry)


def test_a_settled_save_leaves_no_change_in_force_and_no_invariant_broken(edited):
    edited.save("shop.py", MENDED)
    assert edited.live.processes()[0].changes == ()
    assert edited.world.violations() == ()


def test_files_that_are_saved_together_are_one_change():
    edited = Edited(more={"side.py": SIDE})
    edited.files.write("shop.py", MENDED)
    edited.pass_time(SETTLE_S / 2)
    edited.files.write("side.py", SIDE_MENDED)
    edited.pass_time(0.3)
    (report,) = edited.told
    assert report.files == ("shop.py", "side.py")
    assert len(edited.swaps()) == 1


@pytest.mark.parametrize("text", [SOURCE, ""])
def test_an_editor_that_empties_the_file_first_makes_one_reload(edited, text):
    edited.files.write("shop.py", text)
    edited.pass_time(SETTLE_GONE_S / 2)
    edited.save("shop.py", MENDED)
    assert edited.outcomes == [Outcome.RELOADED]


def test_a_file_that_is_written_anew_with_the_same_content_is_nothing(edited):
    edited.save("shop.py", SOURCE)
    assert (edited.told, edited.swaps(), edited.entries()) == ([], [], [])


def test_every_process_gets_it_or_none(edited):
    edited.attach(OTHER, {"shop.py": SOURCE})
    edited.pass_time(3)
    edited.live.misbehave(OTHER, "swap", Misbehaviour.FAIL)
    edited.save("shop.py", MENDED)
    assert (edited.source(), edited.source(OTHER)) == (SOURCE, SOURCE)
    assert edited.outcomes == [Outcome.FAILED]
    assert [entry.kind for entry in edited.entries()] == ["reload.begun", "reload.failed"]
    edited.save("shop.py", MENDED + "\n")
    assert (edited.source(), edited.source(OTHER)) == (MENDED + "\n",) * 2


def test_what_fails_in_the_only_process_is_put_back_and_the_next_save_is_tried(edited):
    edited.live.misbehave(PROCESS, "swap", Misbehaviour.FAIL)
    edited.save("shop.py", MENDED, seconds=3)
    assert (edited.source(), edited.outcomes) == (SOURCE, [Outcome.FAILED])
    edited.save("shop.py", MENDED + "\n")
    assert edited.source() == MENDED + "\n"


@pytest.mark.parametrize("processes", [1, 2])
def test_a_process_that_runs_another_text_than_is_known_is_not_swapped(edited, processes):
    if processes == 2:
        edited.attach(OTHER, {"shop.py": SOURCE})
        edited.pass_time(3)
    edited.live.load(PROCESS, "shop.py", SOURCE + "# patched by somebody else\n")
    edited.save("shop.py", MENDED, seconds=3)
    assert edited.outcomes == [Outcome.RESTART_NEEDED]
    assert "not what the change was made from" in edited.told[0].line()
    if processes == 2:
        assert edited.source(OTHER) == SOURCE


def test_what_needs_a_restart_is_said_with_its_definition_and_nothing_is_swapped(edited):
    edited.save("shop.py", RESTART)
    (report,) = edited.told
    assert report.outcome is Outcome.RESTART_NEEDED
    assert "shop.py:5" in report.line()
    assert "homeostat restart" in report.line()
    assert edited.swaps() == []
    assert [entry.kind for entry in edited.entries()] == ["reload.refused"]


def test_nothing_goes_live_beside_a_file_that_waits_for_a_restart_until_that_is_undone():
    edited = Edited(more={"side.py": SIDE})
    edited.save("shop.py", RESTART)
    edited.save("side.py", SIDE_MENDED)
    assert edited.source(path="side.py") == SIDE
    assert edited.told[-1].outcome is Outcome.RESTART_NEEDED
    assert edited.told[-1].files == ("shop.py", "side.py")
    assert "side.py" not in edited.told[0].line()
    assert "; side.py waits with it; to run what is saved" in edited.told[-1].line()
    edited.save("shop.py", SOURCE)
    assert edited.source(path="side.py") == SIDE_MENDED
    assert edited.outcomes[-1] is Outcome.RELOADED


def test_an_edit_that_is_undone_before_it_ran_is_said_to_be_in_line(edited):
    edited.save("shop.py", RESTART)
    edited.save("shop.py", SOURCE)
    assert edited.outcomes == [Outcome.RESTART_NEEDED, Outcome.IN_LINE]


def test_a_process_that_was_started_anew_has_read_it_and_the_next_save_goes_on_from_there(edited):
    edited.save("shop.py", RESTART)
    edited.live.end(PROCESS)
    edited.attach(OTHER, {"shop.py": RESTART})
    edited.pass_time(3)
    assert edited.outcomes == [Outcome.RESTART_NEEDED, Outcome.IN_LINE]
    edited.save("shop.py", RESTART.replace("return PRICES", "return 2 * PRICES"))
    assert edited.outcomes[-1] is Outcome.RELOADED


def test_where_restarts_are_automatic_a_save_that_needs_one_is_restarted_for_once():
    edited = Edited(settings=replace(WORLD_SETTINGS, restart=RestartSettings(automatic=True)))
    edited.world.restarter.supervise("p1")
    edited.save("shop.py", RESTART, seconds=5)
    assert edited.outcomes == [Outcome.RESTARTING]
    asked = [entry for entry in edited.world.store.ledger.entries() if entry.kind == "restart.asked"]
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def price(coupon:\n", "line 1"),
        (b"\xff\xfe\x00nonsense", "encoding"),
        (b"# coding: nobody-knows\n", "encoding"),
        (b"price = 1\x00", "null bytes"),
    ],
)
def test_a_file_that_python_cannot_read_is_said_once_and_tried_again_at_the_next_save(edited, text, said):
    edited.save("shop.py", text, seconds=3)
    (report,) = edited.told
    assert report.outcome is Outcome.UNREADABLE
    assert said in report.line()
    assert (edited.swaps(), edited.entries()) == ([], [])
    edited.save("shop.py", MENDED)
    assert edited.source() == MENDED


def test_a_file_that_is_deleted_or_unreadable_changes_nothing_and_comes_back(edited):
    edited.files.delete("shop.py")
    edited.pass_time(3)
    edited.files.spoil("shop.py", "it cannot be read: Permission denied")
    edited.pass_time(3)
    assert [report.outcome for report in edited.told] == [Outcome.UNREADABLE] * 2
    assert "not there" in edited.told[0].line()
    assert "Permission denied" in edited.told[1].line()
    edited.save("shop.py", MENDED)
    assert edited.source() == MENDED


def test_a_checkout_of_many_files_is_refused_as_one():
    many = {f"m{index:03}.py": SIDE for index in range(MAX_FILES + 1)}
    edited = Edited(more=many)
    for path in many:
        edited.files.write(path, SIDE_MENDED)
    edited.pass_time(1)
    (report,) = edited.told
    assert report.outcome is Outcome.RESTART_NEEDED
    assert f"{MAX_FILES + 1} files" in report.line()
    assert edited.live.calls == []


def test_what_git_is_just_writing_is_waited_for():
    edited = Edited(more={"side.py": SIDE})
    edited.files.let_git_work(at_work=True)
    edited.save("shop.py", MENDED, seconds=1)
    assert (edited.told, edited.swaps()) == ([], [])
    edited.pass_time(2)
    assert edited.outcomes == [Outcome.WAITING]
    edited.save("side.py", SIDE_MENDED)
    edited.files.let_git_work(at_work=False)
    edited.pass_time(1)
    assert edited.told[-1].files == ("shop.py", "side.py")
    assert edited.outcomes == [Outcome.WAITING, Outcome.RELOADED]


def test_saves_without_end_are_taken_as_they_lie_there(edited):
    for index in range(100):
        edited.files.write("shop.py", MENDED + f"# {index}\n" * 3)
        edited.pass_time(0.02)
    assert Outcome.RELOADED in edited.outcomes
    edited.pass_time(1)
    assert edited.source().endswith("# 99\n")


# Processes that hang, are lost, come late


def test_a_process_that_cannot_be_reached_is_waited_for(edited):
    edited.attach(OTHER, {"shop.py": SOURCE})
    edited.pass_time(3)
    edited.live.lose(OTHER)
    edited.save("shop.py", MENDED, seconds=4)
    assert edited.outcomes == [Outcome.WAITING]
    assert edited.entries() == []
    edited.live.reconnect(OTHER)
    edited.pass_time(3)
    assert (edited.source(), edited.source(OTHER)) == (MENDED, MENDED)


def test_a_process_that_hangs_holds_the_save_up_and_gets_it_when_it_goes_on(edited):
    edited.attach(OTHER, {"shop.py": SOURCE})
    edited.pass_time(3)
    edited.live.stop(OTHER)
    edited.save("shop.py", MENDED, seconds=5)
    assert edited.source() == SOURCE
    assert edited.outcomes == [Outcome.WAITING]
    edited.live.go_on(OTHER)
    edited.pass_time(20)
    assert (edited.source(), edited.source(OTHER)) == (MENDED, MENDED)
    assert edited.outcomes[-1] is Outcome.RELOADED


@pytest.mark.parametrize("how", [Misbehaviour.LOSE_ANSWER, Misbehaviour.LATE, Misbehaviour.UNREACHABLE])
def test_an_answer_that_is_lost_is_made_up_for(edited, how):
    edited.live.misbehave(PROCESS, "swap", how)
    edited.save("shop.py", MENDED, seconds=10)
    assert edited.source() == MENDED
    assert edited.outcomes[-1] is Outcome.RELOADED


def test_a_process_that_started_after_the_save_is_in_line_without_a_swap(edited):
    edited.save("shop.py", MENDED)
    edited.attach(OTHER, {"shop.py": MENDED})
    edited.pass_time(3)
    assert len(edited.swaps()) == 1
    edited.save("shop.py", SOURCE)
    assert (edited.source(), edited.source(OTHER)) == (SOURCE, SOURCE)


def test_a_process_that_was_forked_before_a_reload_gets_it_too(edited):
    edited.attach(OTHER, {"shop.py": SOURCE}, parent=PROCESS)
    edited.live.lose(OTHER)
    edited.live.expire(OTHER)  # nobody has heard of it yet
    edited.save("shop.py", MENDED)
    edited.live.reconnect(OTHER)
    edited.pass_time(3)
    assert edited.source(OTHER) == MENDED


def test_a_process_that_was_forked_from_one_that_is_behind_is_behind(edited):
    edited.save("shop.py", RESTART)
    edited.attach(OTHER, {"shop.py": SOURCE}, parent=PROCESS)
    edited.pass_time(3)
    edited.live.end(PROCESS)
    edited.pass_time(3)
    assert set(edited.outcomes) == {Outcome.RESTART_NEEDED}


def test_a_process_that_does_not_say_at_first_what_it_has_loaded_is_asked_again(edited):
    edited.attach(OTHER, {"shop.py": SOURCE})
    edited.live.stop(OTHER)
    edited.pass_time(3)
    edited.live.go_on(OTHER)
    edited.pass_time(4)
    edited.save("shop.py", MENDED)
    assert edited.told[-1].processes == 2


def test_a_module_that_is_imported_later_is_followed_from_then_on(edited):
    edited.files.write("late.py", SIDE)
    edited.pass_time(3)
    edited.live.load(PROCESS, "late.py", SIDE)
    edited.pass_time(5)
    edited.save("late.py", SIDE_MENDED)
    assert edited.source(path="late.py") == SIDE_MENDED


def test_a_save_between_a_look_at_a_file_and_its_reading_is_not_taken_for_what_runs():
    edited = Edited(more={"late.py": SIDE})
    edited.world.repository.user_commit({"late.py": file(SIDE)}, at=edited.world.clock.now())
    read, saves = edited.files.read, [SIDE_MENDED]

    def saved_first(path):
        if path == "late.py" and saves:
            edited.files.write(path, saves.pop())
        return read(path)

    edited.files.read = saved_first
    edited.begin()
    edited.pass_time(5)
    assert saves == []
    assert edited.source(path="late.py") == SIDE_MENDED


def test_a_file_that_was_just_being_written_when_a_process_told_of_it_is_followed_all_the_same(edited):
    edited.files.write("late.py", SIDE)
    edited.world.repository.user_commit({"late.py": file(SIDE)}, at=edited.world.clock.now())
    edited.files.spoil("late.py", "it is just being written")
    edited.live.load(PROCESS, "late.py", SIDE)
    edited.pass_time(5)
    edited.files.write("late.py", SIDE_MENDED)
    edited.pass_time(5)
    assert edited.source(path="late.py") == SIDE_MENDED


# Hubs that come and go


def test_the_next_hub_knows_from_the_ledger_what_was_reloaded(edited):
    edited.save("shop.py", MENDED)
    edited.begin()
    edited.pass_time(3)
    assert edited.outcomes == [Outcome.RELOADED]
    edited.save("shop.py", SOURCE)
    assert edited.source() == SOURCE


def test_what_was_saved_while_no_hub_was_up_goes_live_when_one_is(edited):
    edited.files.write("shop.py", MENDED)
    edited.begin()
    edited.pass_time(3)
    assert edited.source() == MENDED
    assert edited.outcomes == [Outcome.RELOADED]


def test_what_nobody_knows_to_run_is_not_taken_for_anything(edited):
    edited.live.load(PROCESS, "shop.py", SOURCE + "# never committed\n")
    edited.files.write("shop.py", MENDED)
    edited.begin()
    edited.pass_time(3)
    assert edited.outcomes == [Outcome.RESTART_NEEDED]
    assert "not known" in edited.told[0].line()


def test_a_hub_that_died_in_mid_reload_is_followed_by_one_that_finds_what_runs(edited):
    """It journalled, swapped one of two processes, and was gone."""
    edited.attach(OTHER, {"shop.py": SOURCE})
    edited.pass_time(3)

    class Gone(BaseException):
        pass

    swap = edited.live.swap

    def die(process_id, change, **options):
        swap(process_id, change, **options)
        raise Gone

    edited.live.swap = die
    with pytest.raises(Gone):
        edited.save("shop.py", MENDED)
    del edited.live.swap
    assert {edited.source(), edited.source(OTHER)} == {SOURCE, MENDED}
    assert edited.world.violations() == ()  # the ledger knows the change that one of them runs
    edited.begin()
    edited.pass_time(5)
    assert (edited.source(), edited.source(OTHER)) == (MENDED, MENDED)
    assert {process.changes for process in edited.live.processes()} == {()}


def test_what_the_store_refuses_to_write_is_tried_again(edited):
    ledger = edited.world.deps.ledger
    append, fails = ledger.append, [True]

    def refuse(entry):
        if fails:
            fails.pop()
            raise OSError("disk full")
        return append(entry)

    ledger.append = refuse
    with pytest.raises(OSError, match="disk full"):
        edited.save("shop.py", MENDED)
    assert edited.source() == SOURCE
    edited.pass_time(1)
    assert edited.source() == MENDED


# Proposals go first


def apply(edited, *, run=True):
    deps = edited.world.deps
    row = submit(deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=OWNER)
    edited.world.run()
    row = deps.proposals.get(row.id)
    request_apply(deps, row.id, actor=OWNER, seen=row.change.change_digest)
    if run:
        edited.world.run()
    return row.id


def write_as_deployed(edited):
    """Put into the person's files what the deployed tree has."""
    edited.files.write("shop.py", edited.world.repository.disk["shop.py"].content)


def test_what_the_hub_itself_puts_on_disk_is_nobodys_edit(edited):
    identity = apply(edited, run=False)
    swapped = []
    advance = edited.world.deps.deployed.advance

    def advance_and_write(**arguments):
        advance(**arguments)
        write_as_deployed(edited)
        swapped.append(1)

    object.__setattr__(edited.world.deps.deployed, "advance", advance_and_write)
    edited.world.run()
    edited.pass_time(3)
    assert swapped and edited.source() == MENDED
    assert (edited.told, edited.entries()) == ([], [])
    edited.save("shop.py", MENDED.replace("0)", "1)"))
    assert edited.outcomes == [Outcome.RELOADED]
    edited.save("shop.py", MENDED)
    assert edited.source() == MENDED
    request_revert(edited.world.deps, identity, actor=OWNER, reason="no")
    edited.world.run()


def test_an_edit_waits_for_a_proposal_that_is_being_applied():
    edited = Edited(more={"side.py": SIDE})
    identity = apply(edited, run=False)
    deps = edited.world.deps
    edited.live.misbehave(PROCESS, "rollback", *[Misbehaviour.UNREACHABLE] * 5)
    edited.live.misbehave(PROCESS, "swap", Misbehaviour.UNREACHABLE)
    with pytest.raises(Exception, match="may be still live"):
        edited.world.run()
    assert deps.proposals.get(identity).state.value == "applying"
    edited.save("side.py", SIDE_MENDED, seconds=4)
    assert edited.outcomes == [Outcome.WAITING]
    assert "goes first" in edited.told[0].line()
    assert edited.source(path="side.py") == SIDE
