"""`homeostat status`: what runs now, and what is under way."""

from typing import Any

import typer

from homeostat.cli.detectors import CANNOT_TELL, WATCHED, said_of
from homeostat.cli.hub_client import HubClient
from homeostat.cli.options import AsJson, Repo, StateDir
from homeostat.cli.output import emit_json, say, show_table, span
from homeostat.cli.place import locate

_UNDER_WAY = ("reverting", "approved", "pending")
"""Statuses, or a state of one, in which something is still to come; those nearest to the running program first."""

_AT_MOST = 20
"""Changes that are named of each; the rest are counted."""

Row = tuple[str, str, str]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("status")(status)


def status(repo: Repo = None, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Say what runs and what is under way. Hub, programs, processes, changes, findings. Exit code 4 without a hub."""
    client = HubClient(locate(repo, state_dir))
    found = _look(client)
    if as_json:
        emit_json(found)
        return
    show_table(("what", "which", "how it is"), [*_hub_rows(found), *_program_rows(found), *_change_rows(found)])
    if found["requests"] and found["requests"]["bad"] and found["taken_back_lately"]:
        names = ", ".join(identity[:8] for identity in found["taken_back_lately"])
        say(f"many requests fail though a change was taken back ({names}): the program may keep what it did in memory")
        say("look: homeostat findings list; to start anew from the old code: homeostat restart")
    if not found["processes"]:
        say("no process has called: start your program with `homeostat up -- COMMAND` or `homeostat run -- COMMAND`")


def _look(client: HubClient) -> dict[str, Any]:
    maintenance = client.get("/api/maintenance/status")
    restart = client.get("/api/restart")
    engine = maintenance["self_improvement"]
    listed = {word: client.get("/api/selfimprove/proposals", status=word, limit=_AT_MOST) for word in _UNDER_WAY}
    findings = client.get("/api/findings")["findings"]
    changes = [
        {name: item[name] for name in ("proposal_id", "state", "title", "state_reason")}
        for body in listed.values()
        for item in body["proposals"]
    ]
    watched = [item["proposal_id"] for item in changes if item["state"] in WATCHED]
    return {
        "hub": {
            "url": client.url,
            "uptime_s": engine.get("service", {}).get("uptime_s"),
            "troubles": engine.get("status", {}).get("troubles", {"store": engine.get("error", "")}),
            "auto_reload": engine.get("status", {}).get("auto_reload"),
        },
        "requests": engine.get("status", {}).get("requests"),
        "taken_back_lately": engine.get("status", {}).get("taken_back_lately", []),
        "programs": restart["programs"],
        "processes": client.get("/api/processes")["processes"],
        "changes": changes,
        "detectors": [
            {"proposal_id": identity, "name": name, "says": told}
            for identity in watched
            for name, told in said_of(client.get(f"/api/selfimprove/proposals/{identity}"))
        ],
        "under_way": {word: body["total"] for word, body in listed.items()},
        "findings_open": sum(item["state"] == "open" for item in findings),
    }


def _hub_rows(found: dict[str, Any]) -> list[Row]:
    hub = found["hub"]
    troubles = [("trouble", name, reason) for name, reason in sorted(hub["troubles"].items())]
    how = "well" if not troubles else "in trouble"
    uptime = f", up for {span(hub['uptime_s'])}" if hub["uptime_s"] is not None else ""
    return [("hub", hub["url"], how + uptime), *troubles, *_reload_rows(hub["auto_reload"])]


def _reload_rows(found: dict[str, Any] | None) -> list[Row]:
    if found is None:
        return []
    last = found["last"]
    return [("auto-reload", "on", f"{last['at']}: {last['line']}" if last else "nothing was saved yet")]


def _program_rows(found: dict[str, Any]) -> list[Row]:
    rows = []
    for item in found["programs"]:
        runs = f"process {item['pid']}" if item["pid"] is not None else "does not run, or elsewhere"
        last = f", last restart {item['phase']}" if item["phase"] else ""
        rows.append(("program", item["command"], runs + last + (f": {item['reason']}" if item["reason"] else "")))
    rows += _request_rows(found["requests"])
    for item in found["processes"]:
        how = "connected" if item["connected"] else "lost its connection"
        code = f"commit {item['commit'][:12]}" if item["commit"] else "no commit"
        swapped = f", live: {_names(item['changes'])}" if item["changes"] else ""
        hmr = "" if item["hmr_enabled"] else ", hot reload off"
        rows.append(("process", f"{item['pid']} {item['command']}", f"{how}, {code}{swapped}{hmr}"))
    return rows


def _request_rows(lately: dict[str, Any] | None) -> list[Row]:
    if not lately or not lately["requests"] or not lately["seconds"]:
        return []
    rate, failed = lately["requests"] / lately["seconds"], lately["failed"] / lately["requests"]
    return [("requests", f"{rate:.3g}/s", f"{failed:.2%} of {lately['requests']} in the last minute failed")]


def _names(changes: list[str]) -> str:
    shown = [identity[:8] for identity in changes[-3:]]
    return ", ".join(shown) + (f" and {len(changes) - 3} earlier" if len(changes) > 3 else "")


def _change_rows(found: dict[str, Any]) -> list[Row]:
    rows = [(item["state"].replace("_", " "), item["proposal_id"][:8], _with_reason(item)) for item in found["changes"]]
    rows += [
        ("detector", item["proposal_id"][:8], f"{item['name']}: {item['says']}")
        for item in found["detectors"]
        if not item["says"].startswith(("quiet", f"{CANNOT_TELL}: off"))
    ]
    for word, total in found["under_way"].items():
        if total > _AT_MOST:
            rows.append((word, f"{total - _AT_MOST} more", f"see `homeostat proposals list --status {word}`"))
    if found["findings_open"]:
        rows.append(("findings", str(found["findings_open"]), "open; see `homeostat findings list`"))
    return rows


def _with_reason(item: dict[str, Any]) -> str:
    return f"{item['title']}: {item['state_reason']}" if item["state_reason"] else str(item["title"])
