"""`homeostat init`: what it finds in a repository, and the file it writes."""

import json
import os
import pty
import shlex
import subprocess
import sys
import tomllib
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeostat.adapters.settings import load_settings
from homeostat.cli.programs import Program
from homeostat.cli.setting_up import render_settings
from homeostat.cli.start_commands import Found

PYTEST_TEST = "def test_it():\n    assert True\n"
UNITTEST_TEST = "import unittest\n\n\nclass T(unittest.TestCase):\n    def test_it(self):\n        pass\n"


def put(repository, files):
    for name, text in files.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(text)


def init(typed, *arguments):
    answer = typed("init", "--json", *arguments)
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def host_of(repository):
    """Return what the written file says, as the hub reads it."""
    loaded = load_settings(repository, {})
    assert loaded.settings.hmr.enabled is True and loaded.warnings == ()
    return loaded.settings.host


PROGRAMS = {
    "fastapi": (
        ["pytest", "uvicorn"],
        {"shop/app.py": "from fastapi import FastAPI\napp = FastAPI()\n", "tests/test_app.py": PYTEST_TEST},
        "python -m pytest -q",
        "python -m uvicorn shop.app:app",
    ),
    "fastapi, annotated, in a package's own file": (
        ["pytest", "uvicorn"],
        {"shop/__init__.py": "import fastapi\napi: fastapi.FastAPI = fastapi.FastAPI()\n", "pytest.ini": ""},
        "python -m pytest -q",
        "python -m uvicorn shop:api",
    ),
    "starlette in a src layout": (
        ["uvicorn"],
        {"src/shop/main.py": "from starlette.applications import Starlette\napplication = Starlette()\n"},
        None,
        "python -m uvicorn --app-dir src shop.main:application",
    ),
    "flask with gunicorn": (
        ["flask", "gunicorn", "pytest"],
        {"wsgi.py": "from flask import Flask\napp = Flask(__name__)\n", "test_wsgi.py": PYTEST_TEST},
        "python -m pytest -q",
        "python -m gunicorn wsgi:app",
    ),
    "flask with gunicorn in a src layout": (
        ["flask", "gunicorn"],
        {"src/shop/web.py": "import flask\nserver = flask.Flask(__name__)\n"},
        None,
        "python -m gunicorn --pythonpath src shop.web:server",
    ),
    "flask alone": (
        ["flask"],
        {"shop.py": "from flask import Flask\napp = Flask(__name__)\n"},
        None,
        "python -m flask --app shop:app run",
    ),
    "django": (
        ["django"],
        {"manage.py": "", "shop/tests.py": "from django.test import TestCase\n"},
        "python manage.py test",
        "python manage.py runserver --noreload",
    ),
    "django with pytest configured": (
        ["django", "pytest"],
        {"manage.py": "", "pyproject.toml": "[tool.pytest.ini_options]\n", "shop/tests.py": ""},
        "python -m pytest -q",
        "python manage.py runserver --noreload",
    ),
    "unittest in a folder": (
        [],
        {"main.py": "", "tests/test_it.py": UNITTEST_TEST},
        "python -m unittest discover -s tests",
        "python main.py",
    ),
    "unittest in a package": (
        [],
        {"shop/__main__.py": "", "tests/__init__.py": "", "tests/test_it.py": UNITTEST_TEST},
        "python -m unittest discover -s tests -t .",
        "python -m shop",
    ),
    "unittest beside the code": (
        [],
        {"app.py": "", "it_test.py": UNITTEST_TEST},
        "python -m unittest discover -s . -p '*_test.py'",
        "python app.py",
    ),
    "a console script": (
        [],
        {"pyproject.toml": "[project.scripts]\nshop = 'shop:main'\n", "shop.py": ""},
        None,
        "shop",
    ),
    "an application in the tests or examples is not the program": (
        ["uvicorn"],
        {
            "examples/app.py": "from fastapi import FastAPI\napp = FastAPI()\n",
            "tests/conftest.py": "from fastapi import FastAPI\napp = FastAPI()\n",
            "main.py": "",
        },
        None,
        "python main.py",
    ),
    "a folder that cannot be imported": (
        ["uvicorn"],
        {"v1.2/app.py": "from fastapi import FastAPI\napp = FastAPI()\n"},
        None,
        None,
    ),
    "an ASGI application of Django": (
        ["django", "uvicorn"],
        {
            "manage.py": "",
            "site/asgi.py": "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n",
        },
        None,
        "python -m uvicorn site.asgi:application",
    ),
    "a WSGI application of Django": (
        ["django", "gunicorn"],
        {"manage.py": "", "wsgi.py": "import django.core.wsgi as w\napplication = w.get_wsgi_application()\n"},
        None,
        "python -m gunicorn wsgi:application",
    ),
    "a factory": (
        ["flask", "gunicorn"],
        {"shop/__init__.py": "import flask\ndef create_app(x=None):\n    app = flask.Flask('x')\n    return app\n"},
        None,
        "python -m gunicorn 'shop:create_app()'",
    ),
    "a factory under uvicorn": (
        ["uvicorn"],
        {"src/shop/api.py": "from fastapi import FastAPI\ndef make_app():\n    return FastAPI()\n"},
        None,
        "python -m uvicorn --app-dir src --factory shop.api:make_app",
    ),
    "a factory that wants something is none": (
        ["flask", "gunicorn"],
        {"shop.py": "import flask\ndef create_app(config):\n    return flask.Flask('x')\n"},
        None,
        None,
    ),
    "an application that a function of another module makes": (
        ["uvicorn"],
        {
            "shop/make.py": "from fastapi import FastAPI\ndef create_app():\n    return FastAPI()\n",
            "main.py": "from shop.make import create_app\napp = create_app()\n",
        },
        None,
        "python -m uvicorn main:app",
    ),
    "an application with a part of its own": (
        ["uvicorn"],
        {"main.py": "from fastapi import FastAPI\nadmin = FastAPI()\napp = FastAPI()\napp.mount('/a', admin)\n"},
        None,
        "python -m uvicorn main:app",
    ),
    "hypercorn": (
        ["hypercorn"],
        {"app.py": "from starlette.applications import Starlette\napp = Starlette()\n"},
        None,
        "python -m hypercorn app:app",
    ),
    "waitress": (
        ["flask", "waitress"],
        {"app.py": "from flask import Flask\napp = Flask('x')\n"},
        None,
        "python -m waitress app:app",
    ),
    "a Procfile": (
        ["gunicorn"],
        {"Procfile": "release: x\nworker: python work.py\nweb: gunicorn --workers 2 app:app\n", "main.py": ""},
        None,
        "gunicorn --workers 2 app:app",
    ),
    "a Procfile that needs a shell": (
        ["gunicorn"],
        {"Procfile": "web: gunicorn -b 0.0.0.0:$PORT app:app\n"},
        None,
        "sh -c 'exec gunicorn -b 0.0.0.0:$PORT app:app'",
    ),
    "a start script": (
        ["uvicorn"],
        {"start.sh": "exec uvicorn app:app\n", "app.py": "from fastapi import FastAPI\napp = FastAPI()\n"},
        None,
        "sh start.sh",
    ),
    "a runner of its own": ([], {"run_tests.py": "", "main.py": ""}, "python run_tests.py", "python main.py"),
    "tests that are run as a package": ([], {"tests/__main__.py": ""}, "python -m tests", None),
    "a Makefile": ([], {"Makefile": "all: test\ntest: x\n\tpytest\n", "test_x.py": PYTEST_TEST}, "make test", None),
    "nothing at all": ([], {}, None, None),
    "files that cannot be read as Python": (
        ["uvicorn", "pytest"],
        {"app.py": "def (:\n", "deep.py": "(" * 5000, "null.py": "\0", "pyproject.toml": "tool = 5\nproject = [\n"},
        None,
        "python app.py",
    ),
    "a strange pyproject": ([], {"pyproject.toml": "tool = 5\nproject = { scripts = 'x' }\n"}, None, None),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_is_found(typed, repository, interpreter, name):
    packages, files, test_command, start_command = PROGRAMS[name]
    interpreter(*packages)
    put(repository, files)
    body = init(typed)
    assert body["python"] == ".venv/bin/python"
    shown = {key: shlex.join(body[key]) if body[key] else None for key in ("test_command", "start_command")}
    assert shown == {"test_command": test_command, "start_command": start_command}
    host = host_of(repository)
    assert list(host.test_command) == (body["test_command"] or [])
    assert list(host.start_command) == (body["start_command"] or [])


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name.startswith("unittest")])
def test_the_unittest_command_that_is_found_runs_the_tests(typed, repository, interpreter, name):
    interpreter()
    put(repository, PROGRAMS[name][1])
    command = init(typed)["test_command"]
    done = subprocess.run([sys.executable, *command[1:]], cwd=repository, capture_output=True, text=True, check=True)
    assert "Ran 1 test" in done.stderr


