"""`homeostat policy`: what the policy makes of a patch, what it answers, and who may do what with a proposal."""

import os
from pathlib import Path
from typing import Annotated

import typer

from homeostat.adapters.folders import read_regular
from homeostat.adapters.settings import load_settings
from homeostat.cli.hub_client import HubClient, segment
from homeostat.cli.options import AsJson, Repo, StateDir
from homeostat.cli.output import emit_json, say, show, show_table
from homeostat.cli.patching import read_patch
from homeostat.cli.place import locate
from homeostat.core.errors import InvalidInput, NotFound
from homeostat.core.limits import MAX_POLICY_FILE_CHARS
from homeostat.model.settings import PolicySettings
from homeostat.policy import check_patch
from homeostat.policy.document import policy_in_force
from homeostat.policy.telling import told_decision

group = typer.Typer(help="Ask the policy.", no_args_is_help=True)

_BLOCKED = 1
_DIFFERS = 1


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(group, name="policy")


@group.command("check")
def check(
    diff: Annotated[str, typer.Option("--diff", help="A unified or git diff; - reads it from standard input.")],
    repo: Annotated[
        Path | None,
        typer.Option("--repo", help="Whose homeostat.toml adds to the policy; none: the built-in one alone."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a patch is allowed, wants a second look, or is blocked. Sees what the patch shows, and no more."""
    settings = PolicySettings() if repo is None else load_settings(repo, os.environ).settings.policy
    decision = check_patch(read_patch(diff), document=policy_in_force(settings))
    if as_json:
        emit_json(told_decision(decision))
    else:
        for item in decision.findings:
            where = f"{item.path}:{item.line}" if item.line else item.path or "the patch"
            show(f"{item.severity.value}  {where}  {item.message}  ({item.rule}; {item.remedy})")
        for factor in decision.risk.factors:
            show(f"risk {factor.share:.2f}  {factor.says}  ({factor.name})")
        say(f"verdict: {decision.verdict}; risk {decision.risk.score:.2f}, consent level {decision.risk.consent:d}")
        if repo is None:
            say("by the built-in policy alone: --repo DIR adds that of its homeostat.toml")
        say("not looked at: whether it fits (homeostat patch check DIR FILE), and who may approve it")
    if decision.verdict == "block":
        raise typer.Exit(_BLOCKED)


@group.command("test")
def test(
    file: Annotated[
        Path | None, typer.Argument(help="Expectations in TOML; without it those of the product's own policies.")
    ] = None,
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Read all Cedar policies as the hub would, and see whether they answer as expected. Exit code 1 when not.

    The product's own expectations are asked of its own policies alone; what added ones change of them is told.
    """
    from homeostat.adapters.policies import built_in_authorizer, built_in_expectations, load_authorizer
    from homeostat.policy.expectations import differences, parse_expectations

    built_in, in_force = built_in_authorizer(), load_authorizer(locate(repo, state_dir).state_dir)
    if file is None:
        expectations = parse_expectations("expectations.toml", built_in_expectations())
        wrong = differences(built_in, expectations)
        changed = differences(in_force, expectations) if in_force.digest != built_in.digest else []
    else:
        expectations = parse_expectations(str(file), _expectations_of(file))
        wrong, changed = differences(in_force, expectations), []
    if as_json:
        body = {"ok": not wrong, "policies": list(in_force.ids), "expectations": len(expectations)}
        emit_json({**body, "differences": wrong, "changed_by_added": changed})
    else:
        for line in wrong:
            show(f"differs  {line}")
        for line in changed:
            show(f"added policies change  {line}")
        say(f"{len(in_force.ids)} policies fit the schema; {len(expectations)} expectations, {len(wrong)} differ")
    if wrong:
        raise typer.Exit(_DIFFERS)


@group.command("explain")
def explain(
    proposal_id: Annotated[str, typer.Argument(help="Id of the proposal; a unique beginning is enough.")],
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Tell findings and risk of a proposal, and who may do what with it, by which policy. Needs the hub."""
    body = HubClient(locate(repo, state_dir)).get(f"/api/policy/explain/{segment(proposal_id)}")
    if as_json:
        emit_json(body)
        return
    show(f"{body['proposal_id']}  {body['title']}  ({body['state']}; profile {body['profile']})")
    for item in body["findings"]:
        where = f"{item['path']}:{item['line']}" if item["line"] else item["path"] or "the patch"
        show(f"  {item['severity']}  {where}  {item['message']}  ({item['rule']})")
    risk = body["risk"]
    if risk is None:
        show("  risk: not assessed yet, and counts as the highest")
    else:
        show(f"  risk {risk['score']:.2f}, consent level {risk['consent']}")
        for factor in risk["factors"]:
            show(f"    {factor['share']:.2f}  {factor['says']}")
    for who, title in ((body["you"], "you"), (body["agent"], "an agent")):
        show(f"  {title} ({who['who']}):")
        rows = [
            (item["action"], "allowed" if item["allowed"] else "denied", ", ".join(item["policies"]), item["reason"])
            for item in who["actions"]
        ]
        show_table(("may", "", "policy", "why"), rows)
    if not body["in_force"]:
        say("the policy has changed since it was validated: hand the same diff in again")


def _expectations_of(file: Path) -> str:
    try:
        return read_regular(file, most_bytes=MAX_POLICY_FILE_CHARS + 1).decode("utf-8")
    except FileNotFoundError:
        raise NotFound("no-expectations", f"there is no file `{file}`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput("bad-expectation", f"{file} cannot be read: {error}") from error
