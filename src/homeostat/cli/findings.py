"""`homeostat findings`: what is wrong, with its evidence."""

from typing import Annotated

import typer

from homeostat.cli.hub_client import HubClient, segment
from homeostat.cli.options import AsJson, Repo, StateDir
from homeostat.cli.output import emit_json, say, show, show_table
from homeostat.cli.place import locate


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Recurring errors of the program, with their evidence.", no_args_is_help=True)
    group.command("list")(list_findings)
    group.command("show")(show_finding)
    app.add_typer(group, name="findings")


def list_findings(repo: Repo = None, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """List findings, the most recent first."""
    body = HubClient(locate(repo, state_dir)).get("/api/findings")
    if as_json:
        emit_json(body)
        return
    names = ("finding_id", "state", "severity", "count", "last_at", "title")
    rows = [tuple(str(item[name]) for name in names) for item in body["findings"]]
    if not rows:
        say("no findings")
        return
    show_table(("id", "state", "severity", "count", "last seen", "what"), rows)


def show_finding(
    finding_id: Annotated[str, typer.Argument(help="Id of the finding, or a unique beginning of it.")],
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Show one finding and its evidence."""
    body = HubClient(locate(repo, state_dir)).get(f"/api/findings/{segment(finding_id)}")
    if as_json:
        emit_json(body)
        return
    show(f"{body['finding_id']}  {body['title']}  ({body['state']})")
    for line in body["evidence"]:
        show(f"  - {line}")