def test_a_folder_of_the_program_is_not_taken_for_a_package(typed, repository, interpreter):
    interpreter()
    put(repository, {"uvicorn/__init__.py": "", "app.py": "from fastapi import FastAPI\napp = FastAPI()\n"})
    assert init(typed)["start_command"] == ["python", "app.py"]


def test_without_a_virtual_environment_it_is_the_active_or_our_own_interpreter(
    typed, repository, tmp_path, monkeypatch
):
    assert init(typed)["python"] == sys.executable
    python = tmp_path / "active" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    monkeypatch.setenv("VIRTUAL_ENV", str(python.parents[1]))
    assert init(typed, "--force")["python"] == str(python)
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "gone"))
    assert init(typed, "--force")["python"] == sys.executable


def test_from_a_folder_inside_the_file_is_written_at_the_top(typed, repository, monkeypatch):
    inner = repository / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert init(typed)["file"] == str(repository / "homeostat.toml")
    assert list(inner.iterdir()) == []


def test_it_changes_nothing_else(typed, repository):
    put(repository, {"main.py": ""})
    typed("init")
    assert sorted(path.name for path in repository.iterdir()) == [".git", "homeostat.toml", "main.py"]


def test_it_shows_what_it_found_and_what_is_next(typed, repository, interpreter):
    interpreter("pytest")
    put(repository, {"main.py": "", "test_it.py": PYTEST_TEST})
    answer = typed("init")
    assert answer.out.splitlines() == [
        "interpreter:   .venv/bin/python   (the virtual environment in .venv/)",
        "test command:  python -m pytest -q   (pytest is installed and there are tests)",
        "start command: python main.py   (main.py at the top)",
        f"wrote {repository}/homeostat.toml",
    ]
    assert answer.err == "next: homeostat up\n"


