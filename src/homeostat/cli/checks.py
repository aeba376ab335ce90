"""`homeostat verify` and `homeostat doctor`."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import typer

from homeostat.adapters.settings import LoadedSettings, load_settings
from homeostat.cli.bundles import content_of, verify_one
from homeostat.cli.declared import unmatched_declarations
from homeostat.cli.hub_client import HubClient
from homeostat.cli.options import AsJson, Repo, StateDir
from homeostat.cli.output import emit_json, say, show, show_table, span
from homeostat.cli.place import Place, locate
from homeostat.core.errors import HomeostatError, NotFound
from homeostat.model.settings import HmrMode, Profile

if TYPE_CHECKING:
    from homeostat.audit.story import Check

_MAX_CHECKPOINT_BYTES = 1_000_000

Level = Literal["ok", "warn", "fail"]


class _Answer(Protocol):
    """One numbered check, of a state directory or of a bundle."""

    @property
    def number(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def ok(self) -> bool: ...
    @property
    def detail(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One thing that `doctor` looked at."""

    level: Level
    name: str
    detail: str
    remedy: str = ""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("verify")(verify)
    app.command("doctor")(doctor)


def verify(
    bundle: Annotated[
        Path | None, typer.Argument(help="A file of `homeostat ledger bundle`: the story of one change.")
    ] = None,
    key: Annotated[
        str, typer.Option("--key", help="With a bundle: the ledger's key, or its ledger.pub; default: the one here.")
    ] = "",
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option("--checkpoint", help="A checkpoint that was kept elsewhere: the ledger must go on from it."),
    ] = None,
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Check ledger, signatures, records and backups, offline. Each is held against the others; needs no hub.

    With a bundle: check that one change's story, with nothing but the bundle and the ledger's key.
    """
    checks: Sequence[_Answer]
    if bundle is not None:
        checks = verify_one(bundle, key, repo, state_dir)
    else:
        place = locate(repo, state_dir)
        if not place.state_dir.exists():
            raise _no_state(place)
        checks = _verify(place, [(f"the checkpoint {path}", _kept(path)) for path in checkpoint or ()])
    ok = all(check.ok for check in checks)
    if as_json:
        listed = [{"number": c.number, "name": c.name, "ok": c.ok, "detail": c.detail} for c in checks]
        emit_json({"ok": ok, "checks": listed})
    else:
        for check in checks:
            show(f"{'ok  ' if check.ok else 'FAIL'} {check.number}. {check.name}: {check.detail}")
        say("the story holds" if ok else "something was altered or is missing: keep everything as it is")
    if not ok:
        raise typer.Exit(5)


def doctor(
    tests: Annotated[
        bool, typer.Option("--tests", help="Also run the tests once, in the sandbox, as a proof does.")
    ] = False,
    repo: Repo = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Say what works, what is degraded, and how to mend it. Exit code 1 when something fails."""
    place = locate(repo, state_dir)
    found = list(_diagnose(place))
    if tests and not any(item.name == "tests" and item.level == "fail" for item in found):
        if not as_json:
            say("the tests are running in the sandbox ...")
        found += _try("tests", lambda: _tests_once(place))
    failed = any(item.level == "fail" for item in found)
    if as_json:
        listed = [{"level": d.level, "name": d.name, "detail": d.detail, "remedy": d.remedy} for d in found]
        emit_json({"ok": not failed, "diagnoses": listed})
    else:
        _show_diagnoses(found)
    if failed:
        raise typer.Exit(1)


def _show_diagnoses(found: Sequence[Diagnosis]) -> None:
    """Show one row each; what a detail has beside its first line (the output of tests) stands below."""
    rows = [(item.level, item.name, item.detail.partition("\n")[0], item.remedy) for item in found]
    show_table(("", "what", "found", "remedy"), rows)
    for item in found:
        for line in item.detail.splitlines()[1:]:
            show(f"  {item.name} | {line}")


def _no_state(place: Place) -> NotFound:
    """Say where the state was looked for; where Git shows that there was one, that it is elsewhere or gone."""
    from homeostat.adapters.git.reader import GitCommitReader
    from homeostat.adapters.git.records import BRANCH
    from homeostat.adapters.git.repository import open_repository

    was_there = ""
    with suppress(HomeostatError):
        GitCommitReader(open_repository(place.repository)).resolve(f"refs/heads/{BRANCH}")
        was_there = f"; its branch {BRANCH} shows that there was one"
    return NotFound(
        "no-state",
        f"the repository {place.repository} has no state at {place.state_dir}, so there is nothing to check{was_there}",
        hint="name the place with --state-dir DIR or HOMEOSTAT_STATE_DIR, the repository with --repo DIR; "
        "`homeostat restore FILE` puts a backup back",
    )


