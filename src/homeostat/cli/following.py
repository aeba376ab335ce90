"""Following one proposal until somebody must act, and showing what became of it."""

import time
from typing import Annotated, Any

import typer

from homeostat.cli.detectors import said_of
from homeostat.cli.hub_client import HubClient, segment
from homeostat.cli.output import Progress, emit_json, say, show, show_text
from homeostat.core.errors import OutcomeUnknown

BASE = "/api/selfimprove/proposals"
_POLL_S = 0.2
_MOST_KINDS = 5
UNDECIDED = ("pending", "validating")
_STAGES = {
    ("pending", None): "it waits for its turn to be proved",
    ("validating", None): "policy, then the tests in a sandbox: without the change, and with it",
    ("validating", "base"): "the tests in a sandbox, without the change (then with it)",
    ("validating", "candidate"): "the tests in a sandbox, with the change",
}

ProposalId = Annotated[str, typer.Argument(help="Id of the proposal; a unique beginning is enough.")]


def wait_while(
    client: HubClient,
    proposal_id: str,
    states: tuple[str, ...],
    *,
    until_reason: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Wait until the proposal is in none of these states, or says that it waits for somebody itself."""
    deadline_s = time.monotonic() + 3600
    with progress or Progress(quiet=True) as shown:
        while True:
            body: dict[str, Any] = client.get(f"{BASE}/{segment(proposal_id)}")
            if body["state"] not in states or (until_reason and body["state_reason"].startswith(until_reason)):
                return body
            if time.monotonic() > deadline_s:
                raise OutcomeUnknown("still-running", f"proposal {proposal_id} is still {body['state']} after an hour")
            shown.update(_STAGES.get((body["state"], body["proof_stage"]), body["state"]))
            time.sleep(_POLL_S)


def follow_proof(client: HubClient, body: dict[str, Any], *, wait: bool = True, as_json: bool) -> None:
    """Wait, unless told not to, until policy and tests have spoken, and show what they say; blocked is an exit code."""
    if wait:
        body = wait_while(client, body["proposal_id"], UNDECIDED, progress=Progress(quiet=as_json))
    if as_json:
        emit_json(body)
    else:
        print_summary(body)
    if body["state"] == "blocked":
        raise typer.Exit(1)


def answer(body: dict[str, Any], as_json: bool, text: str) -> None:
    """Say in a line, or as JSON, what became of a decision."""
    if as_json:
        emit_json(body)
    else:
        show(f"{body['proposal_id'][:8]} {body['state']}: {text}")


def print_summary(body: dict[str, Any]) -> None:
    """Show one proposal as far as it has come, and what may be done next."""
    show(f"{body['proposal_id']}  {body['title']}")
    show(f"  {body['status']} ({body['state']}): {body['state_reason']}")
    show(f"  files: {', '.join(body['files'])}")
    show(f"  change digest: {body['change_digest']}")
    plan = body.get("plan")
    if plan is not None:
        reasons = "; ".join(plan["restart_reasons"])
        show(f"  live: {'needs a restart: ' + reasons if reasons else 'can be swapped in'}")
    proof = body.get("proof")
    if proof is not None:
        risk = proof["risk"]
        if risk is not None:
            most = "; ".join(factor["says"] for factor in risk["factors"][:3])
            show(f"  risk {risk['score']:.2f} of 1, consent level {risk['consent']}: {most}")
        for item in proof["policy"]:
            show(f"  policy {item['severity']}: {item['path']}: {item['message']}")
        for word in ("fixed_tests", "broken_tests", "added_tests", "removed_tests"):
            if proof[word]:
                show(f"  {word.replace('_', ' ')}: {', '.join(proof[word])}")
        if body["state"] == "blocked" and proof["candidate"]:
            show_text(proof["candidate"]["output_tail"][-2000:])
    if body["rollback_token"] is not None:
        show(f"  rollback token: {body['rollback_token']}")
    canary = body.get("canary")
    if canary is not None:
        _show_canary(body["proposal_id"], canary)
    observation = body.get("observation")
    if observation is not None:
        left_s = max(observation["window_s"] - observation["elapsed_s"], 0)
        show(f"  observed: {observation['reason']}; {left_s:.0f} s of the window are left")
        if observation["judgement"] == "hold":
            short = body["proposal_id"][:8]
            say(f"held; more evidence may settle it, or you: homeostat proposals accept {short} --reason '...'")
            say(f"or take it back: homeostat revert {short}")
    for name, told in said_of(body):
        show(f"    detector {name}: {told}")
    if body["state"] == "blocked" and proof and proof["base"] and proof["base"]["exit_code"] != 0:
        say("the tests fail without the change too, so no change can be proved; see `homeostat doctor --tests`")
    if body["state"] == "blocked":
        say(f"when it is mended: homeostat proposals edit {body['proposal_id'][:8]} --diff FILE")
    if body["state"] == "awaiting_approval":
        short = body["proposal_id"][:8]
        say(f"next: homeostat proposals diff {short}, then approve or apply it")
        say(f"what applying it would do: homeostat plan {short}")


def _show_canary(proposal_id: str, canary: dict[str, Any]) -> None:
    since = canary["percent_since"][11:19]
    where = f"{canary['percent']} % of the calls" if canary["percent"] else "on copies of the arguments"
    show(f"  canary: {where} since {since} UTC; {canary['reason']}")
    shadow = canary["shadow"]
    if shadow is not None:
        rate = f"{shadow['rate_from']:.1%} to {shadow['rate_to']:.1%}"
        show(
            f"    on copies: {shadow['compared']} calls compared, {shadow['same']} the same "
            f"({rate} of such calls differ, 95 % sure); {shadow['skipped']} passed over"
        )
        for kind in shadow["found"][:_MOST_KINDS]:
            show(f"      {kind['calls']} times {kind['words']}")
    for name, words in (("canary", "with the change"), ("control", "without it")):
        arm = canary[name]
        failed = sum(arm["failures"].values())
        share = f" ({failed / arm['units']:.2%})" if failed else ""
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(arm["failures"].items(), key=_most_first)[:3])
        took = "".join(f", {key[:-3]} {arm[key]:.3g} ms" for key in ("p50_ms", "p99_ms") if arm[key] is not None)
        show(f"    {words}: {arm['units']} calls, {failed} failed{share}{took}{f'; {kinds}' if kinds else ''}")
    if canary["next"] == "ask":
        short = proposal_id[:8]
        say(f"held; more calls may settle it, or you: homeostat proposals accept {short} --reason '...'")
        say(f"or take it back: homeostat revert {short}")


def _most_first(item: tuple[str, int]) -> int:
    return -item[1]
