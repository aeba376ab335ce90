"""`homeostat restart`: let the programs run what is on disk, without a lost request."""

import time
from typing import Annotated, Any

import typer

from homeostat.cli.hub_client import HubClient, segment
from homeostat.cli.options import AsJson, Repo, StateDir
from homeostat.cli.output import emit_json, say, show, show_text
from homeostat.cli.place import locate
from homeostat.core.errors import OutcomeUnknown
from homeostat.model.proposal import REVERT_WAITS

_PATH = "/api/restart"
_POLL_S = 0.2
_LONGEST_S = 2 * 3600.0
_OVER = ("done", "failed")
_UNDECIDED = ("awaiting_restart", "reverting")
_FATE_S = 60.0
"""How long a change may take to follow its restart."""


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("restart")(restart)


def restart(
    proposal_id: Annotated[
        str | None, typer.Argument(metavar="[PROPOSAL]", help="A change that must be waiting for the restart.")
    ] = None,
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Restart the program, so that it runs the changes that could not be swapped in.

    The new process must be up and well before the old one goes. One that does not come up is ended,
    the old one stays, and the changes that waited for it are taken back. Exit code 1 then.
    """
    client = HubClient(locate(repo, state_dir))
    taken_back = _half_taken_back(client)
    asked = client.post(_PATH, {"proposal_id": segment(proposal_id)} if proposal_id else {})
    request_id = asked["request_id"]
    changes = [item for item in asked["waiting"] if item["request_id"] == request_id]
    for item in changes:
        say(f"for {item['proposal_id'][:8]} {item['title']}, which waits since {item['since']}")
    for item in taken_back:
        say(f"for {item['proposal_id'][:8]} {item['title']}, which is taken back on disk and runs still")
    changes += taken_back
    ended = _follow(client, request_id)
    programs = [item for item in ended["programs"] if item["request_id"] == request_id]
    failed = [item for item in programs if item["phase"] == "failed"]
    for item in changes:
        item["state"] = _fate(client, item["proposal_id"])
    if as_json:
        emit_json({"ok": not failed, "request_id": request_id, "programs": programs, "changes": changes})
    else:
        _explain(programs, changes)
    if failed:
        raise typer.Exit(1)


def _half_taken_back(client: HubClient) -> list[dict[str, Any]]:
    """Return the changes whose revert waits for processes that run them."""
    found = client.get("/api/selfimprove/proposals", status="reverting", limit=1000)["proposals"]
    return [
        {"proposal_id": item["proposal_id"], "title": item["title"], "taken_back": True}
        for item in found
        if item["state_reason"].startswith(REVERT_WAITS)
    ]


def _follow(client: HubClient, request_id: str) -> dict[str, Any]:
    """Say what happens until every program's restart is over."""
    said: dict[str, tuple[str, str]] = {}
    deadline_s = time.monotonic() + _LONGEST_S
    while True:
        body: dict[str, Any] = client.get(_PATH)
        programs = [item for item in body["programs"] if item["request_id"] == request_id]
        for item in programs:
            now = (item["phase"], item["reason"])
            if said.get(item["id"]) != now:
                said[item["id"]] = now
                say(f"{item['command']}: {item['phase']}{': ' + item['reason'] if item['reason'] else ''}")
        if programs and all(item["phase"] in _OVER for item in programs):
            return body
        if not body["programs"]:
            raise OutcomeUnknown(
                "supervisor-silent",
                "whoever was to restart the program is gone",
                hint="look whether it runs; `homeostat up` with its command takes it over",
            )
        if time.monotonic() > deadline_s:
            raise OutcomeUnknown("still-running", f"restart {request_id} is still under way after two hours")
        time.sleep(_POLL_S)


def _fate(client: HubClient, proposal_id: str) -> str:
    """Return what became of a change, as soon as it is more than waiting."""
    deadline_s = time.monotonic() + _FATE_S
    while True:
        state = str(client.get(f"/api/selfimprove/proposals/{proposal_id}")["state"])
        if state not in _UNDECIDED or time.monotonic() > deadline_s:
            return state
        time.sleep(_POLL_S)


def _explain(programs: list[dict[str, Any]], changes: list[dict[str, Any]]) -> None:
    for item in programs:
        pid = f", now process {item['pid']}" if item["pid"] is not None else ""
        if item["phase"] == "done":
            show(f"{item['command']}: restarted in {item['took_s']:.1f} s{pid}")
        else:
            show(f"{item['command']}: not restarted: {item['reason']}{pid}")
            if item["last_words"]:
                show_text(item["last_words"])
    for item in changes:
        show(f"{item['proposal_id'][:8]} {item['title']}: {item['state']}")
        if item.get("taken_back") and item["state"] == "reverted":
            say("its revert is complete: no process runs it any more")
        elif item.get("taken_back"):
            say("its revert is not complete yet; look again with `homeostat proposals show`")
        if item["state"] == "observing":
            say(f"it is watched from now on; undo: homeostat revert {item['proposal_id'][:8]}")