def _verify(place: Place, kept: Sequence[tuple[str, str]] = ()) -> "tuple[Check, ...]":
    # The store takes half a second to import: only where it is opened.
    from homeostat.adapters.story import check_story

    return check_story(place.repository, place.state_dir, kept=kept)


def _kept(path: Path) -> str:
    return content_of(path, _MAX_CHECKPOINT_BYTES).decode("utf-8", "replace")


def _diagnose(place: Place) -> Iterator[Diagnosis]:
    settings: list[LoadedSettings] = []
    yield from _try("settings", lambda: _settings(place, settings))
    yield from _try("repository", lambda: _repository(place, settings[0] if settings else None))
    yield from _try("state", lambda: _state_dir(place))
    if place.state_dir.exists():
        yield from _try("keys", lambda: _keys(place))
        yield from _try("policies", lambda: _policies(place))
        yield from _try("flows", lambda: _flows(place))
    yield from _try("disk", lambda: _disk(place))
    yield from _try("hub", lambda: _hub(place))
    if place.running_hub() is not None:
        yield from _try("restart", lambda: _restart(place))
    if (place.state_dir / "homeostat.sqlite").exists():
        yield from _try("ledger", lambda: _ledger(place))
        if settings:
            yield from _try("consistency", lambda: _consistency(place, settings[0]))
    if settings:
        yield _hmr(settings[0])
        yield from _try("pure functions", lambda: _pure(place, settings[0]))
        yield _tests(settings[0])
        yield from _try("interpreter", lambda: _interpreter(place, settings[0]))
        yield from _try("restart command", lambda: _restart_command(place, settings[0]))
    yield from _try("programs", lambda: _programs(place))
    strict = bool(settings) and settings[0].settings.profile is Profile.PROD
    yield from _try("separation", lambda: _uid(place, strict=strict))
    yield from _try("sandbox", lambda: _isolation(place))


def _try(name: str, look: Callable[[], Diagnosis | list[Diagnosis]]) -> list[Diagnosis]:
    """Look at one thing; what keeps us from seeing it is a diagnosis too, and the others are made all the same."""
    try:
        found = look()
    except HomeostatError as error:
        return [Diagnosis(level="fail", name=name, detail=error.message, remedy=error.hint or "")]
    except OSError as error:
        return [Diagnosis(level="fail", name=name, detail=f"{error.filename or name}: {error.strerror}")]
    return found if isinstance(found, list) else [found]


def _settings(place: Place, into: list[LoadedSettings]) -> Diagnosis:
    loaded = load_settings(place.repository, os.environ)
    into.append(loaded)
    if loaded.warnings:
        return Diagnosis(level="warn", name="settings", detail="; ".join(loaded.warnings))
    return Diagnosis(level="ok", name="settings", detail=f"profile {loaded.settings.profile.value}")


def _repository(place: Place, loaded: LoadedSettings | None) -> Diagnosis:
    from homeostat.adapters.git.reader import GitCommitReader
    from homeostat.adapters.git.repository import open_repository

    branch = loaded.settings.host.deployed_branch if loaded else ""
    reader = GitCommitReader(open_repository(place.repository), deployed_branch=branch)
    return Diagnosis(level="ok", name="repository", detail=f"{reader.deployed_branch()} at {reader.head()[:12]}")


def _state_dir(place: Place) -> Diagnosis:
    path = place.state_dir
    if not path.exists():
        return Diagnosis(level="warn", name="state", detail=f"{path} is not there yet", remedy="homeostat up makes it")
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        return Diagnosis(
            level="fail", name="state", detail=f"{path} is open to others ({mode:o})", remedy=f"chmod 700 {path}"
        )
    return Diagnosis(level="ok", name="state", detail=f"{path}, mode 700")


def _keys(place: Place) -> Diagnosis:
    from homeostat.adapters.keys import check_keys

    check_keys(place.state_dir)
    return Diagnosis(level="ok", name="keys", detail="those that are there can be used, by nobody else")


def _policies(place: Place) -> Diagnosis:
    from homeostat.adapters.policies import load_authorizer

    count = len(load_authorizer(place.state_dir).ids)
    return Diagnosis(level="ok", name="policies", detail=f"{count} on who may do what, all fit the schema")


def _flows(place: Place) -> Diagnosis:
    from homeostat.adapters.flows_file import check_flows

    check_flows(place.state_dir / "flows.sqlite")
    return Diagnosis(level="ok", name="flows", detail="what was started is remembered")


