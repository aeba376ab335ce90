"""`homeostat patch`: check a patch against any folder, and apply it whole or not at all. Needs no hub."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from homeostat.adapters.patched_folder import open_patched
from homeostat.cli.options import AsJson
from homeostat.cli.output import emit_json, say, show_table
from homeostat.core.errors import Conflict, NotFound, Unavailable
from homeostat.core.limits import MAX_DIFF_BYTES
from homeostat.model.change import FileChange, TreeChange
from homeostat.model.verdict import Denied
from homeostat.validation.patch import parse_patch

group = typer.Typer(help="Check or apply a patch in any folder.", no_args_is_help=True)

_REFUSED = 2

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder that the patch is for.")]
File = Annotated[str, typer.Argument(metavar="FILE", help="A unified or git diff; - reads it from standard input.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(group, name="patch")


@group.command("check")
def check(folder: Folder, file: File, as_json: AsJson = False) -> None:
    """Say whether a patch fits a folder, and what it would change. Changes nothing."""
    _run(folder, file, apply=False, as_json=as_json)


@group.command("apply")
def apply(folder: Folder, file: File, as_json: AsJson = False) -> None:
    """Apply a patch to a folder. Every file of it is changed, or none."""
    _run(folder, file, apply=True, as_json=as_json)


def _run(folder: Path, file: str, *, apply: bool, as_json: bool) -> None:
    patch = parse_patch(read_patch(file))
    with open_patched(folder) as patched:
        if patched.is_interrupted:
            if not apply:
                hint = "`homeostat patch apply` finishes it first, or takes it back"
                raise Conflict("dirty-files", "applying another patch was interrupted in this folder", hint=hint)
            patched.finish_interrupted()
            say("what an interrupted patch had begun here was brought to its end first")
        change = patch if isinstance(patch, Denied) else patched.resolve(patch)
        if apply and isinstance(change, TreeChange):
            patched.put(change)
    if isinstance(change, Denied):
        _tell_refused(change, as_json)
        raise typer.Exit(_REFUSED)
    _tell(change, applied=apply, as_json=as_json)


def read_patch(file: str) -> bytes:
    """Return the bytes of a patch file, or of standard input for `-`; no more than a patch may have, and one."""
    try:
        if file == "-":
            return sys.stdin.buffer.read(MAX_DIFF_BYTES + 1)
        with Path(file).open("rb") as opened:
            return opened.read(MAX_DIFF_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound("no-patch-file", f"there is no file `{file}`") from None
    except OSError as error:
        raise Unavailable("patch-file-unreadable", f"`{file}` cannot be read: {error.strerror}") from error


def _tell_refused(denied: Denied, as_json: bool) -> None:
    if as_json:
        emit_json({"outcome": "refused", "code": denied.code, "reasons": list(denied.reasons), "hint": denied.hint})
        return
    say(f"error[{denied.code}]: {denied.reasons[0]}")
    for reason in denied.reasons[1:]:
        say(f"  {reason}")
    if denied.hint:
        say(f"hint: {denied.hint}")
    say("nothing was changed")


def _tell(change: TreeChange, *, applied: bool, as_json: bool) -> None:
    files = [_told(item) for item in change.files]
    if as_json:
        emit_json({"outcome": "applied" if applied else "applies", "files": files})
        return
    rows = [(item["kind"], _renamed(item), f"{item['bytes_before']} -> {item['bytes_after']} bytes") for item in files]
    show_table(("what", "file", "size"), rows)
    count = f"{len(files)} file{'s' if len(files) > 1 else ''}"
    say(f"{count} changed" if applied else f"it fits: {count} would change; nothing was changed")


def _told(item: FileChange) -> dict[str, Any]:
    return {
        "kind": item.kind.value,
        "path": item.path,
        "old_path": item.old_path,
        "bytes_before": 0 if item.before is None else len(item.before.content),
        "bytes_after": 0 if item.after is None else len(item.after.content),
    }


def _renamed(item: dict[str, Any]) -> str:
    return str(item["path"]) if item["path"] == item["old_path"] else f"{item['old_path']} -> {item['path']}"
