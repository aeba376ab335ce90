"""Proposals as resources: handing in, listing, naming one by a beginning, deciding."""

import pytest
from hub_harness import APPLY, PROPOSALS, UNKNOWN

from homeostat.model.proposal import ProposalState
from homeostat.ports.proving import ProofRuns, ProofStage
from homeostat.testing.fake_prover import test_run as run_of
from homeostat.testing.world import DIFF, PROCESS

S = ProposalState
OTHER = "--- /dev/null\n+++ b/other.py\n@@ -0,0 +1 @@\n+value = 1\n"
LISTED = {
    "proposal_id",
    "title",
    "description",
    "status",
    "state",
    "state_reason",
    "revision",
    "category",
    "severity",
    "author",
    "created_at",
    "updated_at",
    "base_commit",
    "change_digest",
    "files",
    "restart_required",
    "restart_command",
    "rollback_token",
    "unreviewed",
    "finding_id",
    "metrics",
}
DETAIL = LISTED | {
    "diff",
    "evidence",
    "provenance",
    "takes_back",
    "proof",
    "proof_stage",
    "review",
    "application",
    "observation",
    "canary",
    "plan",
    "log",
}


def body_of(**fields):
    return {"title": "Mend", "rationale": "why", "diff": DIFF, **fields}


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [item["proposal_id"] for item in answer.json()["proposals"]]


def test_a_patch_that_is_handed_in_is_a_201_with_its_whole_row(served, bot):
    served.paused.set()
    answer = bot.post(PROPOSALS, json=body_of(evidence=["seen 3 times"], provenance={"model": "m"}, author="fixer"))
    body = answer.json()
    assert answer.status_code == 201 and set(body) == LISTED
    assert (body["status"], body["state"], body["files"], body["author"]) == (
        "pending",
        "pending",
        ["shop.py"],
        "fixer",
    )
    assert (body["category"], body["severity"]) == ("bugfix", "medium")


def test_the_same_patch_again_is_the_proposal_that_exists(served, bot, owner):
    first = served.submit()
    again = owner.post(PROPOSALS, json=body_of(title="Another title"))
    assert (again.status_code, again.json()["proposal_id"], again.json()["title"]) == (201, first, "Mend")
    assert len(ids(owner.get(PROPOSALS))) == 1


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"diff": "no diff at all"}, None),
        ({"diff": OTHER.replace("other.py", "../../etc/passwd")}, None),
        ({"diff": DIFF.replace("shop.py", "missing.py")}, None),
        ({"diff": OTHER.replace("value = 1", "key = 'AKIA" + "ABCDEFGHIJKLMNOP'")}, "secret-in-diff"),
        ({"title": "   "}, "bad-title"),
        ({"title": "two\nlines"}, "bad-title"),
        ({"rationale": " \n "}, "bad-rationale"),
        ({"evidence": ["x"] * 101}, "bad-evidence"),
        ({"provenance": {"k" * 81: "v"}}, "bad-provenance"),
        ({"base_commit": "0" * 40}, None),
        ({"base_commit": "--upload-pack=evil"}, None),
        ({"finding_id": "f-0000000000000000"}, "no-such-finding"),
    ],
    ids=range(12),
)
def test_what_is_refused_is_refused_with_code_and_reason_and_makes_no_row(served, bot, fields, code):
    answer = bot.post(PROPOSALS, json=body_of(**fields))
    body = answer.json()
    assert answer.status_code in (400, 404), answer.text
    assert body["ok"] is False and body["details"] and body["title"] != "bug"
    assert code is None or body["title"] == code
    assert ids(bot.get(PROPOSALS)) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"title": None},
        {"title": ""},
        {"title": "x" * 201},
        {"rationale": ""},
        {"diff": ""},
        {"diff": 5},
        {"category": "mischief"},
        {"severity": "extreme"},
        {"evidence": "text"},
        {"evidence": [5]},
        {"provenance": []},
        {"provenance": {"a": 1}},
        {"status": "approved"},
        {"submitted_by": "person-00000000000a"},
        {"hmr_source": "print()"},
    ],
    ids=range(15),
)
def test_a_submission_of_another_shape_is_a_400_that_names_the_field(bot, fields):
    answer = bot.post(PROPOSALS, json=body_of(**fields))
    assert answer.status_code == 400
    body = answer.json()
    assert (body["ok"], body["error"], body["title"]) == (False, "Invalid request", "invalid-request")
    assert next(iter(fields)) in body["details"]


def test_a_diff_over_the_limit_is_refused(bot):
    big = OTHER.replace("+value = 1", "+" + "x" * (1 << 20))
    answer = bot.post(PROPOSALS, json=body_of(diff=big))
    assert answer.status_code == 400 and answer.json()["details"]


