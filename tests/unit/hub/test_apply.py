"""Every row of the source document's contract for `apply` and `batch-apply`."""

import json
import threading
from dataclasses import replace

import pytest
from hub_harness import APPLY, BATCH, PROPOSALS, UNKNOWN

from homeostat.core.digests import digest_bytes
from homeostat.model.proposal import ProposalState
from homeostat.model.settings import CanarySettings, HmrSettings, SelfImprovementSettings
from homeostat.ports.proving import ProofRuns
from homeostat.testing.fake_live import Misbehaviour
from homeostat.testing.fake_prover import test_run as run_of
from homeostat.testing.world import DIFF, PROCESS, WORLD_SETTINGS, file

S = ProposalState
SUCCESS = {"ok", "status", "message", "restart_required", "proposal_id"}
ERROR = SUCCESS | {"error", "details"}
LIVE = "Proposal applied successfully via HMR"
RESTART = "Proposal approved - HMR not available, OS restart required"


def apply(client, identity, **fields):
    return client.post(APPLY, json={"proposal_id": identity, **fields})


def assert_error(answer, error, *, restart_required=False, identity=None):
    body = answer.json()
    assert (answer.status_code, set(body)) == (400, ERROR), answer.text
    assert body["ok"] is False and body["status"] == "error"
    assert body["error"] == error
    assert body["restart_required"] is restart_required
    assert body["details"] and body["message"].startswith(f"{error}: ")
    if identity is not None:
        assert body["proposal_id"] == identity
    return body


def new_file(name):
    """Return a diff that leaves every other proposal's diff applicable in bytes, but not on its base."""
    return f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+value = 1\n"


def test_a_change_that_went_live_is_answered_in_the_documented_words(served, owner):
    identity = served.submit()
    answer = apply(owner, identity, user="admin")
    assert answer.status_code == 200
    assert answer.json() == {
        "ok": True,
        "status": "approved",
        "message": LIVE,
        "restart_required": False,
        "proposal_id": identity,
    }
    assert served.row(identity).state is S.OBSERVING


def test_a_change_on_a_share_of_the_calls_is_live_and_needs_no_restart(serve):
    with serve(replace(WORLD_SETTINGS, canary=CanarySettings(steps=(10,)))) as served:
        identity = served.submit()
        body = apply(served.client(), identity).json()
        assert served.row(identity).state is S.CANARY
    assert (body["ok"], body["message"], body["restart_required"]) == (True, LIVE, False)


def test_no_caller_brings_the_code_that_is_run(served, owner):
    """Whatever else stands in the request, what is applied is what was proposed, proved and agreed to."""
    evil = {"hmr_source": "import os; os.abort()", "hmr_target": "engine", "diff": new_file("evil.py"), "method": "hmr"}
    identity = served.submit()
    answer = apply(owner, identity, **evil)
    assert answer.status_code == 200 and set(answer.json()) == SUCCESS
    assert "evil.py" not in served.world.repository.disk
    row = served.row(identity)
    assert (row.diff, row.files) == (DIFF, ("shop.py",)) and "os.abort" not in repr(row)
    assert_error(apply(owner, UNKNOWN, **evil), "Proposal not found", identity=UNKNOWN)
    assert_error(apply(owner, "manual", **evil), "Proposal not found", identity="manual")


@pytest.mark.parametrize("why", ["no process", "process cannot", "hmr disabled"])
def test_where_nothing_can_be_swapped_it_is_approved_and_a_restart_is_required(serve, why):
    hmr = HmrSettings(enabled=why != "hmr disabled")
    with serve(replace(WORLD_SETTINGS, hmr=hmr)) as served:
        identity = served.submit()
        if why == "no process":
            served.world.live.end(PROCESS)
        elif why == "process cannot":
            served.world.live.misbehave(PROCESS, "prepare", Misbehaviour.REFUSE)
        answer = apply(served.client(), identity)
    assert answer.status_code == 200
    assert answer.json() == {
        "ok": True,
        "status": "approved",
        "message": RESTART,
        "restart_required": True,
        "proposal_id": identity,
    }


