"""What is tried: each cell is one program, how it is served, and what must be seen of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from e2e.hosts import sources

PYTEST_COMMAND = "python -m pytest -q"
UNITTEST_COMMAND = "python -m unittest discover -s tests"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One host. `init_start` and `init_test` are what `homeostat init` must find by itself; None: it must not."""

    name: str
    program: str
    """What kind of program it is, for people."""

    start: str
    """The command line it is run with; `{port}` is a free port."""

    files: Mapping[str, str]
    init_start: str | None
    init_test: str | None
    packages: tuple[str, ...] = ()
    """What is installed in the host's environment, besides what these need."""

    install: str = ""
    """``editable`` or ``copy``: whether and how the project is installed in its environment."""

    processes: int = 1
    """How many processes attach, those that serve nothing included."""

    serving: int = 1
    """How many of them answer requests, or do the work."""

    http: bool = True
    test_command: str = ""
    """Filled in by hand where `init` cannot find it."""

    python: str = "3.11"
    restarts: bool = False
    """The program itself starts its processes anew when a file changes."""

    where: str = "shop/prices.py"
    always: bool = False
    """Part of every `make test`; the others are `make hosts`."""


def _shop(**files: str) -> dict[str, str]:
    named = {name.replace("__slash__", "/").replace("__dot__", "."): text for name, text in files.items()}
    return {
        "shop/__init__.py": "",
        "shop/prices.py": sources.PRICES,
        ".gitignore": "__pycache__/\n.venv/\nout/\n",
    } | named


def _with(app: str, tests: str = sources.PYTEST, **more: str) -> dict[str, str]:
    return _shop() | {"shop/app.py": app, "tests/test_prices.py": tests} | more


def _in_src(files: Mapping[str, str]) -> dict[str, str]:
    return {f"src/{name}" if name.startswith("shop/") else name: text for name, text in files.items()}


_FASTAPI = _with(sources.FASTAPI)
_FLASK = _with(sources.FLASK, sources.UNITTEST)
_DJANGO = _shop() | {
    "manage.py": sources.MANAGE,
    "site_settings.py": sources.DJANGO_SETTINGS,
    "site_wsgi.py": sources.DJANGO_WSGI,
    "shop/views.py": sources.DJANGO_VIEWS,
    "shop/tests.py": sources.DJANGO_TESTS,
}
_RUNSERVER = "python manage.py runserver --noreload"

_UVICORN = Cell(
    name="fastapi-uvicorn",
    program="FastAPI, own virtual environment",
    start="python -m uvicorn shop.app:app --port {port}",
    files=_FASTAPI,
    init_start="python -m uvicorn shop.app:app",
    init_test=PYTEST_COMMAND,
    packages=("fastapi", "uvicorn"),
)
_UVICORN_WORKERS = replace(
    _UVICORN,
    name="fastapi-uvicorn-workers",
    start="python -m uvicorn shop.app:app --port {port} --workers 2",
    processes=3,
    serving=2,
    always=True,
)
_GUNICORN = Cell(
    name="flask-gunicorn",
    program="Flask, unittest",
    start="python -m gunicorn -b 127.0.0.1:{port} -w 2 shop.app:app",
    files=_FLASK,
    init_start="python -m gunicorn shop.app:app",
    init_test=UNITTEST_COMMAND,
    packages=("flask", "gunicorn"),
    processes=3,
    serving=2,
    always=True,
)
_DJANGO_RUNSERVER = Cell(
    name="django-runserver",
    program="Django, its own test runner",
    start="python manage.py runserver --noreload 127.0.0.1:{port}",
    files=_DJANGO,
    init_start=_RUNSERVER,
    init_test="python manage.py test",
    packages=("django",),
)
_AIOHTTP = Cell(
    name="aiohttp",
    program="aiohttp, `python -m` its package",
    start="python -m shop",
    files=_with(sources.AIOHTTP) | {"shop/__main__.py": sources.RUN_MAIN},
    init_start="python -m shop",
    init_test=PYTEST_COMMAND,
    packages=("aiohttp",),
)
_WORKERS = Cell(
    name="workers-of-every-kind",
    program="script with workers: os.fork, multiprocessing fork, spawn and forkserver, ProcessPoolExecutor",
    start="python main.py",
    files=_shop() | {"main.py": sources.WORKERS, "shop/loop.py": sources.LOOP, "tests/test_prices.py": sources.PYTEST},
    init_start="python main.py",
    init_test=PYTEST_COMMAND,
    processes=7,
    serving=6,
    http=False,
    always=True,
)

