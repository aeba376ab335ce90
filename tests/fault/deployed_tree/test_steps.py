"""Moving the deployed tree, which dies or fails after a step: then all or nothing.

Dying is a real death: a forked process leaves by `os._exit` in the middle of the move, so that no
`finally` of ours runs and the kernel alone lets go of its locks.
"""

import pytest
from deployed_scene import ADVANCE_STEPS, DIED, NAME, RETREAT_STEPS, Scene, die_after, fail_after, in_a_process

from homeostat.core.errors import Conflict, Unavailable


def test_the_steps_are_those_that_are_tried_here(plain: Scene) -> None:
    steps: list[str] = []
    plain.advance(steps.append)
    assert tuple(steps) == ADVANCE_STEPS
    steps.clear()
    plain.retreat(steps.append)
    assert tuple(steps) == RETREAT_STEPS


def test_what_a_user_sees_before_and_after(plain: Scene) -> None:
    assert plain.before != plain.after
    assert plain.before.git_leftovers == plain.after.git_leftovers == ()
    assert plain.before.status.count(b"\0") == plain.after.status.count(b"\0") == 2  # the user's own two files
    assert "alone/last.py" not in plain.after.files
    assert plain.before.folders == plain.after.folders == frozenset()


@pytest.mark.parametrize("step", ADVANCE_STEPS)
def test_an_advance_that_died_is_finished_by_the_next(plain: Scene, step: str) -> None:
    assert in_a_process(lambda: plain.advance(die_after(step))) == DIED
    plain.advance()
    assert plain.look() == plain.after


@pytest.mark.parametrize("step", ADVANCE_STEPS)
def test_an_advance_that_died_is_undone_by_a_retreat(plain: Scene, step: str) -> None:
    assert in_a_process(lambda: plain.advance(die_after(step))) == DIED
    plain.retreat()
    assert plain.look() == plain.before


@pytest.mark.parametrize("step", RETREAT_STEPS)
def test_a_retreat_that_died_is_finished_by_the_next(plain: Scene, step: str) -> None:
    plain.advance()
    assert in_a_process(lambda: plain.retreat(die_after(step))) == DIED
    plain.retreat()
    assert plain.look() == plain.before


@pytest.mark.parametrize("step", RETREAT_STEPS)
def test_a_retreat_that_died_is_undone_by_an_advance(plain: Scene, step: str) -> None:
    plain.advance()
    assert in_a_process(lambda: plain.retreat(die_after(step))) == DIED
    plain.advance()
    assert plain.look() == plain.after


@pytest.mark.parametrize("step", ["staged run.sh", "branch-moved", "moved run.sh", "index-moved"])
def test_a_linked_worktree_recovers_in_the_same_way(linked: Scene, step: str) -> None:
    main = linked.user.snapshot()
    assert in_a_process(lambda: linked.advance(die_after(step))) == DIED
    linked.advance()
    assert linked.look() == linked.after
    assert in_a_process(lambda: linked.retreat(die_after(step))) == DIED
    linked.retreat()
    assert linked.look() == linked.before
    with pytest.raises(Unavailable):
        linked.advance(fail_after(step))
    assert linked.look() == linked.before
    assert linked.user.snapshot() == main


def test_dying_again_and_again_at_every_step_still_comes_to_the_end(plain: Scene) -> None:
    for step in ADVANCE_STEPS:
        in_a_process(lambda step=step: plain.advance(die_after(step)))  # type: ignore[misc]
    plain.advance()
    assert plain.look() == plain.after


@pytest.mark.parametrize("step", ADVANCE_STEPS[:-2])
def test_an_advance_that_fails_puts_everything_back(plain: Scene, step: str) -> None:
    with pytest.raises(Unavailable):
        plain.advance(fail_after(step))
    assert plain.look() == plain.before


@pytest.mark.parametrize("step", RETREAT_STEPS[:-2])
def test_a_retreat_that_fails_puts_everything_back(plain: Scene, step: str) -> None:
    plain.advance()
    with pytest.raises(Unavailable):
        plain.retreat(fail_after(step))
    assert plain.look() == plain.after


@pytest.mark.parametrize("step", ADVANCE_STEPS[6:14])
def test_while_the_tree_is_half_moved_the_user_cannot_commit_it(plain: Scene, step: str) -> None:
    in_a_process(lambda: plain.advance(die_after(step)))
    head = plain.user.head("main")
    plain.user.git("commit", "-am", "unaware", check=False)
    assert plain.user.head("main") == head
    plain.advance()
    assert plain.look() == plain.after


@pytest.mark.parametrize("step", ["branch-moved", f"moved {NAME}", "moved run.sh"])
def test_work_begun_after_a_death_makes_a_conflict_and_the_rest_is_put_back(plain: Scene, step: str) -> None:
    in_a_process(lambda: plain.advance(die_after(step)))
    (plain.checkout / NAME).write_bytes(b"the user's answer\n")
    with pytest.raises(Conflict) as caught:
        plain.advance()
    assert caught.value.code == "dirty-files"
    found = plain.look()
    assert found.files.pop(NAME)[1] == b"the user's answer\n"  # type: ignore[attr-defined]
    expected = dict(plain.before.files)
    del expected[NAME]
    assert found.files == expected
    assert (found.refs, found.index, found.git_leftovers) == (plain.before.refs, plain.before.index, ())