def test_a_swap_that_fails_is_a_400_that_says_restart_required(served, owner):
    identity = served.submit()
    served.world.live.misbehave(PROCESS, "swap", Misbehaviour.FAIL)
    body = assert_error(apply(owner, identity), "HMR application failed", restart_required=True, identity=identity)
    assert "scripted" in body["details"]


def test_asked_again_for_one_that_failed_it_answers_as_the_first_time(served, owner):
    identity = served.submit()
    served.world.live.misbehave(PROCESS, "swap", Misbehaviour.FAIL)
    assert apply(owner, identity).json() == apply(owner, identity).json()
    assert served.metric("aetherra_selfimprove_hmr_error_total") == 1


@pytest.mark.parametrize("identity", [UNKNOWN, "invalid-id", "../../etc/passwd", "x" * 200, "\x00", "é", UNKNOWN[:8]])
def test_a_proposal_that_does_not_exist_is_named_in_the_details(owner, identity):
    body = assert_error(apply(owner, identity), "Proposal not found", identity=identity)
    assert body["details"] == f"proposal_id '{identity}' does not exist"


def test_with_applying_switched_off_the_service_is_not_available(serve):
    settings = replace(WORLD_SETTINGS, self_improvement=SelfImprovementSettings(enabled=False))
    with serve(settings) as served:
        identity = served.submit()
        assert_error(apply(served.client(), identity), "Self-Incorporation service not available", identity=identity)
        assert served.row(identity).state is S.AWAITING_APPROVAL


def test_one_that_is_not_validated_yet_is_refused_with_the_reason(served, owner):
    served.paused.set()
    identity = served.submit()
    body = assert_error(apply(owner, identity), "Proposal not validated", identity=identity)
    assert "waits to be validated" in body["details"]
    assert served.row(identity).state is S.PENDING


def test_one_that_validation_blocked_is_refused_with_the_reason(served, owner):
    served.world.prover.script(
        lambda job: replace(_passing(served, job), candidate=run_of({"tests/test_it.py::test_it": "failed"}))
    )
    identity = served.submit()
    body = assert_error(apply(owner, identity), "Proposal blocked", identity=identity)
    assert "test_it" in body["details"]


def _passing(served, job):
    run = run_of({"tests/test_it.py::test_it": "passed"})
    return ProofRuns(sandbox="bubblewrap", base=run, candidate=run)


def test_one_that_was_taken_back_is_locked_out(served, owner):
    identity = served.submit()
    apply(owner, identity)
    owner.post(f"{PROPOSALS}/{identity}/revert", json={})
    served.settle()
    assert served.row(identity).state is S.REVERTED
    body = apply(owner, identity).json()
    assert body["ok"] is False and "a person may hand its diff in again" in body["details"]
    again = owner.post(PROPOSALS, json={"title": "Mend", "rationale": "why", "diff": DIFF})
    assert again.status_code == 400 and again.json()["error"] == "Proposal locked out"


@pytest.mark.parametrize(
    ("arrange", "error", "way_out"),
    [
        ("moved", "Proposal is out of date", " --diff FILE"),
        ("dirty", "Files have local changes", "; commit or undo your own changes to these files, then apply again"),
    ],
)
def test_a_tree_that_does_not_fit_is_refused_with_the_way_out_and_left_alone(served, owner, arrange, error, way_out):
    identity = served.submit()
    if arrange == "moved":
        served.world.repository.user_commit({"other.py": file("x = 1\n")}, at=served.world.clock.now())
    else:
        served.world.repository.disk["shop.py"] = file("mine\n")
    answer = apply(owner, identity)
    assert_error(answer, error, identity=identity)
    assert answer.json()["details"].endswith(way_out)
    assert served.row(identity).state is S.AWAITING_APPROVAL


def test_one_that_is_out_of_date_and_still_fits_is_brought_up_to_date_as_it_is(served, owner):
    """As the refusal says: the same diff is another revision, on the present head."""
    identity = served.submit()
    served.world.repository.user_commit({"other.py": file("x = 1\n")}, at=served.world.clock.now())
    assert f"homeostat proposals edit {identity[:8]} --diff FILE" in apply(owner, identity).json()["details"]
    assert owner.post(f"{PROPOSALS}/{identity}/edit", json={"diff": DIFF}).status_code == 200
    served.settle()
    assert apply(owner, identity).status_code == 200


