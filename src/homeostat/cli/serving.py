"""`homeostat up`, `homeostat run`, `homeostat demo`."""

import gc
import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from homeostat.adapters.settings import load_settings
from homeostat.cli.declared import unmatched_declarations
from homeostat.cli.host_python import resolve_python
from homeostat.cli.obstacles import obstacles
from homeostat.cli.options import Repo, StateDir
from homeostat.cli.output import say
from homeostat.cli.place import Place, locate
from homeostat.cli.programs import resolve_command
from homeostat.core.errors import HomeostatError, InvalidInput, NotFound
from homeostat.core.ids import CommitId
from homeostat.model.settings import LogLevel, Settings

if TYPE_CHECKING:
    from homeostat.adapters.agents.launch import Launch
    from homeostat.adapters.supervising.supervisor import Supervisor

_FORWARDED = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

Command = Annotated[list[str] | None, typer.Argument(help="The program, after `--`.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("up")(up)
    app.command("run")(run)
    app.command("demo")(demo)


def up(
    command: Command = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="0: any free port.")] = None,
    verbose: Annotated[int, typer.Option("-v", count=True, help="Say more; twice: everything.")] = 0,
    repo: Repo = None,
    state_dir: StateDir = None,
) -> None:
    """Start the hub, and with it the program after `--`.

    It runs in the foreground, and the program has the agent in it. Stops cleanly on Ctrl-C and
    SIGTERM, the program first. When the program ends by itself, the hub ends too, with the program's
    exit code.
    """
    place = locate(repo, state_dir)
    settings = _settings(place, port)
    level = settings.log.level if not verbose else LogLevel.INFO if verbose == 1 else LogLevel.DEBUG
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    if verbose < 2:
        logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every table, each time
    with _uncollected():
        from homeostat.hub.serving import HubServer  # takes seconds to import: only where a hub is started

    server = HubServer(
        settings=settings,
        repository=place.repository,
        state_dir=place.state_dir,
        tell=lambda report: say(report.line()),
    )
    gc.freeze()  # all of this stays as long as the hub: no later collection needs to look through it
    host = _Host(place, settings, command)

    def ready() -> None:
        say(f"homeostat is ready at {server.url}")
        say(f"state: {place.state_dir}   stop: Ctrl-C")
        if settings.hmr.auto_reload:
            say("auto-reload is on: what you save goes live at once, proved by nobody (hmr.auto_reload)")
        if not host.command:
            say("no program is started with it: start yours with `homeostat run -- COMMAND`")
        if host.command:
            for obstacle in obstacles(host.command):
                say(f"warning: {obstacle}")
            try:
                host.start(on_exit=server.stop)
            except HomeostatError as error:
                host.failure = error
                server.stop()

    with _stopping_on_signals(server.stop):
        try:
            server.run(ready)
        finally:
            code = host.stop()
    if host.failure is not None:
        raise host.failure
    if code:
        raise typer.Exit(code)


def run(
    command: Command = None,
    supervise: Annotated[
        bool, typer.Option("--supervise", help="Stay its parent, so that it can be restarted without a lost request.")
    ] = False,
    repo: Repo = None,
    state_dir: StateDir = None,
) -> None:
    """Become the program after `--`, with the agent in it. It runs in its own interpreter."""
    if not command:
        raise InvalidInput("no-command", "there is no program to run", hint="homeostat run -- python -m yourprogram")
    place = locate(repo, state_dir)
    settings = _loaded(place)
    if place.running_hub() is None:
        say("no hub is up: the program runs unwatched until you start one with `homeostat up`")
    command = _findable(place, settings, command)
    for obstacle in obstacles(command):
        say(f"warning: {obstacle}")
    if supervise:
        _run_supervised(place, settings, command)
        return
    launch = _launch(place, settings)
    try:
        os.execvpe(command[0], command, launch.environment(os.environ))  # noqa: S606 - the user's own command
    except OSError as error:
        launch.discard()
        from homeostat.adapters.supervising.process import cannot_start

        raise cannot_start(command, error) from error


def _run_supervised(place: Place, settings: Settings, command: Sequence[str]) -> None:
    ended = threading.Event()
    supervisor = _supervisor(place, settings, command, kind="run", folder=None, on_exit=ended.set)
    with _stopping_on_signals(ended.set):
        supervisor.start()
        for number in _FORWARDED:
            signal.signal(number, lambda number, _frame: supervisor.forward(number))
        try:
            while not ended.wait(1.0):
                pass
        finally:
            code = supervisor.stop()
    if code:
        raise typer.Exit(code)