def test_what_was_not_found_is_said(typed, repository):
    answer = typed("init")
    assert "test command:  not found" in answer.out and "set host.test_command" in answer.err


TWO = {
    "api/main.py": "from fastapi import FastAPI\napp = FastAPI()\n",
    "admin/main.py": "from fastapi import FastAPI\napp = FastAPI()\n",
    "test_it.py": UNITTEST_TEST,
}
CHOICES = ["python -m uvicorn admin.main:app", "python -m uvicorn api.main:app"]


def test_of_several_ways_to_start_none_is_taken_and_the_file_names_them(typed, repository, interpreter):
    interpreter("uvicorn", "fastapi")
    put(repository, TWO)
    answer = typed("init")
    assert "start command: one of 2" in answer.out and all(choice in answer.out for choice in CHOICES)
    assert "set host.start_command" in answer.err and "homeostat up -- YOUR" in answer.err
    assert host_of(repository).start_command == ()
    text = (repository / "homeostat.toml").read_text()
    for choice in CHOICES:
        (line,) = [line for line in text.splitlines() if line.startswith("# start_") and choice.split()[-1] in line]
        assert shlex.join(tomllib.loads(line[2:])["start_command"]) == choice
    assert [shlex.join(item) for item in init(typed, "--force")["start_choices"]] == CHOICES


