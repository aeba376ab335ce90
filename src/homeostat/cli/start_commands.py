"""How a program is started: by its Procfile or script, its server and application, or itself."""

import ast
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from homeostat.cli.source_files import (
    is_of_program,
    is_test,
    module_name,
    parse,
    pyproject,
    python_files,
    table,
    text_of,
)

_ASGI = frozenset({"FastAPI", "Starlette", "get_asgi_application"})
_WSGI = frozenset({"Flask", "get_wsgi_application"})
_FACTORIES = re.compile(r"(?:create|make|build|get)_(?:app|application)|app_factory")
_RUNS = re.compile(r"^if __name__ == ['\"]__main__['\"]", re.MULTILINE)
_PROCESS = re.compile(r"^(web|worker):[ \t]*(\S.*)$", re.MULTILINE)
_SHELL = re.compile(r"[$`|&;<>*?(){}~]")
_NO_SCRIPT = frozenset({"setup.py", "conftest.py", "manage.py"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One thing that was found, and how."""

    value: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """An application object of a web framework, or a function that makes one."""

    path: Path
    kind: str
    name: str
    is_factory: bool = False


def find_applications(repository: Path) -> list[Application]:
    """Return the applications that stand in the program's modules, else the functions that make one."""
    trees = dict(_trees(repository))
    makers = {name: kind for tree in trees.values() for name, kind in _makers(tree)}
    found = [item for path, tree in trees.items() for item in _applications(path, tree, makers)]
    if found:
        return found
    return [
        Application(path=path, kind=kind, name=name, is_factory=True)
        for path, tree in trees.items()
        for name, kind in _makers(tree)
        if _FACTORIES.fullmatch(name)
    ]


def find_starts(repository: Path, applications: Iterable[Application], has: frozenset[str]) -> list[Found]:
    """Return the start commands of the first kind that there is one of: one is found, several are a choice."""
    for sought in (
        _procfile(repository),
        _start_script(repository),
        _served(repository, applications, has),
        _django(repository),
        _console_scripts(repository),
        _packages(repository),
        _scripts(repository),
    ):
        found = list(sought)
        if found:
            return found
    return []


def _procfile(repository: Path) -> Iterator[Found]:
    lines = dict(reversed(_PROCESS.findall(text_of(repository / "Procfile"))))
    for name in ("web", "worker"):
        if name in lines:
            line = lines[name].strip()
            words = ("sh", "-c", f"exec {line}") if _SHELL.search(line) else _words(line)
            if words:
                yield Found(value=words, why=f"`{name}` in the Procfile")
                return


def _words(line: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(line))
    except ValueError:
        return ()


def _start_script(repository: Path) -> Iterator[Found]:
    for name in ("start.sh", "run.sh"):
        if text_of(repository / name):
            yield Found(value=("sh", name), why=f"{name} at the top")


def _django(repository: Path) -> Iterator[Found]:
    if (repository / "manage.py").is_file():
        yield Found(value=("python", "manage.py", "runserver", "--noreload"), why="manage.py (Django)")


def _console_scripts(repository: Path) -> Iterator[Found]:
    scripts = table(pyproject(repository), "project", "scripts") or table(
        pyproject(repository), "tool", "poetry", "scripts"
    )
    why = "the only console script in pyproject.toml" if len(scripts) == 1 else "a console script in pyproject.toml"
    for name in scripts:
        yield Found(value=(str(name),), why=why)


def _packages(repository: Path) -> Iterator[Found]:
    for path in [*sorted(repository.glob("*/__main__.py")), *sorted(repository.glob("src/*/__main__.py"))]:
        name, parts = path.parent.name, path.relative_to(repository).parts
        if "." not in name and is_of_program(repository, path):
            installed = "; the package must be installed, as by pip install -e ." if parts[0] == "src" else ""
            yield Found(value=("python", "-m", name), why=f"{'/'.join(parts)}{installed}")


def _scripts(repository: Path) -> Iterator[Found]:
    for path in (repository / "main.py", repository / "app.py"):
        if path.is_file():
            yield Found(value=("python", path.name), why=f"{path.name} at the top")
            return
    scripts = [path for path in sorted(repository.glob("*.py")) if _is_script(path)]
    for path in scripts:
        only = ", the only script at the top" if len(scripts) == 1 else ", a script at the top"
        yield Found(value=("python", path.name), why=f"{path.name}{only}")


def _is_script(path: Path) -> bool:
    tests = is_test(path) or path.stem.replace("_", "") == "runtests"
    return not tests and path.name not in _NO_SCRIPT and _RUNS.search(text_of(path)) is not None


def _served(repository: Path, applications: Iterable[Application], has: frozenset[str]) -> Iterator[Found]:
    for application in _main_ones(applications):
        module = module_name(repository, application.path)
        words = _server(repository, application, module, has) if module else None
        if words is not None:
            yield Found(value=("python", "-m", *words), why=f"{application.kind} application in {module}")


def _main_ones(applications: Iterable[Application]) -> list[Application]:
    """Of several applications in one file, keep the one that has the usual name: the others are parts of it."""
    by_path: dict[Path, list[Application]] = {}
    for item in applications:
        by_path.setdefault(item.path, []).append(item)
    kept = []
    for items in by_path.values():
        usual = [item for item in items if item.name in ("app", "application")]
        kept += usual[:1] or items
    return kept


def _server(repository: Path, application: Application, module: str, has: frozenset[str]) -> tuple[str, ...] | None:
    """Return the words after ``python -m``; None where no server for this kind of application is installed."""
    in_src = application.path.is_relative_to(repository / "src")
    target, factory = f"{module}:{application.name}", application.is_factory
    called = f"{target}()" if factory else target
    if application.kind in _ASGI:
        if "uvicorn" in has:
            options = (*(("--app-dir", "src") if in_src else ()), *(("--factory",) if factory else ()))
            return ("uvicorn", *options, target)
        return ("hypercorn", called) if "hypercorn" in has and not in_src else None
    if "gunicorn" in has:
        return ("gunicorn", *(("--pythonpath", "src") if in_src else ()), called)
    if "waitress" in has and not in_src:
        return ("waitress", *(("--call",) if factory else ()), target)
    if application.kind == "Flask" and "flask" in has:
        place = str(application.path.relative_to(repository)) if in_src else module
        return ("flask", "--app", f"{place}:{application.name}", "run")
    return None


def _trees(repository: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in python_files(repository):
        tree = parse(path) if is_of_program(repository, path) else None
        if tree is not None:
            yield path, tree


def _makers(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield functions that need no argument and make an application, with its kind."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and len(node.args.defaults) >= len(node.args.posonlyargs + node.args.args):
            kinds = [_called(inner) for inner in ast.walk(node) if isinstance(inner, ast.Call)]
            kind = next((kind for kind in kinds if kind in _ASGI | _WSGI), None)
            if kind is not None and any(isinstance(inner, ast.Return) for inner in ast.walk(node)):
                yield node.name, kind


def _applications(path: Path, tree: ast.Module, makers: Mapping[str, str]) -> Iterator[Application]:
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Call):
            continue
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        called = _called(node.value)
        kind = called if called in _ASGI | _WSGI else makers.get(called)
        if isinstance(target, ast.Name) and kind is not None:
            yield Application(path=path, kind=kind, name=target.id)


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2] if isinstance(call.func, ast.Name | ast.Attribute) else ""