_ON_3_11 = (
    _UVICORN,
    _UVICORN_WORKERS,
    replace(
        _UVICORN,
        name="fastapi-uvicorn-reload",
        start="python -m uvicorn shop.app:app --port {port} --reload",
        processes=2,
        restarts=True,
    ),
    replace(
        _UVICORN,
        name="fastapi-uvicorn-command",
        program="FastAPI, the server's own command",
        start=".venv/bin/uvicorn shop.app:app --port {port}",
    ),
    replace(
        _UVICORN,
        name="fastapi-gunicorn-uvicorn.workers",
        start="python -m gunicorn -k uvicorn.workers.UvicornWorker -b 127.0.0.1:{port} -w 2 shop.app:app",
        packages=("fastapi", "gunicorn", "uvicorn"),
        processes=3,
        serving=2,
    ),
    replace(
        _UVICORN,
        name="fastapi-hypercorn",
        init_start="python -m hypercorn shop.app:app",
        start="python -m hypercorn -b 127.0.0.1:{port} shop.app:app",
        packages=("fastapi", "hypercorn"),
        processes=2,
    ),
    replace(
        _UVICORN,
        name="fastapi-hypercorn-workers",
        init_start="python -m hypercorn shop.app:app",
        start="python -m hypercorn -b 127.0.0.1:{port} -w 2 shop.app:app",
        packages=("fastapi", "hypercorn"),
        processes=3,
        serving=2,
    ),
    replace(
        _UVICORN,
        name="shell-script",
        init_start="sh start.sh",
        program="FastAPI behind a shell script that sets PYTHONPATH and runs a tool first",
        start="sh start.sh --port {port}",
        files=_FASTAPI | {"start.sh": sources.START_SH},
    ),
    _GUNICORN,
    replace(
        _GUNICORN,
        name="flask-gunicorn-gthread",
        start="python -m gunicorn -k gthread --threads 4 -b 127.0.0.1:{port} -w 2 shop.app:app",
        always=False,
    ),
    replace(
        _GUNICORN,
        name="flask-gunicorn-preload",
        start="python -m gunicorn --preload -b 127.0.0.1:{port} -w 2 shop.app:app",
        always=False,
    ),
    replace(
        _GUNICORN,
        name="flask-run",
        init_start="python -m flask --app shop.app:app run",
        start="python -m flask --app shop.app:app run --port {port}",
        packages=("flask",),
        processes=1,
        serving=1,
        always=False,
    ),
    replace(
        _GUNICORN,
        name="flask-waitress",
        init_start="python -m waitress shop.app:app",
        start="python -m waitress --listen=127.0.0.1:{port} shop.app:app",
        packages=("flask", "waitress"),
        processes=1,
        serving=1,
        always=False,
    ),
    replace(
        _GUNICORN,
        name="flask-factory",
        program="Flask, an application factory, unittest",
        start="python -m gunicorn -b 127.0.0.1:{port} shop.app:create_app()",
        files=_with(sources.FLASK_FACTORY, sources.UNITTEST),
        init_start="python -m gunicorn 'shop.app:create_app()'",
        processes=2,
        serving=1,
        always=False,
    ),
    _DJANGO_RUNSERVER,
    replace(
        _DJANGO_RUNSERVER,
        name="django-runserver-reload",
        start="python manage.py runserver 127.0.0.1:{port}",
        processes=2,
        restarts=True,
    ),
    replace(
        _DJANGO_RUNSERVER,
        name="django-gunicorn",
        init_start="python -m gunicorn site_wsgi:application",
        start="python -m gunicorn -b 127.0.0.1:{port} -w 2 site_wsgi",
        packages=("django", "gunicorn"),
        processes=3,
        serving=2,
    ),
    Cell(
        name="starlette-src",
        program="Starlette, src layout, editable install, pytest configured",
        start="python -m uvicorn shop.app:app --port {port}",
        files=_in_src(_with(sources.STARLETTE))
        | {"pyproject.toml": sources.pyproject(more="[tool.pytest.ini_options]\n")},
        init_start="python -m uvicorn --app-dir src shop.app:app",
        init_test=PYTEST_COMMAND,
        packages=("starlette", "uvicorn"),
        install="editable",
        where="src/shop/prices.py",
        always=True,
    ),
    _AIOHTTP,
    Cell(
        name="console-script",
        program="aiohttp, console script, src layout, editable install, unittest",
        start=".venv/bin/shop-serve",
        files=_in_src(_with(sources.AIOHTTP, sources.UNITTEST))
        | {"pyproject.toml": sources.pyproject(scripts='[project.scripts]\nshop-serve = "shop.app:main"\n')},
        init_start="shop-serve",
        init_test=UNITTEST_COMMAND,
        packages=("aiohttp",),
        install="editable",
        where="src/shop/prices.py",
        always=True,
    ),
    Cell(
        name="worker-loop",
        program="worker loop in a plain script, without HTTP, with a test command of its own",
        start="python worker.py",
        files=_shop() | {"worker.py": sources.WORKER, "shop/loop.py": sources.LOOP, "run_tests.py": sources.CUSTOM},
        init_start="python worker.py",
        init_test="python run_tests.py",
        http=False,
    ),
    _WORKERS,
)

OTHER_PYTHONS = ("3.9", "3.10", "3.12", "3.13")
_ON_EACH = (_UVICORN_WORKERS, _GUNICORN, _DJANGO_RUNSERVER, _AIOHTTP, _WORKERS)

CELLS = (
    *_ON_3_11,
    *(
        replace(cell, name=f"{cell.name}-py{version}", python=version, always=False)
        for version in OTHER_PYTHONS
        for cell in _ON_EACH
    ),
    *(
        replace(
            _UVICORN,
            name=f"fastapi-gunicorn-uvicorn_worker-py{version}",
            start="python -m gunicorn -k uvicorn_worker.UvicornWorker -b 127.0.0.1:{port} -w 2 shop.app:app",
            packages=("fastapi", "gunicorn", "uvicorn-worker"),
            python=version,
            processes=3,
            serving=2,
        )
        for version in ("3.9", "3.13")
    ),
)
