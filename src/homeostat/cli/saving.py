"""`homeostat backup` and `homeostat restore`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from homeostat.cli.options import AsJson, Repo, StateDir
from homeostat.cli.output import emit_json, say, show
from homeostat.cli.place import Place, locate

if TYPE_CHECKING:
    from homeostat.adapters.archive.staging import Staged
    from homeostat.adapters.git.repository import GitRepository
    from homeostat.flows.restoring import Settled


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("backup")(backup)
    app.command("restore")(restore)


def backup(
    out: Annotated[
        Path | None, typer.Option("--out", help="The file to write; default: beside the repository, named by the time.")
    ] = None,
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Leave the secret keys and the owner's token out.")
    ] = False,
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Keep the whole state in one signed file, mode 0600; a hub may be at work meanwhile.

    The file holds the keys, unless they are left out: whoever has it can speak for this hub.
    """
    from homeostat.adapters.archive.saving import save_state
    from homeostat.adapters.git.repository import open_repository

    place = locate(repo, state_dir)
    at = datetime.now(UTC)
    default = place.repository.parent / f"{place.repository.name}-homeostat-{at.strftime('%Y%m%dT%H%M%SZ')}.tar"
    saved = save_state(
        repository=open_repository(place.repository),
        state_dir=place.state_dir,
        out=(out or default).absolute(),
        at=at,
        with_keys=not without_keys,
        tell=lambda text: say(f"backup: {text}"),
    )
    manifest = saved.manifest
    if as_json:
        emit_json(
            {
                "file": str(saved.path),
                "bytes": saved.bytes,
                "made_at": manifest.made_at,
                "entries": manifest.ledger_size,
                "with_keys": manifest.with_keys,
                "files": len(manifest.files),
            }
        )
        return
    show(str(saved.path))
    secret = "with the keys: keep it as you keep them" if manifest.with_keys else "without the keys: keep those apart"
    say(f"kept {manifest.ledger_size} ledger entries in {len(manifest.files)} files, {saved.bytes >> 10} KB, {secret}")
    say(f"put it back with: homeostat restore {saved.path}")


def restore(
    file: Annotated[Path, typer.Argument(help="What `homeostat backup` wrote.")],
    accept_lost: Annotated[
        int, typer.Option("--accept-lost", min=0, help="How many ledger entries you give up for good.")
    ] = 0,
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Put a kept state back, with the hub stopped. It is checked first; the present state is put aside, not deleted."""
    from homeostat.adapters.archive.staging import Restoring
    from homeostat.adapters.git.repository import open_repository

    place = locate(repo, state_dir)
    git = open_repository(place.repository)
    at = datetime.now(UTC)
    with Restoring(
        repository=git,
        state_dir=place.state_dir,
        file=file.absolute(),
        at=at,
        tell=lambda text: say(f"restore: {text}"),
    ) as restoring:
        staged = restoring.stage(accept_lost=accept_lost)
        restoring.restore_records(staged)
        settled = _settle(place, git, staged, at)
        _verify(place, staged)
        aside = restoring.put_in_place(staged)
    _report(place, staged, settled, aside, as_json=as_json)


def _settle(place: Place, git: "GitRepository", staged: "Staged", at: datetime) -> "Settled":
    """Write the restoration into the staged ledger, and bring the staged rows to what Git shows."""
    import os

    from homeostat.adapters.backups import FolderBackupStore
    from homeostat.adapters.git.applied import applied_commits
    from homeostat.adapters.git.reader import GitCommitReader
    from homeostat.adapters.settings import load_settings
    from homeostat.audit.restoration import restoration_entry
    from homeostat.flows.restoring import reconcile
    from homeostat.model.actor import SYSTEM, Role

    owners = staged.store.actors.list_actors(role=Role.OWNER)
    owner = owners[0] if owners else SYSTEM
    entry = restoration_entry(staged.loss.restoration, made_at=staged.manifest.made_at, by=owner.id)
    staged.store.ledger.append(entry)
    branch = git.deployed_branch(load_settings(place.repository, os.environ).settings.host.deployed_branch)
    return reconcile(
        proposals=staged.store.proposals,
        backups=FolderBackupStore(staged.folder / "backups"),
        commits=GitCommitReader(git, deployed_branch=branch),
        applied=applied_commits(git, branch),
        moved_since=staged.loss.moved_since(),
        by=owner,
        at=at,
    )


def _verify(place: Place, staged: "Staged") -> None:
    from homeostat.adapters.archive.staging import refuse_unverified
    from homeostat.adapters.story import check_story

    checks = check_story(place.repository, staged.folder)
    failed = [f"{check.name}: {check.detail}" for check in checks if not check.ok]
    if failed:
        raise refuse_unverified(failed)


def _report(place: Place, staged: "Staged", settled: "Settled", aside: Path | None, *, as_json: bool) -> None:
    loss = staged.loss.restoration
    if as_json:
        emit_json(
            {
                "state_dir": str(place.state_dir),
                "put_aside": str(aside) if aside else None,
                "entries": loss.kept,
                "lost_entries": loss.lost,
                "settled": list(settled.rows),
                "unknown_changes": list(settled.unknown),
            }
        )
        return
    for line in settled.rows:
        show(line)
    for line in settled.unknown:
        show(f"in the branch, and of no proposal that is known: {line}")
    say(f"restored {loss.kept} ledger entries into {place.state_dir}; {loss.lost} are lost; homeostat verify holds")
    if aside is not None:
        say(f"what was there is in {aside}; to undo: rm -r {place.state_dir} && mv {aside} {place.state_dir}")
    say("start the hub with: homeostat up")
