"""`homeostat propose`, `homeostat proposals ...`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from homeostat.cli.following import BASE, ProposalId, answer, follow_proof, print_summary
from homeostat.cli.hub_client import HubClient, segment
from homeostat.cli.options import AsJson, Repo, StateDir
from homeostat.cli.output import emit_json, say, show, show_diff, show_table, show_text
from homeostat.cli.place import Place, locate
from homeostat.cli.seen import digest_to_approve, remember_shown
from homeostat.core.errors import InvalidInput
from homeostat.core.limits import MAX_DIFF_BYTES
from homeostat.model.proposal import Category, Severity

Digest = Annotated[
    str | None, typer.Option("--digest", help="The change digest you saw; refused when it is another now.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("propose")(propose)
    group = typer.Typer(help="Look at proposals and decide on them.", no_args_is_help=True)
    group.command("list")(list_proposals)
    group.command("show")(show_proposal)
    group.command("diff")(diff)
    group.command("edit")(edit)
    group.command("approve")(approve)
    group.command("reject")(reject)
    group.command("defer")(defer)
    group.command("resume")(resume)
    group.command("accept")(accept)
    group.command("apply")(apply)
    app.add_typer(group, name="proposals")


def propose(
    diff_file: Annotated[Path, typer.Option("--diff", help="A unified or git diff; `-` reads standard input.")],
    title: Annotated[str, typer.Option("--title", help="One line that says what the change does.")],
    rationale: Annotated[str, typer.Option("--rationale", help="Why it is needed.")],
    base: Annotated[str, typer.Option("--base", help="Commit the diff is made on; default: the deployed head.")] = "",
    category: Annotated[Category, typer.Option("--category", help="What kind of change it is.")] = Category.BUGFIX,
    severity: Annotated[Severity, typer.Option("--severity", help="How much depends on it.")] = Severity.MEDIUM,
    evidence: Annotated[list[str] | None, typer.Option("--evidence", help="A line of evidence; repeatable.")] = None,
    finding: Annotated[str, typer.Option("--finding", help="The finding that it mends.")] = "",
    again: Annotated[
        str, typer.Option("--again", help="Why a diff that was taken back before is tried once more; not for bots.")
    ] = "",
    author: Annotated[str, typer.Option("--author", help="A label of who made it.")] = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is validated.")] = True,
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Hand in a patch with its reason. Says what validation makes of it; exit code 1 when it is blocked."""
    place = locate(repo, state_dir)
    client = HubClient(place)
    _say_settings_wait(place)
    body = client.post(
        BASE,
        {
            "title": title,
            "rationale": rationale,
            "diff": _read_diff(diff_file),
            "base_commit": base,
            "category": category.value,
            "severity": severity.value,
            "evidence": evidence or [],
            "finding_id": finding,
            "author": author,
            "again": again,
        },
    )
    identity = body["proposal_id"]
    if not as_json:
        say(f"proposal {identity} handed in; policy and tests are running ...")
    follow_proof(client, body, wait=wait, as_json=as_json)


