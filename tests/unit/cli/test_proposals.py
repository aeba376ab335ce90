"""The commands that speak to a hub, against one over fakes: what they print, and how they end."""

import io
import json
import os
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
from hub_harness import BOT_TOKEN

from homeostat.adapters.process_start import process_started
from homeostat.cli.following import wait_while
from homeostat.model.settings import CanarySettings
from homeostat.ports.proving import ProofRuns
from homeostat.testing.fake_live import Misbehaviour
from homeostat.testing.fake_prover import test_run as run_of
from homeostat.testing.world import DIFF, MENDED, PROCESS, SOURCE, WORLD_SETTINGS, file

TRYING = replace(WORLD_SETTINGS, canary=CanarySettings(steps=(10, 50)))
OTHER = "--- /dev/null\n+++ b/other.py\n@@ -0,0 +1 @@\n+value = 1\n"


@pytest.fixture
def patch(tmp_path):
    path = tmp_path / "fix.patch"
    path.write_text(DIFF)
    return path


def propose(typed, patch, *more):
    return typed("propose", "--diff", patch, "--title", "Mend coupons", "--rationale", "They break.", *more)


@pytest.fixture
def proposed(hub, typed, patch, monkeypatch):
    """Return the id of a validated proposal of a bot."""
    with monkeypatch.context() as bot:
        bot.setenv("HOMEOSTAT_TOKEN", BOT_TOKEN)
        body = json.loads(propose(typed, patch, "--json").out)
    assert body["state"] == "awaiting_approval"
    return body["proposal_id"]


def test_proposing_waits_for_the_verdict_and_says_what_is_next(hub, typed, patch):
    answer = propose(
        typed, patch, "--evidence", "seen", "--evidence", "twice", "--severity", "high", "--category", "bugfix"
    )
    assert answer.code == 0
    assert "Mend coupons" in answer.out and "pending (awaiting_approval)" in answer.out
    assert "live: can be swapped in" in answer.out
    assert "handed in" in answer.err and "homeostat proposals diff" in answer.err


def test_what_a_proposer_wrote_is_told_from_what_the_hub_says(hub, typed, patch):
    forged = "  approved (observing): every test passes\nnext: homeostat proposals apply it"
    answer = typed(
        "propose", "--diff", patch, "--title", "Mend", "--rationale", f"Why.\n{forged}", "--evidence", f"seen\n{forged}"
    )
    shown = typed("proposals", "show", answer.out.split()[0]).out.splitlines()
    assert [line for line in shown if "every test passes" in line or "apply it" in line] == 2 * [
        "  |   approved (observing): every test passes",
        "  | next: homeostat proposals apply it",
    ]
    assert "  evidence: seen" in shown and "  | Why." in shown


def test_settings_that_wait_for_a_start_of_the_hub_are_said_before_anything_goes_by_the_old_ones(
    hub, typed, patch, repository, monkeypatch
):
    url = os.environ["HOMEOSTAT_HUB_URL"]
    monkeypatch.delenv("HOMEOSTAT_HUB_URL")
    hub_file = repository / ".homeostat" / "run" / "hub.json"
    hub_file.parent.mkdir(parents=True)
    hub_file.write_text(json.dumps({"url": url, "pid": os.getpid(), "started": process_started(os.getpid())}))
    waits = "homeostat.toml was changed after the hub was started"

    def toml_is_newer_by(seconds):
        settings = repository / "homeostat.toml"
        settings.touch()
        os.utime(settings, ns=(0, hub_file.stat().st_mtime_ns + seconds * 10**9))

    toml_is_newer_by(-1)
    proposed = propose(typed, patch)
    identity = proposed.out.split()[0]
    assert proposed.code == 0 and waits not in proposed.err
    toml_is_newer_by(1)
    for command in (
        ("proposals", "edit", identity, "--title", "Mend all coupons"),
        ("proposals", "approve", identity),
        ("proposals", "apply", identity),
    ):
        answer = typed(*command)
        assert answer.code == 0 and waits in answer.err, command
    assert waits in propose(typed, patch).err


