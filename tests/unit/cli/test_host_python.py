"""Naming the host's interpreter, and the command that its program is started with."""

import pytest

from homeostat.cli.host_python import resolve_python
from homeostat.cli.programs import resolve_command
from homeostat.core.errors import InvalidInput


def test_an_interpreter_is_named_by_its_own_path_links_kept(repository, interpreter):
    interpreter()
    assert resolve_python(repository, "") == repository / ".venv" / "bin" / "python"
    assert resolve_python(repository, ".venv/bin/../bin/python") == repository / ".venv" / "bin" / "python"


@pytest.mark.parametrize("configured", ["nowhere/python", ".", "/", "main.py"])
def test_what_is_no_interpreter_is_refused(repository, configured):
    (repository / "main.py").write_text("")
    with pytest.raises(InvalidInput) as caught:
        resolve_python(repository, configured)
    assert caught.value.code == "no-interpreter"


def test_a_configured_command_is_taken_from_beside_the_interpreter(repository, interpreter):
    interpreter()
    bin_dir = repository / ".venv" / "bin"
    (bin_dir / "gunicorn").write_text("#!/bin/sh\n")
    (bin_dir / "gunicorn").chmod(0o755)
    python = bin_dir / "python"
    assert resolve_command(python, ("python", "-m", "x")) == (str(python), "-m", "x")
    assert resolve_command(python, ("gunicorn", "x")) == (str(bin_dir / "gunicorn"), "x")
    assert resolve_command(python, ("make", "run")) == ("make", "run")
    assert resolve_command(python, ("./start",)) == ("./start",)
    assert resolve_command(python, ()) == ()
