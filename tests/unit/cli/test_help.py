"""Every command explains itself, and the explanation is kept."""

import os
from pathlib import Path

import pytest
import typer

from homeostat.cli.main import app

GOLDEN = Path(__file__).parents[2] / "golden" / "help"
RENEW = (
    "the help changed. Look at the difference; if it is meant, renew the golden files:\n"
    "  RENEW_GOLDEN=1 .venv/bin/python -m pytest tests/unit/cli/test_help.py"
)


def commands(command=None, path=()):
    command = command or typer.main.get_command(app)
    yield path, command
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        yield from commands(inner, (*path, name))


ALL = dict(commands())


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_the_help_is_the_golden_one(typed, path):
    answer = typed(*path, "--help")
    assert (answer.code, answer.err) == (0, "")
    file = GOLDEN / f"{'-'.join(('homeostat', *path))}.txt"
    if os.environ.get("RENEW_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(answer.out, encoding="utf-8")
    assert file.exists() and answer.out == file.read_text(encoding="utf-8"), RENEW


def test_no_golden_help_is_of_a_command_that_is_gone():
    assert {file.stem for file in GOLDEN.iterdir()} == {"-".join(("homeostat", *path)) for path in ALL}


def test_every_command_and_every_option_has_help():
    silent = [" ".join(path) for path, command in ALL.items() if not (command.help or "").strip()]
    for path, command in ALL.items():
        silent += [
            f"{' '.join(path)} {param.name}"
            for param in command.params
            if not (getattr(param, "help", "") or "").strip()
        ]
    assert silent == []


def test_the_commands_are_the_documented_ones():
    assert {path[0] for path in ALL if path} == {
        *("demo", "init", "up", "run", "plan", "propose", "proposals", "revert", "verify", "doctor", "token", "config"),
        *("backup", "restore"),
        "findings",
        "ledger",
        "patch",
        "policy",
        "restart",
        "status",
    }


def test_every_command_that_answers_with_data_can_answer_in_json():
    """All but those that run for long, and one whose data is a document in any case."""
    without = {
        " ".join(path)
        for path, command in ALL.items()
        if not hasattr(command, "commands")
        and "--json" not in [name for param in command.params for name in param.opts]
    }
    assert without == {"up", "run", "demo", "ledger bundle"}
