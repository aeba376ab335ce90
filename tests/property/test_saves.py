"""Of any writes: none is missed, nothing else is told, and none is waited out for ever."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from homeostat.model.reload import Stamp
from homeostat.rollout.saves import MOST_S, SETTLE_GONE_S, SETTLE_S, Gathering, look, watch

AT = datetime(2026, 1, 5, tzinfo=UTC)
FILES = ("a", "b", "c")
LOOK_S = 0.01

steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, LOOK_S / 2, SETTLE_S, SETTLE_GONE_S, 0.7]),
        st.sampled_from(FILES),
        st.sampled_from(["write", "empty", "delete"]),
    ),
    max_size=25,
)


@given(steps)
def test_each_write_is_told_once_it_is_over_and_nothing_else_is(writes):
    disk = {name: Stamp(AT, 1, (0,)) for name in FILES}
    state = watch(Gathering(), disk)
    told = dict(disk)
    now_s = last_s = 0.0
    begun_s = None
    number = 0
    script = [*writes, None]
    due_s = 0.0
    while script or state.under_way:
        while script and now_s >= due_s:
            step = script.pop(0)
            if step is None:
                break
            number += 1
            how = {"write": Stamp(AT, 1, (number,)), "empty": Stamp(AT, 0, (number,)), "delete": None}[step[2]]
            if disk[step[1]] != how:
                disk[step[1]], last_s = how, now_s
                begun_s = now_s if begun_s is None else begun_s
            due_s = now_s + step[0]
        state, save = look(state, dict(disk), now_s=now_s)
        if save is not None:
            # What is told is what lies there, and all that was written is told with it.
            changed = {name for name in FILES if disk[name] != told[name]}
            assert changed <= save.files
            waited_s = now_s - save.since_s
            assert now_s - last_s >= SETTLE_S - 1e-9 or waited_s >= MOST_S
            assert waited_s <= max(MOST_S, SETTLE_GONE_S) + LOOK_S + 1e-9
            told |= {name: disk[name] for name in save.files}
            begun_s = None
        if begun_s is not None:
            assert now_s - begun_s <= MOST_S + LOOK_S + 1e-9
        now_s += LOOK_S
    assert told == disk


@given(st.integers(1, 200))
def test_looks_without_a_write_tell_nothing(looks):
    disk = {name: Stamp(AT, 1, (0,)) for name in FILES}
    state = watch(Gathering(), disk)
    for index in range(looks):
        state, save = look(state, disk, now_s=index * LOOK_S)
        assert save is None and not state.under_way