def test_a_digest_that_is_another_now_is_refused(served, owner):
    identity = served.submit()
    stale = str(digest_bytes(b"something else"))
    assert_error(apply(owner, identity, change_digest=stale), "Proposal changed since it was seen", identity=identity)
    assert apply(owner, identity, change_digest=served.row(identity).change.change_digest).status_code == 200


def test_applied_again_it_answers_as_the_first_time_and_happens_once(served, owner):
    identity = served.submit()
    first = apply(owner, identity)
    assert (first.status_code, first.json()) == ((again := apply(owner, identity)).status_code, again.json())
    assert [name for name, _, _ in served.world.live.calls] == ["prepare", "swap"]


def test_eight_callers_at_once_apply_it_once_and_are_all_answered_alike(served, owner):
    identity = served.submit()
    gate = threading.Barrier(8)
    answers = []

    def call():
        client = served.client()
        gate.wait(10)
        answers.append(apply(client, identity))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer.status_code for answer in answers] == [200] * 8, [answer.text for answer in answers]
    assert {answer.text for answer in answers} == {answers[0].text}
    kinds = [entry.kind for entry in served.world.deps.ledger.entries()]
    assert (kinds.count("proposal.approved"), kinds.count("proposal.went_live")) == (1, 1)
    assert [name for name, _, _ in served.world.live.calls] == ["prepare", "swap"]
    assert served.metric("aetherra_selfimprove_hmr_success_total") == 1
    assert served.metric("aetherra_selfimprove_apply_total", status="approved", restart_required="false") == 8


def test_a_decision_between_look_and_word_is_taken_as_it_stands(served, owner):
    """A rejection that comes in while an application is being asked wins, and the caller reads it."""
    identity = served.submit()
    proposals = served.world.deps.proposals
    real_save, raced = proposals.save, []

    def save(proposal, entry):
        if not raced:
            raced.append(True)
            assert owner.post(f"{PROPOSALS}/{identity}/reject", json={"reason": "no"}).status_code == 200
        return real_save(proposal, entry)

    proposals.save = save
    body = apply(owner, identity).json()
    assert body["ok"] is False and body["details"] == f"proposal {identity}: it was rejected: no"
    assert served.row(identity).state is S.REJECTED


def test_who_applied_and_that_it_was_forced_stand_in_the_ledger_and_the_label_in_the_row_alone(served, owner):
    identity = served.submit()
    apply(owner, identity, user="admin", force=True, reason="the shop is down")
    entry = next(item for item in served.world.deps.ledger.entries() if item.kind == "proposal.approved")
    assert (entry.actor, entry.subject, entry.body["forced"]) == ("person-00000000000a", identity, True)
    assert entry.body["policies"] == ["people-decide", "people-apply-and-revert", "people-force"]
    assert "admin" not in repr(served.world.deps.ledger.entries())
    assert served.world.deps.proposals.get(identity).review.label == "admin"


def test_force_never_skips_a_refusal(served, owner):
    served.paused.set()
    identity = served.submit()
    assert_error(apply(owner, identity, force=True, reason="in a hurry"), "Proposal not validated")


def test_force_without_a_reason_is_refused_and_the_policy_named(served, owner):
    identity = served.submit()
    body = assert_error(apply(owner, identity, force=True, reason=" "), "Proposal application failed")
    assert "needs a reason" in body["details"] and "force-wants-a-reason" in body["details"]
    assert served.row(identity).state is S.AWAITING_APPROVAL


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"proposal_id": ""},
        {"proposal_id": 5},
        {"proposal_id": None},
        {"proposal_id": ["a"]},
        {"proposal_id": "x" * 201},
        {"proposal_id": UNKNOWN, "force": "yes"},
        {"proposal_id": UNKNOWN, "force": 1},
        {"proposal_id": UNKNOWN, "user": 7},
        {"proposal_id": UNKNOWN, "user": "x" * 201},
        {"proposal_id": UNKNOWN, "change_digest": {}},
        [],
        "text",
        5,
        None,
    ],
)
def test_a_request_of_another_shape_is_a_400_with_all_fields(owner, body):
    answer = assert_error(owner.post(APPLY, json=body), "Invalid request")
    sent = body.get("proposal_id") if isinstance(body, dict) else None
    assert answer["proposal_id"] == (sent[:200] if isinstance(sent, str) else "")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"{'proposal_id': 1}",
        b'{"proposal_id": "\xff"}',
        b'{"proposal_id": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"proposal_id": NaN}',
        b"[" * 100_000,
        b'{"proposal_id": ' + b"9" * 5000 + b"}",
        b"\x00\x01",
        b"\xff\xfe{\x00}\x00",
    ],
    ids=range(11),
)
def test_a_body_that_is_no_json_is_a_400_with_all_fields(owner, data):
    assert_error(owner.post(APPLY, content=data, headers={"Content-Type": "application/json"}), "Invalid request")


