"""`homeostat policy`: what the policy makes of a patch, before anybody hands it in. Needs no hub."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from homeostat.adapters.settings import load_settings
from homeostat.cli.options import AsJson
from homeostat.cli.output import emit_json, say, show
from homeostat.cli.patching import read_patch
from homeostat.model.proof import PolicyFinding
from homeostat.model.settings import PolicySettings
from homeostat.policy import check_patch
from homeostat.policy.document import policy_in_force

group = typer.Typer(help="Ask the policy.", no_args_is_help=True)

_BLOCKED = 1


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
        emit_json(
            {
                "verdict": decision.verdict,
                "risk": decision.risk.score,
                "consent": int(decision.risk.consent),
                "factors": [
                    {"name": item.name, "share": item.share, "says": item.says} for item in decision.risk.factors
                ],
                "findings": [_told(item) for item in decision.findings],
            }
        )
    else:
        for item in decision.findings:
            where = f"{item.path}:{item.line}" if item.line else item.path or "the patch"
            show(f"{item.severity.value}  {where}  {item.message}  ({item.rule}; {item.remedy})")
        for factor in decision.risk.factors:
            show(f"risk {factor.share:.2f}  {factor.says}  ({factor.name})")
        say(f"verdict: {decision.verdict}; risk {decision.risk.score:.2f}, consent level {decision.risk.consent:d}")
    if decision.verdict == "block":
        raise typer.Exit(_BLOCKED)


def _told(item: PolicyFinding) -> dict[str, Any]:
    return {
        "rule": item.rule,
        "severity": item.severity.value,
        "confidence": item.confidence,
        "path": item.path,
        "line": item.line,
        "message": item.message,
        "remedy": item.remedy,
    }
