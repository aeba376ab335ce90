"""`homeostat ledger`: what an auditor takes away, to hold the ledger to later, without a copy of it."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from homeostat.cli.options import AsJson, Repo, StateDir
from homeostat.cli.output import emit_json, say, show
from homeostat.cli.place import Place, locate
from homeostat.core.errors import InvalidInput, NotFound
from homeostat.core.ids import is_id_prefix

if TYPE_CHECKING:
    from homeostat.adapters.store.ledger import SqlLedger

group = typer.Typer(help="Take proofs from the ledger.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(group, name="ledger")


@group.command("checkpoint")
def checkpoint(repo: Repo = None, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Print a signed checkpoint: keep it elsewhere, and `homeostat verify --checkpoint FILE` holds the ledger to it."""
    with _ledger(locate(repo, state_dir)) as (ledger, key):
        note = ledger.checkpoint()
    if as_json:
        emit_json({"checkpoint": note, "key": key})
    else:
        typer.echo(note, nl=False)
        say(f"the key that signed it: {key}")


@group.command("prove")
def prove(
    entry: Annotated[int | None, typer.Argument(help="The number of an entry.", min=1)] = None,
    since: Annotated[
        int | None, typer.Option("--since", help="Prove that the first so many entries are unchanged.", min=1)
    ] = None,
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Prove that an entry is in the ledger, or that the ledger only grew since it had so many entries.

    An entry's proof has the form of C2SP tlog-proof, with what the entry says as its extra data.
    """
    if (entry is None) == (since is None):
        raise InvalidInput(
            "ledger-range",
            "name an entry, or the number of entries with --since, and not both",
            hint="as `homeostat ledger prove 3`, or `homeostat ledger prove --since 3`",
        )
    with _ledger(locate(repo, state_dir)) as (ledger, key):
        note = ledger.checkpoint()
        size = int(note.split("\n")[1])
        if entry is not None:
            hashes, said = ledger.inclusion_proof(entry, size), ledger.leaf_text(entry)
        else:
            hashes, said = ledger.consistency_proof(since or 0, size), b""
    encoded = [base64.b64encode(one).decode("ascii") for one in hashes]
    if as_json or entry is None:
        facts = {"entry": entry, "said": said.decode("utf-8")} if entry is not None else {"since": since}
        emit_json({**facts, "proof": encoded, "checkpoint": note, "key": key})
        return
    extra = base64.b64encode(said).decode("ascii")
    for line in ("c2sp.org/tlog-proof@v1", f"extra {extra}", f"index {entry - 1}", *encoded, ""):
        show(line)
    typer.echo(note, nl=False)


@group.command("bundle")
def bundle(
    proposal: Annotated[str, typer.Argument(help="A proposal, or how its id begins.")],
    repo: Repo = None,
    state_dir: StateDir = None,
) -> None:
    """Write a change's whole story to standard output, for `homeostat verify FILE` wherever that is run.

    It holds the proposal as it stands, its diff, and all that the ledger says of it; no names, keys or tokens.
    """
    from homeostat.adapters.bundling import make_bundle, open_for_proofs

    if not is_id_prefix(proposal):
        raise NotFound(
            "no-such-proposal", f"proposal_id {proposal[:60]!r} does not exist", hint="homeostat proposals list"
        )
    place = locate(repo, state_dir)
    with open_for_proofs(place.state_dir) as (store, key):
        made = make_bundle(store, place.repository, proposal)
    typer.echo(made, nl=False)
    say(f"{len(made) >> 10} KB; to check it: homeostat verify FILE --key {key}")


@contextmanager
def _ledger(place: Place) -> "Iterator[tuple[SqlLedger, str]]":
    from homeostat.adapters.bundling import open_for_proofs

    with open_for_proofs(place.state_dir) as (store, key):
        yield store.ledger, key
