"""Interpreters and packages for hosts: a virtual environment of the host's own, made in a moment.

The packages come from one folder per version of Python: for the interpreter of this run those of its own
environment, for the others `.tools/hosts/<version>`, which is made by uv when it is first needed.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from e2e.support.shop import environment
from interpreters import THIS, interpreter

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("aiohttp", "django", "fastapi", "flask", "gunicorn", "pytest", "uvicorn", "uvicorn-worker")
"""What the cells of other versions of Python need; gevent has no wheels for some."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def uv() -> str:
    """Return the path of uv; the test is skipped where there is none."""
    found = shutil.which("uv", path=os.pathsep.join((str(ROOT / ".tools" / "uv" / "bin"), os.environ["PATH"])))
    if found is None:
        pytest.skip("uv is not here: `make test` puts it into .tools")
    return found


def _packages(version: str) -> Path:
    """Return the folder with the packages of this version of Python."""
    if version == THIS:
        return Path(os.path.dirname(pytest.__file__)).parent  # noqa: PTH120
    folder = ROOT / ".tools" / "hosts" / version
    ready = folder / ".ready"
    wanted = " ".join(PACKAGES)
    if not ready.exists() or ready.read_text() != wanted:
        run(uv(), "venv", "--quiet", "--allow-existing", "--python", interpreter(version), folder)
        run(uv(), "pip", "install", "--quiet", "--only-binary", ":all:", "--python", folder, *PACKAGES)
        ready.write_text(wanted)
    return next(folder.glob("lib/python*/site-packages"))


def run(*command: "str | Path", cwd: Path = ROOT) -> str:
    """Run a command that must succeed, with what this machine says about where packages come from."""
    told = {name: text for name, text in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment(**told), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def make_environment(folder: Path, version: str, packages: Iterable[str]) -> None:
    """Make a host's own virtual environment with these packages, and what they need, installed in it."""
    base = subprocess.run(
        [interpreter(version), "-c", "import sys; print(sys.base_prefix)"], capture_output=True, text=True, check=True
    ).stdout.strip()
    run(Path(base, "bin", f"python{version}"), "-m", "venv", "--without-pip", folder)
    site = next(folder.glob("lib/python*/site-packages"))
    known = {_plain(item.metadata["Name"]): item for item in distributions(path=[str(_packages(version))])}
    wanted, done = list(packages), set[str]()
    while wanted:
        name = _plain(wanted.pop())
        if name in known and name not in done:
            done.add(name)
            _install(known[name], site, folder)
            # With an extra, only what its package needs anyway; and never what this folder has not.
            wanted += [_NAME.match(line)[0] for line in known[name].requires or () if "extra ==" not in line]  # type: ignore[index]
    missing = {_plain(name) for name in packages} - done
    assert not missing, f"{missing} not found for Python {version}"


def _install(package: Distribution, site: Path, folder: Path) -> None:
    """Put one package in place as an installer does, by links to the files of one that is installed already."""
    for file in package.files or ():
        source = Path(str(package.locate_file(file)))
        if ".." in file.parts or not source.is_file():
            continue
        compiled = source.parent.glob(f"__pycache__/{source.stem}.*.pyc") if source.suffix == ".py" else ()
        for one in (source, *compiled):
            target = site / file.parent / one.relative_to(source.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(one, target)
    for command in package.entry_points.select(group="console_scripts"):
        script = folder / "bin" / command.name
        script.write_text(
            f"#!{folder}/bin/python\nimport sys\nfrom {command.module} import {command.attr}\n"
            f"sys.exit({command.attr}())\n"
        )
        script.chmod(0o755)


def _link(source: Path, target: Path) -> None:
    if target.exists():
        return
    try:
        target.hardlink_to(source)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def install_project(project: Path, *, editable: bool) -> None:
    """Install the host's own project into its environment, as `pip install [-e] .` does, without a network."""
    what = ("--editable", ".") if editable else (".",)
    run(uv(), "pip", "install", "--quiet", "--offline", "--no-deps", "--python", ".venv", *what, cwd=project)
