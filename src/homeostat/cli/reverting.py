"""`homeostat revert`: taking an applied change back, exactly, or merged out of what was built upon it."""

from typing import Annotated, Any

import typer

from homeostat.cli.following import BASE, ProposalId, answer, follow_proof, wait_while
from homeostat.cli.hub_client import HubClient, segment
from homeostat.cli.options import AsJson, Repo, StateDir
from homeostat.cli.output import emit_json, say, show, show_diff
from homeostat.cli.place import locate
from homeostat.core.errors import InvalidInput
from homeostat.model.proposal import MUST_RESTART, REVERT_WAITS


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("revert")(revert)


def revert(
    proposal_id: ProposalId,
    reason: Annotated[str, typer.Option("--reason", help="Why it is taken back.")] = "",
    preview: Annotated[bool, typer.Option("--preview", help="Show what it would do; move nothing.")] = False,
    merge: Annotated[
        bool,
        typer.Option("--merge", help="Where the files moved on: propose what a three-way merge leaves without it."),
    ] = False,
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Put back exactly what an applied proposal changed. Files, branch and running processes, together."""
    if preview and merge:
        raise InvalidInput("two-wishes", "--preview shows, and --merge proposes", hint="look first, then merge")
    client = HubClient(locate(repo, state_dir))
    path = f"{BASE}/{segment(proposal_id)}/revert"
    if preview:
        _show_preview(client.get(path), as_json)
    elif merge:
        follow_proof(client, client.post(f"{path}/merge", {"reason": reason}), as_json=as_json)
    else:
        _put_back(client, path, reason, as_json)


def _put_back(client: HubClient, path: str, reason: str, as_json: bool) -> None:
    started = client.post(path, {"reason": reason})
    body = wait_while(client, started["proposal_id"], ("reverting",), until_reason=REVERT_WAITS)
    answer(body, as_json, body["state_reason"])
    if body["state"] == "reverting":
        if not as_json and MUST_RESTART in body["state_reason"]:
            say("next: homeostat restart (or restart your program yourself, not the machine)")
        say("it is called reverted as soon as they have followed; look again with `homeostat proposals show`")
        raise typer.Exit(4)
    if body["state"] != "reverted":
        raise typer.Exit(1)


def _show_preview(body: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(body)
        return
    short = body["proposal_id"][:8]
    show(f"{body['proposal_id']}  {body['title']}")
    for item in body["drift"]:
        show(f"  {item['path']} is {item['problem']} since the change was applied")
    for item in body["later"]:
        show(f"  applied to it later: {item['proposal_id'][:8]} {item['title']} ({item['state']})")
    show_diff(body["diff"])
    if body["unseen"]:
        say(f"whether it can be put back exactly is not known, and now it is refused: {body['unseen']}")
    if body["exact"]:
        say(f"it can be put back exactly: homeostat revert {short}")
    elif body["conflicts"]:
        say(f"a person must merge {', '.join(body['conflicts'])}: both sides stand between the marks; propose a diff")
    elif body["diff"]:
        say(
            f"it merges cleanly: homeostat revert {short} --merge proposes it, to be proved and approved like any other"
        )
    else:
        say("nothing of it is left in the branch")