def _disk(place: Place) -> Diagnosis:
    folder = place.state_dir if place.state_dir.exists() else place.repository
    free_mb = shutil.disk_usage(folder).free >> 20
    level: Level = "ok" if free_mb > 500 else "warn"
    return Diagnosis(level=level, name="disk", detail=f"{free_mb} MB free", remedy="" if level == "ok" else "make room")


def _hub(place: Place) -> Diagnosis:
    if place.running_hub() is None:
        return Diagnosis(level="warn", name="hub", detail="it is not running", remedy="homeostat up")
    client = HubClient(place, timeout_s=10)
    found = client.get("/api/maintenance/status").get("self_improvement", {})
    status = found.get("status", {})
    if not found.get("available"):
        return Diagnosis(level="fail", name="hub", detail=str(found.get("error", "")), remedy="see the hub's log")
    processes = status["host_processes"]
    if status["troubles"]:
        troubles = "; ".join(f"{name}: {text}" for name, text in status["troubles"].items())
        return Diagnosis(level="fail", name="hub", detail=troubles, remedy="see the hub's log")
    if not processes:
        return Diagnosis(
            level="warn",
            name="hub",
            detail=f"{client.url}, no program attached",
            remedy="homeostat run -- YOUR COMMAND",
        )
    if place.settings_are_newer():
        detail = f"{client.url}: homeostat.toml was changed after the hub was started"
        return Diagnosis(level="warn", name="hub", detail=detail, remedy="start the hub again to use it")
    return Diagnosis(level="ok", name="hub", detail=f"{client.url}, {processes} process(es) attached")


def _restart(place: Place) -> list[Diagnosis]:
    """Name the changes that are on disk and not live yet, and how long they have waited."""
    status = HubClient(place, timeout_s=10).get("/api/restart")
    remedy = status["command"] if status["programs"] else "restart the program by hand; nobody supervises it"
    found = [
        Diagnosis(
            level="warn",
            name="restart",
            detail=f"{item['proposal_id'][:8]} {item['title']} waits for a restart since {span(item['waits_s'])}",
            remedy=remedy,
        )
        for item in status["waiting"]
    ]
    supervised = ", ".join(item["command"] for item in status["programs"])
    detail = f"no change waits; can be restarted: {supervised}" if supervised else "no change waits for one"
    return found or [Diagnosis(level="ok", name="restart", detail=detail)]


def _restart_command(place: Place, loaded: LoadedSettings) -> list[Diagnosis]:
    """See whether the configured command can be run, and whether it bypasses a supervisor of ours."""
    from homeostat.adapters.supervising.slot import records

    command = loaded.settings.restart.command
    if not command:
        return []
    name = "restart command"
    if shutil.which(place.repository / command[0] if "/" in command[0] else command[0]) is None:
        remedy = "set restart.command to a program that the hub can run"
        return [Diagnosis(level="fail", name=name, detail=f"there is no program {command[0]}", remedy=remedy)]
    found = [
        Diagnosis(
            level="warn",
            name=name,
            detail=f"{Path(command[0]).name} takes the place of the supervisor of process {record.program.pid} "
            f"({record.command}): it hands no sockets over, so requests may be lost",
            remedy="remove restart.command, or start the program without a supervisor of ours",
        )
        for _, record in records(place.state_dir)
        if record.program is not None and record.program.is_alive()
    ]
    return found or [Diagnosis(level="ok", name=name, detail=" ".join(command))]


def _ledger(place: Place) -> list[Diagnosis]:
    checks = _verify(place)
    remedy = "keep everything; see docs/SECURITY.md"
    failed = [
        Diagnosis(level="fail", name=f"verify {check.number}", detail=check.detail, remedy=remedy)
        for check in checks
        if not check.ok
    ]
    return failed or [Diagnosis(level="ok", name="ledger", detail=f"{len(checks)} checks hold")]


def _consistency(place: Place, loaded: LoadedSettings) -> list[Diagnosis]:
    """Check the invariants of `homeostat.rollout.invariants`; each that does not hold is a diagnosis of its own."""
    from homeostat.cli.consistency import violated

    found = [
        Diagnosis(
            level=item.level,
            name=f"invariant {item.number}" if item.number else "consistency",
            detail=f"{item.subject}: {item.detail}",
            remedy=item.remedy,
        )
        for item in violated(place, loaded)
    ]
    holds = "rows, ledger, Git, checkout, backups and processes agree"
    return found or [Diagnosis(level="ok", name="consistency", detail=holds)]


def _pure(place: Place, loaded: LoadedSettings) -> list[Diagnosis]:
    """Warn of what is declared pure and is no function of the repository; nothing is said where all is well."""
    found = unmatched_declarations(place.repository, loaded.settings.canary.pure)
    remedy = "mend or remove the entry: the path from the repository, a colon, the qualified name"
    return [Diagnosis(level="warn", name="pure functions", detail=words, remedy=remedy) for words in found]