def test_private_text_in_a_submission_is_not_shown_to_anyone(bot):
    answer = bot.post(PROPOSALS, json=body_of(title="Mend for ada@example.com", rationale="seen at 10.1.2.3"))
    assert "ada@example.com" not in answer.text and "10.1.2.3" not in answer.text


def test_one_is_shown_with_everything_a_reviewer_needs(served, owner):
    identity = served.submit()
    body = owner.get(f"{PROPOSALS}/{identity}").json()
    assert set(body) == DETAIL
    assert body["diff"] == DIFF and body["proof"]["verdict"] == "passed"
    assert body["plan"]["restart_reasons"] == [] and body["application"] is None
    owner.post(APPLY, json={"proposal_id": identity})
    body = owner.get(f"{PROPOSALS}/{identity}").json()
    assert body["application"]["live"] is True and body["observation"]["judgement"]
    assert body["unreviewed"] is False and body["review"]["by"] == "person-00000000000a"


def test_a_unique_beginning_names_a_proposal_and_an_ambiguous_one_is_a_409(served, owner):
    first, second = served.submit(), served.submit(OTHER)
    shared = next(first[:end] for end in range(35, 0, -1) if second.startswith(first[:end]))
    assert owner.get(f"{PROPOSALS}/{first[: len(shared) + 1]}").json()["proposal_id"] == first
    answer = owner.get(f"{PROPOSALS}/{shared}")
    assert (answer.status_code, answer.json()["title"]) == (409, "ambiguous-id")


@pytest.mark.parametrize(
    "name", [UNKNOWN, "000", "%", "____", "0000%25", "..", "0000'--", "x" * 5000, "\u0430bcd", "%00"]
)
def test_a_name_that_is_nobodys_is_a_404(served, owner, name):
    served.submit()
    for answer in (owner.get(f"{PROPOSALS}/{name}"), owner.post(f"{PROPOSALS}/{name}/approve", json={})):
        assert answer.status_code == 404 or (name == ".." and answer.status_code == 405), answer.text


def test_the_list_is_newest_first_and_paged_with_the_whole_count(served, owner):
    first, second = served.submit(), served.submit(OTHER)
    assert ids(owner.get(PROPOSALS)) == [second, first]
    assert ids(owner.get(PROPOSALS, params={"limit": 1})) == [second]
    page = owner.get(PROPOSALS, params={"limit": 1, "offset": 1})
    assert ids(page) == [first] and page.json()["total"] == 2
    assert ids(owner.get(PROPOSALS, params={"offset": 1_000_000_000})) == []
    assert set(page.json()["proposals"][0]) == LISTED


def test_the_list_is_filtered_by_status_or_finer_state(served, owner):
    waits, live = served.submit(OTHER), served.submit()
    owner.post(APPLY, json={"proposal_id": live})
    for status, expected in (
        ("pending", [waits]),
        ("awaiting_approval", [waits]),
        ("approved", [live]),
        ("observing", [live]),
        ("reverted", []),
        ("", [live, waits]),
    ):
        answer = owner.get(PROPOSALS, params={"status": status})
        assert (ids(answer), answer.json()["total"]) == (expected, len(expected)), status


@pytest.mark.parametrize(
    "params",
    [
        {"status": "nonsense"},
        {"limit": 0},
        {"limit": 1001},
        {"limit": "many"},
        {"limit": "9" * 400},
        {"offset": -1},
        {"offset": "9" * 30},
    ],
    ids=range(7),
)
def test_a_query_out_of_range_is_a_400(owner, params):
    answer = owner.get(PROPOSALS, params=params)
    assert answer.status_code == 400 and answer.json()["ok"] is False


# Decisions


def test_approving_then_applying_binds_the_digest_that_was_seen(served, owner):
    identity = served.submit()
    digest = owner.get(f"{PROPOSALS}/{identity}").json()["change_digest"]
    stale = owner.post(f"{PROPOSALS}/{identity}/approve", json={"change_digest": "sha256:" + "0" * 64})
    assert (stale.status_code, stale.json()["title"]) == (400, "digest-changed")
    answer = owner.post(f"{PROPOSALS}/{identity}/approve", json={"change_digest": digest, "reason": "good"})
    assert (answer.status_code, answer.json()["state"]) == (200, "approved")
    assert served.world.live.source(PROCESS, "shop.py") != served.row(identity).diff
    assert owner.post(APPLY, json={"proposal_id": identity}).json()["ok"] is True


def test_ones_own_approval_is_shown_as_unreviewed(served, owner):
    identity = served.submit(token="hst_owner")
    assert owner.post(f"{PROPOSALS}/{identity}/approve", json={}).json()["unreviewed"] is True


def test_a_rejection_needs_a_reason_and_keeps_it(served, owner):
    identity = served.submit()
    answer = owner.post(f"{PROPOSALS}/{identity}/reject", json={"reason": "  "})
    assert (answer.status_code, answer.json()["title"]) == (400, "reason-missing")
    answer = owner.post(f"{PROPOSALS}/{identity}/reject", json={"reason": "not needed"})
    assert answer.json()["status"] == "rejected" and "not needed" in answer.json()["state_reason"]