def test_the_line_that_is_shown_meanwhile_tells_the_two_runs_of_a_proof_apart():
    steps = iter(
        [
            ("pending", None),
            ("validating", None),
            ("validating", "base"),
            ("validating", "candidate"),
            ("blocked", None),
        ]
    )
    shown = []

    class Hub:
        def get(self, path):
            state, stage = next(steps)
            return {"state": state, "state_reason": "", "proof_stage": stage}

    class Shown:
        def update(self, stage):
            shown.append(stage)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    assert wait_while(Hub(), "p-1", ("pending", "validating"), progress=Shown())["state"] == "blocked"
    assert len(set(shown)) == 4
    assert "without the change" in shown[2] and shown[3].endswith("with the change")


@pytest.mark.parametrize("decide", ["approve", "apply"])
def test_what_was_changed_after_it_was_shown_is_not_agreed_to_unseen(
    hub, typed, proposed, repository, tmp_path, decide
):
    (repository / ".homeostat" / "run").mkdir(parents=True)
    assert typed("proposals", "diff", proposed).code == 0
    other = tmp_path / "other.patch"
    other.write_text(OTHER)
    assert typed("proposals", "edit", proposed, "--diff", other).code == 0
    answer = typed("proposals", decide, proposed)
    assert answer.code == 3 and "error[changed-since-shown]" in answer.err and "proposals diff" in answer.err
    assert hub.row(proposed).state.value == "awaiting_approval"
    assert typed("proposals", "diff", proposed).code == 0
    assert typed("proposals", decide, proposed).code == 0


def test_a_blocked_proposal_is_a_1_with_the_tests_that_broke(hub, typed, patch):
    def broken(job):
        red, green = run_of({"tests/test_it.py::test_it": "failed"}), run_of({"tests/test_it.py::test_it": "passed"})
        return ProofRuns(sandbox="bubblewrap", base=green, candidate=red)

    hub.world.prover.script(broken)
    answer = propose(typed, patch)
    assert answer.code == 1
    assert "blocked" in answer.out and "broken tests: tests/test_it.py::test_it" in answer.out
    assert "when it is mended: homeostat proposals edit" in answer.err


def test_a_proposal_under_tests_that_fail_anyway_says_where_to_look(hub, typed, patch):
    red = run_of({"tests/test_it.py::test_it": "failed"})
    hub.world.prover.script(lambda job: ProofRuns(sandbox="bubblewrap", base=red, candidate=red))
    answer = propose(typed, patch)
    assert answer.code == 1 and "the tests fail without the change too" in answer.err


def test_an_edit_is_validated_again_and_one_of_nothing_is_refused(hub, typed, patch, proposed, tmp_path):
    other = tmp_path / "other.patch"
    other.write_text(OTHER)
    answer = typed("proposals", "edit", proposed[:8], "--diff", other, "--title", "Add a value")
    assert answer.code == 0
    assert "Add a value" in answer.out and "other.py" in answer.out and "awaiting_approval" in answer.out
    assert hub.row(proposed).revision == 2
    answer = typed("proposals", "edit", proposed)
    assert answer.code == 2 and "error[nothing-to-edit]" in answer.err


def test_without_waiting_the_proposal_is_handed_in(hub, typed, patch):
    hub.paused.set()
    answer = propose(typed, patch, "--no-wait", "--json")
    assert answer.code == 0 and json.loads(answer.out)["state"] == "pending" and answer.err == ""


def test_a_diff_may_come_from_standard_input(hub, typed, patch, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(DIFF.encode())))
    assert propose(typed, "-").code == 0


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "no-such-file"),
        (b" \n", "bad-diff"),
        (b"\xff\xfe", "bad-diff"),
        (b"x" * ((1 << 20) + 1), "diff-too-large"),
    ],
    ids=["missing", "empty", "binary", "huge"],
)
def test_a_diff_that_cannot_be_read_is_refused_here(hub, typed, tmp_path, content, code):
    path = tmp_path / "bad.patch"
    if content is not None:
        path.write_bytes(content)
    answer = propose(typed, path)
    assert (answer.code, answer.out) == (2, "") and f"error[{code}]" in answer.err


