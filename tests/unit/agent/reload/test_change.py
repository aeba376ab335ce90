"""What is answered fits a frame, and says each thing once."""

from homeostat_agent.reload.change import FAILED, RESTART_REQUIRED, Outcome, refusal


def test_a_refusal_gives_each_reason_once_in_their_order():
    assert refusal(FAILED, ["b", "a", "b", "c", "a"]) == Outcome("failed", "b; a; c")
    assert refusal(RESTART_REQUIRED, []) == Outcome("restart_required", "")


def test_a_refusal_of_many_reasons_is_cut():
    told = refusal(FAILED, [f"reason {number}" for number in range(1000)])
    assert len(told.detail) == 2000
    assert told.detail.startswith("reason 0; reason 1; ")