def _hmr(loaded: LoadedSettings) -> Diagnosis:
    if loaded.settings.hmr.enabled and loaded.settings.hmr.mode is HmrMode.AGGRESSIVE:
        detail = "on, aggressive: what a safe plan leaves to a restart may go live, with a risk that the plan names"
        return Diagnosis(level="warn", name="live change", detail=detail)
    if loaded.settings.hmr.enabled:
        return Diagnosis(level="ok", name="live change", detail=f"on, {loaded.settings.hmr.mode.value}")
    return Diagnosis(
        level="warn", name="live change", detail="off: every change needs a restart", remedy="set hmr.enabled = true"
    )


def _tests(loaded: LoadedSettings) -> Diagnosis:
    if loaded.settings.host.test_command:
        return Diagnosis(level="ok", name="tests", detail=" ".join(loaded.settings.host.test_command))
    return Diagnosis(
        level="fail", name="tests", detail="no test command: nothing can be proved", remedy="set host.test_command"
    )


def _tests_once(place: Place) -> Diagnosis:
    """Run the tests on what is committed, as a proof does."""
    from homeostat.cli.trying_tests import try_tests

    tried = try_tests(place)
    if tried.passed:
        return Diagnosis(level="ok", name="tests", detail=tried.detail)
    return Diagnosis(level="fail", name="tests", detail=f"{tried.detail}\n{tried.output}", remedy=tried.remedy)


def _interpreter(place: Place, loaded: LoadedSettings) -> list[Diagnosis]:
    """Look at the host's interpreter, and whether the program is installed in it as a copy."""
    from homeostat.cli.host_python import ask_python, resolve_python
    from homeostat.cli.programs import python_remarks

    python = resolve_python(place.repository, loaded.settings.host.python)
    facts = ask_python(python, place.repository, ())
    if facts.version == (0, 0):
        return [Diagnosis(level="fail", name="interpreter", detail=f"{python} does not run", remedy="set host.python")]
    found = [
        Diagnosis(level="warn", name="interpreter", detail=remark.detail, remedy=remark.remedy)
        for remark in python_remarks(facts, str(python))
    ]
    version = ".".join(map(str, facts.version))
    return found or [Diagnosis(level="ok", name="interpreter", detail=f"{python}, {facts.kind} {version}")]


def _programs(place: Place) -> list[Diagnosis]:
    """Look for programs that were started with the agent and run without it."""
    from homeostat.cli.obstacles import unwatched

    if place.running_hub() is None:
        return []
    attached = HubClient(place, timeout_s=10).get("/api/processes")["processes"]
    return [
        Diagnosis(
            level="warn", name="programs", detail=f"process {item.pid} ({item.command}) runs unwatched", remedy=item.why
        )
        for item in unwatched(place.state_dir, [process["pid"] for process in attached if process["connected"]])
    ]


def _uid(place: Place, *, strict: bool) -> Diagnosis:
    """Compare the owners of hub and programs; a program under the hub's uid can read its keys.

    `strict` (profile `prod`) calls that a failure.
    """
    if place.running_hub() is None:
        return Diagnosis(level="ok", name="separation", detail="nothing runs now")
    hub_uid = place.hub_file.stat().st_uid
    pids = [item["pid"] for item in HubClient(place, timeout_s=10).get("/api/processes")["processes"]]
    shared = [pid for pid in pids if _uid_of(pid) == hub_uid]
    if not shared:
        return Diagnosis(level="ok", name="separation", detail="no attached program runs under the hub's uid")
    return Diagnosis(
        level="fail" if strict else "warn",
        name="separation",
        detail=f"hub and program run as uid {hub_uid}: that protects against mistakes, not against a hostile program",
        remedy="run the program under another uid where that matters",
    )


def _uid_of(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return None


def _isolation(place: Place) -> list[Diagnosis]:
    from homeostat.adapters.worker_process import WorkerProver

    kinds = WorkerProver(state_dir=place.state_dir).isolation()
    found = []
    for kind in kinds:
        failed = [f"{check.name}: {check.detail}" for check in kind.checks if not check.held]
        found.append(
            Diagnosis(
                level="ok" if kind.usable else "warn",
                name=f"sandbox {kind.name}",
                detail=f"{len(kind.checks)} escapes tried, all held"
                if kind.usable
                else "; ".join(failed) or "not usable here",
                remedy=kind.remedy,
            )
        )
    if not any(kind.usable for kind in kinds):
        remedy = kinds[0].remedy if kinds else ""
        found.append(
            Diagnosis(level="fail", name="sandbox", detail="none holds here: no patch can be proved", remedy=remedy)
        )
    return found