def test_what_the_hub_refuses_is_an_error_with_its_code(hub, typed, patch):
    patch.write_text("no diff")
    answer = propose(typed, patch)
    assert (answer.code, answer.out) == (2, "") and answer.err.startswith("error[")
    answer = propose(typed, patch, "--finding", "f-0000000000000000")
    assert answer.out == ""


def test_text_that_is_not_text_is_refused_here(hub, typed, patch):
    answer = typed("propose", "--diff", patch, "--title", "a\udcff", "--rationale", "r")
    assert (answer.code, answer.out) == (2, "") and "error[not-text]" in answer.err


def test_the_list_is_a_line_each(typed, proposed):
    assert typed("proposals", "list").out.split("\t")[:3] == [proposed[:8], "pending", "awaiting_approval"]
    body = json.loads(typed("proposals", "list", "--json").out)
    assert (body["schema"], body["total"]) == (1, 1)
    empty = typed("proposals", "list", "--status", "reverted")
    assert (empty.code, empty.out, empty.err) == (0, "", "no proposals\n")
    assert typed("proposals", "list", "--status", "nonsense").code == 2


def test_one_is_shown_and_its_diff_is_exact(typed, proposed):
    answer = typed("proposals", "show", proposed)
    assert answer.out.splitlines()[0] == f"{proposed}  Mend coupons" and "They break." in answer.out
    answer = typed("proposals", "diff", proposed)
    assert answer.out == DIFF and "change digest sha256:" in answer.err
    body = json.loads(typed("proposals", "diff", proposed, "--json").out)
    assert set(body) == {"schema", "proposal_id", "change_digest", "base_commit", "diff"}


def test_a_hostile_title_does_not_reach_the_terminal_as_it_is(hub, typed, patch):
    answer = typed("propose", "--diff", patch, "--title", "Mend \x1b[2J\u202e", "--rationale", "r\x07")
    shown = answer.out + typed("proposals", "list").out + typed("proposals", "show", answer.out.split()[0]).out
    assert not set(shown) & set("\x1b\x07\u202e")


@pytest.mark.parametrize("name", ["", ".", "..", "../../stats", "x/approve", "?status=approved", "#", "%2e%2e", "zzzz"])
def test_a_name_that_is_nobodys_reaches_no_other_route(hub, typed, name):
    for arguments in (
        ("proposals", "show", name),
        ("proposals", "diff", name),
        ("revert", name),
        ("findings", "show", name),
    ):
        answer = typed(*arguments)
        assert (answer.code, answer.out) == (1, ""), arguments
        assert "does not exist" in answer.err or "nobody's id" in answer.err


def test_approving_applying_and_reverting_end_to_end(hub, typed, proposed):
    answer = typed("proposals", "approve", proposed, "--notes", "good")
    assert answer.code == 0 and "approved: approved sha256:" in answer.out
    answer = typed("proposals", "apply", proposed, "--user", "ada")
    commit = hub.row(proposed).application.commit
    assert (answer.code, answer.out) == (0, f"applied, on disk and live: commit {commit[:12]} on the deployed branch\n")
    assert "swapped " in answer.err and "it is watched for 60 s, and taken back by itself" in answer.err
    assert f"undo: homeostat revert {proposed[:8]}" in answer.err
    again = typed("proposals", "apply", proposed, "--json")
    assert again.code == 0
    assert set(json.loads(again.out)) == {"schema", "ok", "status", "message", "restart_required", "proposal_id"}
    answer = typed("revert", proposed, "--reason", "back")
    assert answer.code == 0 and answer.out.startswith(f"{proposed[:8]} reverted: back")
    assert typed("proposals", "apply", proposed).code == 1


def test_what_was_taken_back_is_tried_again_where_a_person_says_why(hub, typed, patch, proposed):
    assert typed("proposals", "apply", proposed).code == 0
    assert typed("revert", proposed).code == 0
    answer = propose(typed, patch)
    assert (answer.code, answer.out) == (2, "") and "error[locked-out]" in answer.err and "--again" in answer.err
    answer = propose(typed, patch, "--again", "it was the network")
    assert answer.code == 0 and "awaiting_approval" in answer.out