def test_a_body_that_is_not_sent_as_json_is_refused_with_the_remedy(owner):
    """A form of a foreign page can send text, but not this content type."""
    body = json.dumps({"proposal_id": UNKNOWN})
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = assert_error(owner.post(APPLY, content=body, headers={"Content-Type": kind}), "Invalid request")
        assert "application/json" in answer["details"]


def test_an_agents_token_is_not_let_in(served, bot):
    identity = served.submit()
    for path, body in ((APPLY, {"proposal_id": identity}), (BATCH, {"proposal_ids": [identity]})):
        answer = bot.post(path, json=body)
        assert answer.status_code == 403 and answer.json()["title"] == "not-a-person"
    assert served.row(identity).state is S.AWAITING_APPROVAL


# batch-apply


def batch(client, identities, **fields):
    return client.post(BATCH, json={"proposal_ids": identities, **fields})


def test_a_batch_goes_on_after_a_failure_and_counts_both(served, owner):
    good = served.submit()
    stale = served.submit(new_file("other.py"))
    answer = batch(owner, [UNKNOWN, good, stale])
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == {"ok", "applied", "failed", "restart_required", "results"}
    assert (body["ok"], body["applied"], body["failed"]) == (True, 1, 2)
    assert [(item["proposal_id"], item["ok"]) for item in body["results"]] == [
        (UNKNOWN, False),
        (good, True),
        (stale, False),
    ]
    assert [set(item) for item in body["results"]] == [ERROR, SUCCESS, ERROR]
    assert [item.get("error") for item in body["results"]] == ["Proposal not found", None, "Proposal is out of date"]
    assert body["restart_required"] is False


def test_a_batch_needs_a_restart_when_any_of_it_does(served, owner):
    """One that failed in the live swap counts too, as the contract's table has it."""
    identity = served.submit()
    served.world.live.misbehave(PROCESS, "swap", Misbehaviour.FAIL)
    body = batch(owner, [identity, UNKNOWN]).json()
    assert (body["applied"], body["failed"], body["restart_required"]) == (0, 2, True)
    assert [item["restart_required"] for item in body["results"]] == [True, False]


def test_one_that_is_named_twice_is_applied_and_counted_once(served, owner):
    identity = served.submit()
    body = batch(owner, [identity, identity]).json()
    assert (body["applied"], body["failed"], len(body["results"])) == (1, 0, 1)


@pytest.mark.parametrize(
    "identities", [[], [UNKNOWN] * 11, None, "text", [5], [None], [["a"]], {"a": 1}, ["x" * 201]], ids=range(9)
)
def test_a_batch_of_another_shape_or_size_is_refused_as_a_whole(owner, identities):
    answer = batch(owner, identities)
    assert answer.status_code == 400
    assert (answer.json()["ok"], answer.json()["error"]) == (False, "Invalid request")
    assert "proposal_ids" in answer.json()["details"]


def test_ten_are_taken(owner):
    body = batch(owner, [f"{number}" for number in range(10)]).json()
    assert (body["ok"], body["applied"], body["failed"]) == (True, 0, 10)


def test_the_configured_limit_may_be_smaller(serve):
    with serve(replace(WORLD_SETTINGS, self_improvement=SelfImprovementSettings(batch_limit=2))) as served:
        client = served.client()
        assert batch(client, ["a", "b"]).status_code == 200
        answer = batch(client, ["a", "b", "c"])
        assert answer.status_code == 400
        assert (answer.json()["error"], answer.json()["title"]) == ("Invalid request", "batch-too-large")