@pytest.mark.parametrize(
    ("keys", "start", "test"),
    [
        (["python check.py", "2", "n"], CHOICES[1], "python check.py"),
        (["", "'unclosed", "./serve --port '1 2'"], "./serve --port '1 2'", ""),
        (["", ""], "", ""),
    ],
)
def test_a_person_at_a_terminal_is_asked_for_what_was_not_found(repository, interpreter, keys, start, test):
    interpreter("uvicorn", "fastapi")
    put(repository, {name: text for name, text in TWO.items() if name != "test_it.py"})
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "homeostat", "init"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as asked:
        os.close(theirs)
        os.write(ours, "".join(f"{key}\n" for key in keys).encode())
        said = b""
        try:
            with suppress(OSError):  # the terminal is closed
                while chunk := os.read(ours, 4096):
                    said += chunk
        except BaseException:  # a time limit, when it asks for more than it was given
            asked.kill()
            raise
    os.close(ours)
    assert asked.returncode == 0, said
    assert b"1. python -m uvicorn admin.main:app" in said
    host = host_of(repository)
    assert (shlex.join(host.start_command), shlex.join(host.test_command)) == (start, test)


def remarks(typed):
    return "\n".join(init(typed, "--force")["remarks"])


def test_an_interpreter_without_what_the_application_imports_is_remarked(typed, repository, interpreter):
    interpreter("uvicorn", "fastapi")
    app = "import json, shop\nfrom . import x\nfrom fastapi import FastAPI\nimport stripe.error\napp = FastAPI()\n"
    put(repository, {"shop/__init__.py": "", "shop/app.py": app})
    assert remarks(typed) == (
        ".venv/bin/python has no `stripe`, which shop/app.py imports: set host.python to one that has it"
    )


def test_tests_that_want_pytest_where_there_is_none_are_remarked(typed, repository, interpreter):
    interpreter()
    put(repository, {"test_it.py": PYTEST_TEST})
    assert "the tests want pytest, which .venv/bin/python does not have" in remarks(typed)
    (repository / "test_it.py").write_text(UNITTEST_TEST)
    assert remarks(typed) == ""


def test_of_two_environments_the_usual_one_is_taken_and_both_are_told(typed, repository, interpreter):
    for name in ("first", "second"):
        interpreter(folder=name)
        put(repository, {f"{name}/pyvenv.cfg": "", f"{name}/lib/noise.py": "if __name__ == '__main__':\n    pass\n"})
    assert init(typed)["python"] == "first/bin/python"
    assert "other environments (second/bin/python)" in remarks(typed)
    interpreter()
    assert init(typed, "--force")["python"] == ".venv/bin/python" and remarks(typed) == ""


INSTALLED = {
    "an editable install": ("shop", {"url": "file://{here}", "dir_info": {"editable": True}}, ""),
    "an install of a folder": ("shop", {"url": "file://{here}", "dir_info": {}}, "copy"),
    "an install of a part of it": ("part", {"url": "file://{here}/parts/a", "dir_info": {}}, "copy"),
    "an install from a wheel": ("Shop_", {"url": "file:///dist/shop.whl", "archive_info": {}}, "copy"),
    "an install from an index": ("shop", None, "copy"),
    "another project": ("tea", {"url": "file:///elsewhere", "dir_info": {}}, ""),
    "a broken record": ("tea", ["x"], ""),
}


@pytest.mark.parametrize("name", INSTALLED)
def test_a_project_that_is_installed_as_a_copy_is_remarked(typed, repository, interpreter, name):
    distribution, record, how = INSTALLED[name]
    interpreter()
    site = ".venv/site/x-1.dist-info"
    put(repository, {f"{site}/METADATA": f"Name: {distribution}\nVersion: 1\n", "src/shop/a.py": ""})
    project = distribution if distribution != "tea" else "shop"
    put(repository, {"pyproject.toml": f'[project]\nname = "{project.replace("_", "-")}"\n'})
    if record is not None:
        put(repository, {f"{site}/direct_url.json": json.dumps(record).replace("{here}", str(repository))})
    said = remarks(typed)
    assert ("as a copy" in said and "pip install -e ." in said) == (how == "copy")
    assert ("what is in src/ is not installed" in said) == (distribution == "tea")