def test_a_revert_may_be_looked_at_first_and_merged_where_others_built_upon_it(hub, typed, proposed):
    assert typed("proposals", "apply", proposed).code == 0
    seen = typed("revert", proposed, "--preview")
    assert "+    return PRICES[coupon]" in seen.out and "it can be put back exactly" in seen.err
    later = {"shop.py": file(MENDED.replace("PRICES = {'A': 1}", "PRICES = {'A': 1, 'B': 2}"))}
    hub.world.repository.user_commit(later, at=hub.world.clock.now())
    refused = typed("revert", proposed)
    assert refused.code == 2 and "error[tree-moved-on]" in refused.err and "--preview" in refused.err
    seen = typed("revert", proposed, "--preview")
    assert "shop.py is modified since the change was applied" in seen.out
    assert f"homeostat revert {proposed[:8]} --merge" in seen.err
    assert json.loads(typed("revert", proposed, "--preview", "--json").out)["exact"] is False
    merged = typed("revert", proposed, "--merge", "--reason", "nobody used it")
    assert merged.code == 0 and "Take back: Mend coupons" in merged.out
    clash = {"shop.py": file(MENDED.replace("get(coupon, 0)", "get(coupon, 7)"))}
    hub.world.repository.user_commit(clash, at=hub.world.clock.now())
    assert "a person must merge shop.py" in typed("revert", proposed, "--preview").err
    assert "error[merge-conflict]" in typed("revert", proposed, "--merge").err
    assert typed("revert", proposed, "--merge", "--preview").code == 2
    hub.world.repository.user_commit({"shop.py": file(SOURCE)}, at=hub.world.clock.now())
    assert "nothing of it is left" in typed("revert", proposed, "--preview").err


def test_a_revert_that_a_restart_has_to_finish_says_how(hub, typed, proposed):
    assert typed("proposals", "apply", proposed).code == 0
    hub.world.live.misbehave(PROCESS, "rollback", Misbehaviour.FAIL)
    answer = typed("revert", proposed)
    assert answer.code == 4 and "must be restarted" in answer.out
    assert "next: homeostat restart" in answer.err


def test_an_application_that_fails_is_a_1_and_in_json_the_contracts_answer(hub, typed, proposed):
    hub.world.live.misbehave(PROCESS, "swap", Misbehaviour.FAIL)
    answer = typed("proposals", "apply", proposed)
    assert (answer.code, answer.out) == (1, "") and answer.err.count("HMR application failed: ") == 1
    answer = typed("proposals", "apply", proposed, "--json")
    body = json.loads(answer.out)
    assert answer.code == 1 and body["ok"] is False and body["restart_required"] is True


@pytest.mark.parametrize("verb", ["approve", "apply"])
def test_a_digest_that_was_not_seen_is_refused(hub, typed, proposed, verb):
    answer = typed("proposals", verb, proposed, "--digest", "sha256:" + "0" * 64)
    assert answer.code in (1, 2) and answer.out == ""
    assert hub.row(proposed).state == "awaiting_approval"


def test_rejecting_deferring_and_resuming(hub, typed, proposed):
    assert "deferred" in typed("proposals", "defer", proposed, "--reason", "later").out
    assert "pending: resumed" in typed("proposals", "resume", proposed).out
    hub.settle()
    assert typed("proposals", "reject", proposed, "--reason", "no").out == f"{proposed[:8]} rejected: no\n"
    assert "  rejected (rejected): no\n" in typed("proposals", "show", proposed).out
    assert f"{proposed}: it was rejected: no\n" in typed("proposals", "apply", proposed).err
    answer = typed("proposals", "reject", proposed, "--reason", " ")
    assert answer.code == 2 and "error[reason-missing]" in answer.err