def list_proposals(
    status: Annotated[str, typer.Option("--status", help="Only this status or finer state.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 50,
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """List proposals, newest first."""
    body = HubClient(locate(repo, state_dir)).get(BASE, status=status, limit=limit)
    if as_json:
        emit_json(body)
        return
    rows = []
    for item in body["proposals"]:
        words = [str(item[name]) for name in ("status", "state", "severity", "title")]
        rows.append((item["proposal_id"][:8], *words, ", ".join(item["files"])))
    if not rows:
        say("no proposals")
        return
    show_table(("id", "status", "state", "severity", "title", "files"), rows)


def show_proposal(
    proposal_id: ProposalId, repo: Repo = None, state_dir: StateDir = None, as_json: AsJson = False
) -> None:
    """Show one proposal. Its reason, proof, plan, decision, and what became of it."""
    body = HubClient(locate(repo, state_dir)).get(f"{BASE}/{segment(proposal_id)}")
    if as_json:
        emit_json(body)
        return
    print_summary(body)
    show("")
    show_text(body["description"])
    show("")
    for item in body["evidence"]:
        first, *rest = item.splitlines() or [""]
        show(f"  evidence: {first}")
        show_text("\n".join(rest))
    for line in body["log"]:
        show(f"  {line}")


def diff(proposal_id: ProposalId, repo: Repo = None, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Show what exactly would change, and the digest that an approval binds."""
    place = locate(repo, state_dir)
    body = HubClient(place).get(f"{BASE}/{segment(proposal_id)}")
    remember_shown(place, body)
    if as_json:
        emit_json({key: body[key] for key in ("proposal_id", "change_digest", "base_commit", "diff")})
        return
    say(f"on {body['base_commit'][:12]}, change digest {body['change_digest']}")
    show_diff(body["diff"])


def edit(
    proposal_id: ProposalId,
    diff_file: Annotated[Path | None, typer.Option("--diff", help="A new diff; `-` reads standard input.")] = None,
    title: Annotated[str | None, typer.Option("--title", help="A new title.")] = None,
    rationale: Annotated[str | None, typer.Option("--rationale", help="A new reason.")] = None,
    base: Annotated[str, typer.Option("--base", help="Commit the new diff is made on; default: the head.")] = "",
    evidence: Annotated[list[str] | None, typer.Option("--evidence", help="Evidence in the place of the old.")] = None,
    digest: Digest = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is validated.")] = True,
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a new revision. It is validated anew, and an approval of the one before counts no more."""
    told = {"title": title, "rationale": rationale, "base_commit": base, "evidence": evidence, "change_digest": digest}
    wanted: dict[str, Any] = {name: value for name, value in told.items() if value}
    if diff_file is not None:
        wanted["diff"] = _read_diff(diff_file)
    if not wanted.keys() - {"change_digest"}:
        raise InvalidInput("nothing-to-edit", "an edit changes something", hint="give --diff, --title or --rationale")
    place = locate(repo, state_dir)
    client = HubClient(place)
    _say_settings_wait(place)
    body = client.post(f"{BASE}/{segment(proposal_id)}/edit", wanted)
    follow_proof(client, body, wait=wait, as_json=as_json)


def approve(
    proposal_id: ProposalId,
    digest: Digest = None,
    notes: Annotated[str, typer.Option("--notes", help="A word on the decision.")] = "",
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Consent to a validated change, without applying it yet."""
    place = locate(repo, state_dir)
    client = HubClient(place)
    _say_settings_wait(place)
    seen = digest or digest_to_approve(place, client.get(f"{BASE}/{segment(proposal_id)}"))
    body = client.post(f"{BASE}/{segment(proposal_id)}/approve", {"reason": notes, "change_digest": seen})
    answer(body, as_json, f"approved {seen}; put it live with `homeostat proposals apply {body['proposal_id'][:8]}`")


def reject(
    proposal_id: ProposalId,
    reason: Annotated[str, typer.Option("--reason", help="Why; the proposer reads it.")],
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Reject a proposal with a reason."""
    client = HubClient(locate(repo, state_dir))
    body = client.post(f"{BASE}/{segment(proposal_id)}/reject", {"reason": reason})
    answer(body, as_json, str(body["state_reason"]))


def defer(
    proposal_id: ProposalId,
    reason: Annotated[str, typer.Option("--reason", help="Why it has to wait.")] = "",
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Put a proposal aside."""
    client = HubClient(locate(repo, state_dir))
    body = client.post(f"{BASE}/{segment(proposal_id)}/defer", {"reason": reason})
    answer(body, as_json, f"deferred; `homeostat proposals resume {body['proposal_id'][:8]}` takes it up again")


def resume(proposal_id: ProposalId, repo: Repo = None, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Take a deferred proposal up again; it is validated anew."""
    client = HubClient(locate(repo, state_dir))
    answer(client.post(f"{BASE}/{segment(proposal_id)}/resume", {}), as_json, "resumed; it is validated again")


def accept(
    proposal_id: ProposalId,
    reason: Annotated[str, typer.Option("--reason", help="Why it is well; it stays on record.")],
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Call a held change well. The evidence of its window did not decide, so a person does."""
    client = HubClient(locate(repo, state_dir))
    body = client.post(f"{BASE}/{segment(proposal_id)}/accept", {"reason": reason})
    answer(body, as_json, body["state_reason"])


def apply(
    proposal_id: ProposalId,
    digest: Digest = None,
    user: Annotated[str, typer.Option("--user", help="A label for the audit trail.")] = "",
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Approve, if need be, and put live. Commit, checkout and running processes change together."""
    place = locate(repo, state_dir)
    client = HubClient(place)
    _say_settings_wait(place)
    found = client.get(f"{BASE}/{segment(proposal_id)}")
    request = {
        "proposal_id": found["proposal_id"],
        "user": user,
        "change_digest": digest or digest_to_approve(place, found),
    }
    body = client.post_contract("/api/selfimprove/apply", request)
    if as_json:
        emit_json(body)
    elif body["ok"]:
        _explain_application(client.get(f"{BASE}/{found['proposal_id']}"))
    else:
        say(f"{body['error']}: {body['details']}")
    if not body["ok"]:
        raise typer.Exit(1)


def _explain_application(body: dict[str, Any]) -> None:
    application = body["application"]
    commit = f"commit {application['commit'][:12]} on the deployed branch"
    if body["restart_required"]:
        show(f"applied on disk, not live yet: {commit}")
        say(f"the running program needs a restart: {application['live_detail']}")
        say(f"next: {body['restart_command']} (or restart your program yourself, not the machine)")
    elif body.get("canary") is not None:
        percent = body["canary"]["percent"]
        where = f"live for {percent} % of the calls" if percent else "running on copies of the arguments, and compared"
        show(f"{where}; branch and files are as before")
        say(
            "it goes on to all calls, or is taken back, by itself; look: homeostat proposals show "
            + body["proposal_id"][:8]
        )
        say(f"undo: homeostat revert {body['proposal_id'][:8]}")
        return
    else:
        show(f"applied, on disk and live: {commit}")
        say(application["live_detail"])
    observation = body.get("observation")
    if observation is not None:
        window_s = observation["window_s"]
        watched = f"{window_s / 60:.0f} min" if window_s >= 120 else f"{window_s:.0f} s"
        say(f"it is watched for {watched}, and taken back by itself when requests get worse")
    say(f"undo: homeostat revert {body['proposal_id'][:8]}")


def _say_settings_wait(place: Place) -> None:
    """Say before something is proved, agreed to or applied that the hub goes by older settings than the file has."""
    if place.settings_are_newer():
        say("homeostat.toml was changed after the hub was started: it goes by the old one until it is started again")


def _read_diff(path: Path) -> str:
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(MAX_DIFF_BYTES + 1)
        else:
            with path.open("rb") as file:
                data = file.read(MAX_DIFF_BYTES + 1)
        if not data.strip():
            raise InvalidInput("bad-diff", f"{path} is empty", hint="`git diff > FILE` writes what you changed")
        if len(data) > MAX_DIFF_BYTES:
            raise InvalidInput("diff-too-large", f"a diff has at most {MAX_DIFF_BYTES} bytes")
        return data.decode("utf-8")
    except OSError as error:
        raise InvalidInput("no-such-file", f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput("bad-diff", f"{path} is not UTF-8 text (byte {error.start})") from error
