"""What a host's own Python needs to run: read from its files, without running code of the host."""

import functools
import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from homeostat.adapters.sandbox.spec import is_within
from homeostat.core.errors import InvalidInput

_ASK = (
    "import json, sys; print(json.dumps([sys.base_prefix, sys.base_exec_prefix, "
    "[p for p in sys.path if p], list(sys.version_info[:2])]))"
)
_MAX_LINKS = 20
_MAX_PTH_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class HostInterpreter:
    """An interpreter and every folder that it loads from, without those of the system."""

    executable: str
    """Absolute, as it is called: the symlink of a virtual environment stays one."""

    version: tuple[int, int]
    environment: str
    """Root of its virtual environment, or its own prefix where there is none."""

    folders: tuple[tuple[str, str], ...]
    """(seen path, real path) of folders and single files that must be visible at the seen path."""

    import_roots: tuple[str, ...]
    """Absolute folders that ``.pth`` files and editable installs put on the path."""


def read_interpreter(python: str) -> HostInterpreter:
    """Find out what this interpreter needs; raise `InvalidInput` (``interpreter-broken``) if it does not run.

    It is run once with ``-I -S``, so no ``.pth`` line, ``sitecustomize`` or package is executed.
    """
    executable = os.path.abspath(python)  # noqa: PTH100 - resolve() would lose the virtual environment
    base, base_exec, path, version = _ask(executable, _identity_of(executable))
    prefix = Path(executable).parent.parent
    in_environment = (prefix / "pyvenv.cfg").is_file()
    environment = str(prefix) if in_environment else base
    seen = {environment, base, base_exec, *_outside(path, (base, base_exec))}
    seen.update(_link_prefixes(Path(executable)))
    roots = tuple(dict.fromkeys(_import_roots(Path(environment))))
    seen.update(roots)
    return HostInterpreter(
        executable=executable,
        version=(version[0], version[1]),
        environment=environment,
        folders=tuple((path, os.path.realpath(path)) for path in sorted(seen) if Path(path).exists()),
        import_roots=roots,
    )


def _identity_of(executable: str) -> tuple[object, ...]:
    """Return what changes when another interpreter, or environment, is put in this place."""
    facts: list[object] = [os.path.realpath(executable)]
    for path in (executable, os.path.join(os.path.dirname(os.path.dirname(executable)), "pyvenv.cfg")):  # noqa: PTH118, PTH120
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError:
            facts.append(None)
        else:
            facts.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(facts)


@functools.lru_cache(maxsize=16)
def _ask(executable: str, identity: tuple[object, ...]) -> tuple[str, str, list[str], list[int]]:
    """Run the interpreter and return its prefixes, path and version; once for each identity."""
    try:
        done = subprocess.run(
            [executable, "-I", "-S", "-c", _ASK],
            capture_output=True,
            timeout=20,
            check=True,
            env={"PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
        )
        base, base_exec, path, version = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise InvalidInput(
            "interpreter-broken",
            f"the host's interpreter {executable} does not run: {error}",
            hint="set host.python in homeostat.toml to a Python of version 3.9 or later",
        ) from error
    return str(base), str(base_exec), [str(item) for item in path], [int(item) for item in version]


def _outside(paths: Iterable[str], roots: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if not any(is_within(path, root) for root in roots):
            yield path


def _link_prefixes(executable: Path) -> Iterator[str]:
    """Yield the prefix of every hop between the called name and the real file.

    A Python that is reached through an alias folder computes its library's place from the alias.
    """
    hop = executable
    for _ in range(_MAX_LINKS):
        yield str(hop.parent.parent) if hop.parent.name in ("bin", "sbin") else str(hop)
        if not hop.is_symlink():
            return
        hop = Path(os.path.normpath(hop.parent / hop.readlink()))


def _import_roots(environment: Path) -> Iterator[str]:
    for packages in environment.glob("lib*/python*/*-packages"):
        names = sorted(os.listdir(packages))  # noqa: PTH208 - hundreds, in every proof
        for name in names:
            if name.endswith(".pth"):
                yield from _lines_of(packages / name, packages)
        for name in names:
            if name.endswith(".dist-info"):
                yield from _editable_of(f"{packages}/{name}/direct_url.json")


def _lines_of(pth: Path, packages: Path) -> Iterator[str]:
    try:
        text = pth.read_bytes()[:_MAX_PTH_BYTES].decode("utf-8", "replace")
    except OSError:
        return
    for line in text.splitlines():
        entry = line.strip()
        if entry and not entry.startswith(("#", "import ", "import\t")):
            folder = packages / entry
            if folder.is_dir() and not is_within(str(folder), str(packages)):
                yield os.path.normpath(folder)


def _editable_of(record: str) -> Iterator[str]:
    """Yield the project of an editable install (PEP 610) and the usual import root inside it, that first."""
    try:
        with open(record, "rb") as file:  # noqa: PTH123
            facts = json.loads(file.read(_MAX_PTH_BYTES))
        url = urlsplit(facts["url"])
        editable = facts["dir_info"]["editable"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if editable is True and url.scheme == "file":
        project = Path(unquote(url.path))
        if project.is_dir():
            if (project / "src").is_dir():
                yield str(project / "src")
            yield str(project)