def demo(
    stay: Annotated[bool, typer.Option("--stay", help="Leave service, load and hub running until Ctrl-C.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the temporary folder.")] = False,
) -> None:
    """Run the whole loop on a real service under load. Says what was seen, step by step."""
    from homeostat.cli.demo.story import run_demo

    raise typer.Exit(run_demo(stay=stay, keep=keep))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Import much within this: looking through it for garbage, of which there is none, takes a sixth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Let SIGINT and SIGTERM ask for a clean end, until everything has ended.

    uvicorn handles both while it serves, and raises them once more when it has finished: with the
    default handlers that would end this process before program and hub are stopped.
    """
    before = {number: signal.signal(number, lambda *_: stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _findable(place: Place, settings: Settings, command: Sequence[str]) -> list[str]:
    """Name a program that is not on the PATH by its place beside the host's interpreter, where it is there."""
    if shutil.which(command[0]) is not None:
        return list(command)
    return list(resolve_command(resolve_python(place.repository, settings.host.python), command))


class _Host:
    """The program that `up` starts beside the hub, under a supervisor."""

    def __init__(self, place: Place, settings: Settings, command: Sequence[str] | None) -> None:
        self.command = _findable(place, settings, command) if command else list(settings.host.start_command)
        # What was typed is meant from where it was typed; what is configured, from the repository's top.
        self._folder = None if command else place.repository
        self.failure: HomeostatError | None = None
        self._place = place
        self._settings = settings
        self._supervisor: Supervisor | None = None

    def start(self, *, on_exit: Callable[[], None]) -> None:
        """Start it; `on_exit` is called from a thread when it has ended."""
        supervisor = _supervisor(
            self._place, self._settings, self.command, kind="up", folder=self._folder, on_exit=on_exit
        )
        supervisor.start()
        self._supervisor = supervisor

    def stop(self) -> int:
        """Stop the program (it is given 10 s) and return its exit code; 0 when it was stopped by us."""
        if self._supervisor is None:
            return 0
        ended = self._supervisor.has_ended
        code = self._supervisor.stop()
        return code if ended else 0


def _supervisor(
    place: Place,
    settings: Settings,
    command: Sequence[str],
    *,
    kind: str,
    folder: Path | None,
    on_exit: Callable[[], None],
) -> "Supervisor":
    from homeostat.adapters.supervising.supervisor import Supervisor

    if settings.restart.command:
        say(
            f"warning: restart.command is set, so `homeostat restart` runs {Path(settings.restart.command[0]).name} "
            "and not this supervisor: no sockets are handed over"
        )
    return Supervisor(
        state_dir=place.state_dir,
        repository=place.repository,
        kind=kind,
        command=command,
        folder=folder,
        make_launch=lambda door: _launch(place, settings, supervisor=door),
        on_exit=on_exit,
        say=say,
        hub_is_up=lambda: place.running_hub() is not None,
    )


def _loaded(place: Place) -> Settings:
    loaded = load_settings(place.repository, os.environ)
    for warning in (*loaded.warnings, *unmatched_declarations(place.repository, loaded.settings.canary.pure)):
        say(f"warning: {warning}")
    return loaded.settings


def _settings(place: Place, port: int | None) -> Settings:
    settings = _loaded(place)
    python = resolve_python(place.repository, settings.host.python)
    host = replace(
        settings.host,
        python=str(python),
        test_command=resolve_command(python, settings.host.test_command),
        start_command=resolve_command(python, settings.host.start_command),
    )
    hub = settings.hub if port is None else replace(settings.hub, port=port)
    return replace(settings, host=host, hub=hub)


def _launch(place: Place, settings: Settings, *, supervisor: Path | None = None) -> "Launch":
    from homeostat.adapters.agents.launch import prepare_launch  # with the keys, a fifth of a second to import
    from homeostat.adapters.keys import load_or_create_keys

    load_or_create_keys(place.state_dir)
    return prepare_launch(
        state_dir=place.state_dir,
        repository=place.repository,
        commit=_running_commit(place, settings),
        service_name=place.repository.name,
        hmr_enabled=settings.hmr.enabled,
        hmr_mode=settings.hmr.mode.value,
        supervisor=supervisor,
    )


def _running_commit(place: Place, settings: Settings) -> CommitId | None:
    from homeostat.adapters.git.reader import GitCommitReader
    from homeostat.adapters.git.repository import open_repository

    try:
        reader = GitCommitReader(open_repository(place.repository), deployed_branch=settings.host.deployed_branch)
        return reader.head()
    except (InvalidInput, NotFound) as error:
        say(f"warning: the running commit is not known: {error.message}")
        return None