def test_what_each_detector_says_is_shown_while_a_change_is_watched(hub, typed, proposed):
    hub.world.serve(seconds=30, requests=50, errors=0)
    typed("proposals", "apply", proposed)
    shown = typed("proposals", "show", proposed).out
    assert "    detector health: cannot tell: too little was seen before the change to compare with\n" in shown
    assert "    detector slo: cannot tell: off: " in shown
    said = json.loads(typed("proposals", "show", proposed, "--json").out)["observation"]["detectors"]
    assert [item["name"] for item in said] == ["health", "health-drop", "slo", "error-rate"]
    assert {item["says"] for item in said} == {"noevidence"}
    assert f"detector\t{proposed[:8]}\thealth: cannot tell: " in typed("status").out


def test_a_held_change_says_who_may_settle_it_and_a_person_does(hub, typed, proposed):
    hub.world.serve(seconds=30, requests=50, errors=0)
    typed("proposals", "apply", proposed)
    early = typed("proposals", "accept", proposed, "--reason", "I like it")
    assert early.code != 0 and "error[not-held]" in early.err
    assert "accept" not in typed("proposals", "show", proposed).err
    hub.world.serve(seconds=120, requests=0, errors=0)
    shown = typed("proposals", "show", proposed)
    assert f"homeostat proposals accept {proposed[:8]} --reason" in shown.err
    accepted = typed("proposals", "accept", proposed, "--reason", "nobody orders at night")
    assert accepted.code == 0 and "implemented: accepted by a person: nobody orders at night" in accepted.out
    assert hub.row(proposed).state == "implemented"


@pytest.mark.parametrize("hub", [TRYING], indirect=True)
def test_a_canary_shows_both_arms_and_what_follows_and_a_person_settles_one_that_is_undecided(hub, typed, proposed):
    answer = typed("proposals", "apply", proposed)
    assert answer.out == "live for 10 % of the calls; branch and files are as before\n"
    assert f"homeostat revert {proposed[:8]}" in answer.err
    hub.world.try_out(proposed, seconds=2, calls=100, failed=1)
    shown = typed("proposals", "show", proposed)
    assert "  canary: 10 % of the calls since " in shown.out
    assert "    with the change: 20 calls, 2 failed (10.00%), p50 54.9 ms, p99 54.9 ms; ValueError 2\n" in shown.out
    assert "    without it: 180 calls, 0 failed, p50 54.9 ms, p99 54.9 ms\n" in shown.out
    assert "accept" not in shown.err
    hub.world.clock.move(timedelta(seconds=TRYING.canary.max_s))
    assert f"homeostat proposals accept {proposed[:8]} --reason" in typed("proposals", "show", proposed).err
    assert typed("proposals", "accept", proposed, "--reason", "nobody orders at night").code == 0
    hub.settle()
    assert hub.row(proposed).state == "observing"


def test_a_bot_may_not_decide(typed, proposed, monkeypatch):
    monkeypatch.setenv("HOMEOSTAT_TOKEN", BOT_TOKEN)
    for arguments in (("proposals", "apply", proposed), ("proposals", "approve", proposed), ("revert", proposed)):
        answer = typed(*arguments)
        assert (answer.code, answer.out) == (1, "") and "error[not-a-person]" in answer.err


def test_a_token_that_is_not_known_is_a_1(hub, typed, monkeypatch):
    monkeypatch.setenv("HOMEOSTAT_TOKEN", "hst_wrong")
    answer = typed("proposals", "list")
    assert (answer.code, answer.out) == (1, "") and "error[unauthenticated]" in answer.err


def test_findings_are_listed_and_shown(hub, typed):
    assert typed("findings", "list").err == "no findings\n"
    record = {"severityNumber": 17, "body": {"stringValue": "it broke"}}
    body = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record] * 3}]}]}
    assert hub.client().post("/v1/logs", json=body).status_code == 200
    line = typed("findings", "list").out.split("\t")
    assert line[1] == "open" and line[3] == "3"
    answer = typed("findings", "show", line[0])
    assert answer.code == 0 and "it broke" in answer.out and "\n  - " in answer.out
    assert json.loads(typed("findings", "show", line[0], "--json").out)["count"] == 3
    assert len(json.loads(typed("findings", "list", "--json").out)["findings"]) == 1