def test_a_deferred_one_is_taken_up_again_and_validated_anew(served, owner):
    identity = served.submit()
    assert owner.post(f"{PROPOSALS}/{identity}/defer", json={}).json()["status"] == "deferred"
    assert owner.post(f"{PROPOSALS}/{identity}/resume").json()["state"] == "pending"
    served.settle()
    assert served.row(identity).state is S.AWAITING_APPROVAL and len(served.world.prover.jobs) == 2


def test_a_revert_is_a_202_and_happens_once(served, owner):
    identity = served.submit()
    owner.post(APPLY, json={"proposal_id": identity})
    answer = owner.post(f"{PROPOSALS}/{identity}/revert", json={"reason": "we want it back"})
    assert answer.status_code == 202 and answer.json()["state"] in ("reverting", "reverted")
    assert owner.post(f"{PROPOSALS}/{identity}/revert", json={}).status_code == 202
    served.settle()
    body = owner.get(f"{PROPOSALS}/{identity}").json()
    assert body["status"] == "reverted" and "we want it back" in body["state_reason"]
    kinds = [entry.kind for entry in served.world.deps.ledger.entries()]
    assert kinds.count("proposal.revert_started") == kinds.count("proposal.reverted") == 1


@pytest.mark.parametrize("verb", ["approve", "revert", "resume"])
def test_a_decision_that_the_state_does_not_allow_is_refused_with_the_state(served, owner, verb):
    identity = served.submit()
    if verb == "approve":
        owner.post(f"{PROPOSALS}/{identity}/reject", json={"reason": "no"})
    before = served.row(identity)
    answer = owner.post(f"{PROPOSALS}/{identity}/{verb}", json={})
    assert answer.status_code == 400 and before.state.value.replace("_", " ").split()[0] in answer.json()["details"]
    assert served.row(identity) == before


def test_a_field_that_a_decision_does_not_have_is_refused(served, owner):
    """A misspelt `change_digest` must not turn into an approval of anything."""
    identity = served.submit()
    answer = owner.post(f"{PROPOSALS}/{identity}/approve", json={"changeDigest": "sha256:0"})
    assert answer.status_code == 400 and "changeDigest" in answer.json()["details"]
    assert served.row(identity).state is S.AWAITING_APPROVAL


def test_an_edit_makes_a_new_revision_that_is_validated_again(served, owner, bot):
    identity = served.submit()
    seen = owner.get(f"{PROPOSALS}/{identity}").json()["change_digest"]
    answer = bot.post(f"{PROPOSALS}/{identity}/edit", json={"diff": OTHER, "change_digest": seen})
    assert answer.status_code == 200 and answer.json()["revision"] == 2
    served.settle()
    assert served.row(identity).state is S.AWAITING_APPROVAL and served.row(identity).files == ("other.py",)
    again = bot.post(f"{PROPOSALS}/{identity}/edit", json={"diff": DIFF, "change_digest": seen})
    assert again.status_code == 400 and again.json()["title"] == "digest-changed"
    assert bot.post(f"{PROPOSALS}/{identity}/edit", json={"state": "approved"}).status_code == 400


def test_which_run_of_a_proof_is_under_way_is_shown_while_it_is_proved(served):
    seen = []

    def look(job):
        for stage in ProofStage:
            served.world.prover.stages[job.whose] = stage
            seen.append(served.client().get(f"{PROPOSALS}/{job.whose}").json()["proof_stage"])
        green = run_of({"tests/test_it.py::test_it": "passed"})
        return ProofRuns(sandbox="bubblewrap", base=green, candidate=green)

    served.world.prover.script(look)
    identity = served.submit()
    assert seen == ["base", "candidate"]
    assert served.client().get(f"{PROPOSALS}/{identity}").json()["proof_stage"] is None


def test_a_rollback_token_names_its_change_and_only_that(served, owner):
    identity = served.submit()
    assert owner.get(f"{PROPOSALS}/{identity}").json()["rollback_token"] is None
    owner.post(APPLY, json={"proposal_id": identity})
    token = owner.get(f"{PROPOSALS}/{identity}").json()["rollback_token"]
    forged = owner.post(f"{PROPOSALS}/{token[:-1]}{'0' if token[-1] != '0' else '1'}/revert", json={})
    assert (forged.status_code, forged.json()["title"]) == (404, "rollback-token-not-found")
    assert owner.post(f"{PROPOSALS}/rb_nonsense/revert", json={}).json()["title"] == "invalid-rollback-token"
    assert owner.post(f"{PROPOSALS}/{token}/revert", json={"reason": "back"}).status_code == 202
    served.settle()
    assert served.row(identity).state is ProposalState.REVERTED