def test_a_file_that_is_there_is_not_overwritten_without_force(typed, repository):
    put(repository, {"homeostat.toml": "mine"})
    answer = typed("init")
    assert (answer.code, answer.out) == (3, "") and "--force" in answer.err
    assert (repository / "homeostat.toml").read_text() == "mine"
    assert typed("init", "--force").code == 0
    host_of(repository)


def test_neither_is_the_target_of_a_link_that_leads_nowhere(typed, repository, tmp_path):
    (repository / "homeostat.toml").symlink_to(tmp_path / "elsewhere")
    assert typed("init").code == 3
    assert not (tmp_path / "elsewhere").exists()


def test_a_repository_that_cannot_be_written_is_refused_without_a_traceback(typed, repository):
    (repository / "homeostat.toml").mkdir()
    answer = typed("init", "--force")
    assert (answer.code, answer.out) == (4, "") and "error[cannot-write]" in answer.err


def bare_interpreter(environment):
    """Make an interpreter without packages and return its folder."""
    folder = environment / "bin"
    folder.mkdir(parents=True)
    (folder / "python").write_text(f'#!/bin/sh\nexec "{sys.base_prefix}/bin/python3" -S "$@"\n')
    (folder / "python").chmod(0o755)
    return folder


@pytest.mark.parametrize(
    "name", ['we"ird', "back\\slash", "line\nbreak", "tab\t", "del\x7f", "ünï\U0001f600", "a#b = [", "\x85\x1b"]
)
def test_the_file_is_valid_whatever_the_paths_are(typed, repository, tmp_path, monkeypatch, name):
    active = bare_interpreter(tmp_path / name)
    monkeypatch.setenv("VIRTUAL_ENV", str(active.parent))
    put(repository, {f"{name}/test_it.py": UNITTEST_TEST, f"{name}/__main__.py": ""})
    body = init(typed)
    host = host_of(repository)
    assert host.python == body["python"] == str(active / "python")
    assert list(host.test_command) == body["test_command"] and name in host.test_command
    assert host.start_command == ("python", "-m", name)


def test_a_path_that_is_no_text_is_left_out_and_said(typed, repository, tmp_path, monkeypatch):
    active = tmp_path / os.fsdecode(b"\xff") / "bin"
    active.mkdir(parents=True)
    (active / "python").symlink_to(sys.executable)
    monkeypatch.setenv("VIRTUAL_ENV", str(active.parent))
    assert typed("init").code == 0
    assert host_of(repository).python == "" and "not UTF-8" in (repository / "homeostat.toml").read_text()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=3), why=st.text(max_size=30))
def test_any_words_come_back_as_they_were(words, why):
    found = Found(value=tuple(words), why=why)
    text = render_settings(Program(python=found, test_command=found, start_command=None))
    host = tomllib.loads(text)["host"]
    assert (host["python"], host["test_command"]) == (words[0], words)


def test_a_pipe_among_the_sources_does_not_make_it_wait(typed, repository, interpreter):
    interpreter("pytest")
    os.mkfifo(repository / "test_pipe.py")
    os.mkfifo(repository / "pyproject.toml")
    (repository / "test_gone.py").symlink_to(repository / "nowhere")
    assert init(typed)["test_command"] is None


def test_the_tests_are_run_once_where_that_is_asked_for(typed, repository):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    put(repository, {"tests/test_it.py": UNITTEST_TEST.replace("pass", "self.fail('no')")})
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    assert init(typed)["tests"] is None, "nobody is there to be asked"
    assert "tests:" not in typed("init", "--force", "--no-tests").out
    answer = typed("init", "--force", "--tests")
    assert answer.code == 0 and "the tests do not pass in the sandbox" in answer.out
    assert "exit code 1" in answer.out and "AssertionError: no" in answer.err
    assert "until they pass, no proposal can be proved" in answer.err and "homeostat doctor --tests" in answer.err
