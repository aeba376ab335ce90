"""`homeostat init`, `homeostat config`, `homeostat token`."""

import json
import os
import re
import secrets
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homeostat.adapters.clock import RandomIds, SystemClock
from homeostat.adapters.settings import FILE_NAME, load_settings
from homeostat.cli.declared import unmatched_declarations
from homeostat.cli.options import AsJson, Repo, StateDir
from homeostat.cli.output import emit_json, say, say_text, show, show_table, visible
from homeostat.cli.place import Place, locate
from homeostat.cli.programs import Program, look_at
from homeostat.cli.start_commands import Found
from homeostat.core.digests import digest_bytes
from homeostat.core.errors import Conflict, InvalidInput, Unavailable
from homeostat.core.ids import ActorId
from homeostat.model.actor import Actor, Role
from homeostat.model.settings import PrometheusQuery

if TYPE_CHECKING:
    from homeostat.adapters.store.store import SqlStore
    from homeostat.cli.trying_tests import Tried


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("init")(init)
    app.command("token")(token)
    group = typer.Typer(help="Look at settings.", no_args_is_help=True)
    group.command("show")(config_show)
    group.callback()(lambda: None)
    app.add_typer(group, name="config")


def init(
    tests: Annotated[
        bool | None,
        typer.Option("--tests/--no-tests", help="Run the tests once, in the sandbox; default: ask at a terminal."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write homeostat.toml anew.")] = False,
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Put a repository under care: write its homeostat.toml.

    Finds interpreter, test command and start command, and on a terminal asks for a command that it
    cannot find. Nothing else is changed. Look at what was found, and mend the file where it is wrong.
    """
    place = locate(repo, state_dir)
    path = place.repository / FILE_NAME
    if path.exists() and not force:
        raise _exists_already(path)
    program = look_at(place.repository)
    asks = not as_json and sys.stdin.isatty() and sys.stderr.isatty()
    if asks:
        program = _ask(program)
    _write(path, render_settings(program), anew=force)
    if as_json:
        tried = _try_tests(place) if tests else None
        emit_json(
            {
                "tests": None if tried is None else {"passed": tried.passed, "detail": tried.detail},
                "file": str(path),
                "python": program.python.value[0],
                "test_command": list(program.test_command.value) if program.test_command else None,
                "start_command": list(program.start_command.value) if program.start_command else None,
                "start_choices": [list(item.value) for item in program.start_choices],
                "remarks": list(program.remarks),
            }
        )
        return
    _show("interpreter", program.python)
    _show("test command", program.test_command)
    _show("start command", program.start_command, program.start_choices)
    show(f"wrote {path}")
    for remark in program.remarks:
        say(f"warning: {remark}")
    if program.test_command is None:
        say("without a test command no proposal can be proved: set host.test_command")
    elif tests or (tests is None and asks and typer.confirm("Run the tests once now?", default=True, err=True)):
        _say_tests(place)
    if program.start_choices:
        say("there are several ways to start it: set host.start_command to the one that is meant")
    say("next: homeostat up" if program.start_command else "next: homeostat up -- YOUR START COMMAND")


def _say_tests(place: Place) -> None:
    """Run the tests as a proof does, and say how they end: what fails now would block every proposal."""
    say("the tests are running in the sandbox, without a network, on what is committed ...")
    tried = _try_tests(place)
    show(f"tests:         {tried.detail}")
    if not tried.passed:
        if tried.output:
            say_text(tried.output)
        say(f"until they pass, no proposal can be proved: {tried.remedy}")


def _try_tests(place: Place) -> "Tried":
    from homeostat.cli.trying_tests import try_tests

    return try_tests(place)


def _ask(program: Program) -> Program:
    """Ask a person at the terminal for what was not found; an empty answer leaves it open."""
    if program.test_command is None:
        program = replace(program, test_command=_asked("How is it tested?", ()))
    if program.start_command is None:
        start = _asked("How is it started?", program.start_choices)
        program = replace(program, start_command=start, start_choices=() if start else program.start_choices)
    return program


def _asked(question: str, choices: Sequence[Found]) -> Found | None:
    for number, choice in enumerate(choices, start=1):
        say(f"  {number}. {shlex.join(choice.value)}   ({choice.why})")
    wanted = "a number or a command" if choices else "a command"
    while True:
        answer = typer.prompt(f"{question} {wanted}, empty to leave it open", default="", show_default=False, err=True)
        if answer.isdecimal() and 0 < int(answer) <= len(choices):
            return choices[int(answer) - 1]
        try:
            words = tuple(shlex.split(answer))
        except ValueError as error:
            say(f"that cannot be read as a command: {error}")
            continue
        return Found(value=words, why="told at `homeostat init`") if words else None


def render_settings(program: Program) -> str:
    """Return the text of a fresh homeostat.toml: valid, whatever paths and names are in it."""
    lines = [
        "# Homeostat: how this program is run, tested and cared for. `homeostat config show` lists every setting.",
        "",
        "[host]",
    ]
    if _is_text(program.python.value):
        lines.append(f"python = {_toml(program.python.value[0])}  # {_comment(program.python.why)}")
    else:
        lines.append('# python = "..."  # found, but its path is not UTF-8 text and cannot stand here')
    for name, found in (("test_command", program.test_command), ("start_command", program.start_command)):
        if found is not None and _is_text(found.value):
            lines.append(_command_line(name, found))
        elif name == "start_command" and program.start_choices:
            lines.append("# There are several ways to start it: keep the line that is meant.")
            lines += ["# " + _command_line(name, item) for item in program.start_choices if _is_text(item.value)]
        else:
            lines.append(f'# {name} = ["python", "..."]  # not found: fill it in')
    lines += [
        "",
        "[hmr]",
        "enabled = true  # approved changes of function bodies go live without a restart",
        'mode = "safe"',
        "",
    ]
    return "\n".join(lines)


def _command_line(name: str, found: Found) -> str:
    return f"{name} = [{', '.join(_toml(word) for word in found.value)}]  # {_comment(found.why)}"


def _write(path: Path, text: str, *, anew: bool) -> None:
    try:
        with path.open("w" if anew else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise _exists_already(path) from error
    except OSError as error:
        raise Unavailable("cannot-write", f"{path} cannot be written: {error.strerror}") from error


def _exists_already(path: Path) -> Conflict:
    return Conflict("exists-already", f"{path} is there already", hint="edit it, or write it anew with --force")


def config_show(repo: Repo = None, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Show every setting in force, and where its value comes from."""
    place = locate(repo, state_dir)
    loaded = load_settings(place.repository, os.environ)
    for warning in (*loaded.warnings, *unmatched_declarations(place.repository, loaded.settings.canary.pure)):
        say(f"warning: {warning}")
    if as_json:
        settings = {
            item.name: {"value": _json(item.value), "source": item.source, "doc": item.doc} for item in loaded.origins
        }
        emit_json({"settings": settings})
        return
    rows = []
    for origin in loaded.origins:
        value = " ".join(map(_shown, origin.value)) if isinstance(origin.value, tuple) else str(origin.value)
        rows.append((origin.name, value, origin.source, origin.doc))
    show_table(("setting", "value", "from", "meaning"), rows)


def token(
    agent: Annotated[
        str | None, typer.Option("--agent", help="Make a new token for a bot: it may read and propose, no more.")
    ] = None,
    forget: Annotated[
        str | None, typer.Option("--forget", help="Erase the name behind this pseudonym and end its tokens.")
    ] = None,
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Print the owner's token, make a bot's, or forget a name."""
    if agent is not None and forget is not None:
        raise InvalidInput("two-wishes", "--agent and --forget are two commands", hint="give one of them")
    place = locate(repo, state_dir)
    if forget is not None:
        _forget(place, forget)
        if as_json:
            emit_json({"forgotten": forget})
        return
    made = _owner_token(place) if agent is None else _new_agent(place, agent)
    if as_json:
        emit_json({"token": made, "role": "owner" if agent is None else "agent"})
    else:
        show(made)


def _owner_token(place: Place) -> str:
    from homeostat.adapters.keys import load_or_create_keys

    return load_or_create_keys(place.state_dir).owner_token


def _forget(place: Place, identity: str) -> None:
    with _store(place) as store:
        store.actors.erase_name(ActorId(identity))
        if store.actors.by_token(digest_bytes(_owner_token(place).encode("ascii"))) is None:
            # It was the owner's own: the next start makes a new token, for somebody new.
            (place.state_dir / "keys" / "owner.token").unlink()
    say(f"{identity} has no name any more, and its tokens no longer work")


def _new_agent(place: Place, name: str) -> str:
    if not name.strip() or len(name) > 80:
        raise InvalidInput("bad-name", "a bot's name has 1 to 80 characters")
    from homeostat.audit.credentials import credential_made  # with msgspec: only where an entry is written

    made = f"hst_{secrets.token_urlsafe(32)}"
    digest = digest_bytes(made.encode("ascii"))
    identity = ActorId(f"agent-{RandomIds().new_uuid().replace('-', '')[:12]}")
    with _store(place) as store:
        actor = Actor(id=identity, role=Role.AGENT, name=name.strip())
        store.actors.create(actor=actor, token_digest=digest)
        store.ledger.append(credential_made(identity, Role.AGENT, digest))
    say(f"made a token for {identity} ({name.strip()}); it is shown this once")
    return made


@contextmanager
def _store(place: Place) -> "Iterator[SqlStore]":
    from homeostat.adapters.keys import load_or_create_keys
    from homeostat.adapters.store.store import SqlStore  # takes half a second to import: only where it is opened

    keys = load_or_create_keys(place.state_dir)
    store = SqlStore.open(
        place.state_dir / "homeostat.sqlite",
        signer=keys.signer,
        clock=SystemClock(),
        head_path=place.state_dir / "ledger-head.json",
    )
    try:
        yield store
    finally:
        store.close()


def _show(name: str, found: Found | None, choices: Sequence[Found] = ()) -> None:
    if found is None and choices:
        show(f"{name + ':':15}one of {len(choices)}")
        for choice in choices:
            show(f"{'':15}{shlex.join(choice.value)}   ({choice.why})")
    elif found is None:
        show(f"{name + ':':15}not found")
    else:
        show(f"{name + ':':15}{shlex.join(found.value)}   ({found.why})")


def _toml(text: str) -> str:
    # JSON's escapes are TOML's too, but JSON leaves this one control character as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> str:
    return re.sub(r"[\n\t]", " ", visible(text))


def _is_text(words: Sequence[str]) -> bool:
    return not any("\ud800" <= char <= "\udfff" for word in words for char in word)


def _shown(item: object) -> str:
    return item.name if isinstance(item, PrometheusQuery) else str(item)


def _json(value: object) -> Any:
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    return asdict(value) if isinstance(value, PrometheusQuery) else value
