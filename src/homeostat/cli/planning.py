"""`homeostat plan`: what applying a proposal would do, before anything moves."""

from typing import Annotated, Any

import typer

from homeostat.cli.hub_client import HubClient, segment
from homeostat.cli.options import AsJson, Repo, StateDir
from homeostat.cli.output import emit_json, say, show, show_table, span
from homeostat.cli.place import locate

_WAYS = {
    "share": "on a share of the calls first, beside the old code",
    "at_once": "all calls at once",
    "restart": "on disk at once; live after a restart",
    "not_loaded": "branch and files; no running process is concerned",
}


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("plan")(plan)


def plan(
    proposal_id: Annotated[str, typer.Argument(help="Id of the proposal; a unique beginning is enough.")],
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Say what applying a proposal would do. Each definition's verdict, the steps, and how long they take."""
    path = f"/api/selfimprove/proposals/{segment(proposal_id)}/plan"
    body = HubClient(locate(repo, state_dir)).get(path)
    if as_json:
        emit_json(body)
        return
    show(f"{body['proposal_id']}  {body['title']}")
    if body["refused"]:
        show(f"  not now: {body['refused']}")
    show(f"  goes live: {_WAYS[body['way']]}")
    show(f"  because: {body['reason']}")
    for words in body["stale"]:
        show(f"  may need a restart: {words}")
    _show_definitions(body)
    for name in body["read_at_start"]:
        show(f"  read at start only: {name}")
    _show_steps(body)
    if body["way"] == "restart":
        show("  live after `homeostat restart`, or by itself where `restart.automatic` is set")
    if body["way"] != "not_loaded":
        show(f"  then watched for {span(body['window_s'])} on all calls, and taken back by itself when it does harm")
    say("nothing has moved; each process looks for itself once more before it changes")


def _show_definitions(body: dict[str, Any]) -> None:
    rows = [
        (item["action"], f"{module['path']}:{item['line']}", item["qualname"], _remark(item))
        for module in body["modules"]
        for item in module["definitions"]
    ]
    if rows:
        show_table(("what", "where", "definition", "why"), rows)
        _show_risks(body)
    elif body["modules"]:
        show("  no definition differs: layout or comments, which running code does not see")


def _show_risks(body: dict[str, Any]) -> None:
    """Name each risk that an aggressive plan takes, once, with what it is taken for."""
    risks: dict[str, list[str]] = {}
    for module in body["modules"]:
        for item in module["definitions"]:
            if item.get("risk"):
                risks.setdefault(item["risk"], []).append(f"{module['path']}:{item['line']} {item['qualname']}")
    for words, places in risks.items():
        show(f"  risk (hmr.mode = aggressive): {', '.join(places)}: {words}")


def _remark(item: dict[str, Any]) -> str:
    if item["not_routable"]:
        words = f"all calls at once: {item['not_routable']}"
        return f"{item['reason']}; {words}" if item.get("risk") and item["reason"] else words
    return str(item["reason"])


def _show_steps(body: dict[str, Any]) -> None:
    if not body["steps"]:
        return
    traffic = body["traffic"]
    if traffic["units"]:
        took = f", p50 {traffic['p50_ms']:.3g} ms, p99 {traffic['p99_ms']:.3g} ms" if traffic["p50_ms"] else ""
        show(
            f"  traffic seen within the last hour: {traffic['units_per_s']:.3g} requests/s "
            f"in {span(traffic['seconds'])}, {traffic['failed']} of {traffic['units']} failed{took}"
        )
    else:
        show("  no traffic was seen within the last hour: without any it holds at the first share, and asks")
    if body["shadowed"]:
        show(f"  on copies of the arguments first, and compared: {', '.join(body['shadowed'])}")
    for name, why in body["not_shadowed"].items():
        show(f"  declared pure, and not compared: {name}: {why}")
    for step in body["steps"]:
        share, expected = f"{step['percent']} % of the calls", step["expected_s"]
        if expected is None:
            show(f"  {share}: it will hold and ask: {step['reason']}")
        else:
            units = f"{step['canary_units']:.0f} calls with the change; longest takes {step['waits_for']}"
            show(f"  {share}: about {span(expected)} ({units})")
    if body["canary_s"] is not None:
        show(
            f"  all calls after about {span(body['canary_s'])}, if every request comes to the changed code; else later"
        )
        if any(step["waits_for"] == "failures" for step in body["steps"]):
            show("  sooner, where fewer calls fail with the change than without it")
