"""The hub is killed with SIGKILL between any two steps of the flow, and started again.

A real hub process dies at each of its effects on store, Git, files, backups and agents in turn, while
the shop serves on. Then `homeostat up` is started on what is left: whatever the moment, row, branch,
checkout, running process, records and ledger end in the right state, and `homeostat verify` holds.
"""

import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from e2e.support.load import COUPON, MANY, PLAIN, SMALL, Load
from e2e.support.mortal import Moment
from e2e.support.processes import wait_for
from e2e.support.shop import BRANCH, BREAK, HARM, MEND, MEND_OTHERWISE, SETTINGS, Shop
from e2e.support.stage import HubProcess, Stage, start_up
from e2e.support.terminal import PROPOSALS
from once import made_once

from homeostat.adapters.settings import load_settings
from homeostat.adapters.story import check_story
from homeostat.cli.consistency import violated
from homeostat.cli.place import Place


@dataclass(frozen=True)
class Scene:
    """One stretch of a proposal's life."""

    title: str
    play: Callable[[Stage], None]
    """Makes the hub do it; called when the hub is armed."""

    moments: tuple[Moment, ...]
    ends: Callable[[Moment | None], str]
    """The state in which it must end when the hub died at this moment; empty: no row."""

    prepare: Callable[[Stage], None] = lambda stage: None
    load: tuple[Any, ...] = ()
    """What customers ask for while it is played and afterwards."""

    variables: Mapping[str, str] = field(default_factory=dict)
    """Settings of its hubs."""

    moves: bool = True
    """Whether branch and files are moved at all."""

    alone: Callable[[Stage, Load], None] = lambda stage, load: None
    """What must come about while no hub is there, when it was killed at the first moment."""

    elsewhere: frozenset[str] = frozenset()
    """Effects at which the hub dies in another scene that is the same up to there, or not in the flow at all."""


# The scenes. A moment after one effect is also the moment before the next one.

MENDED, HARMFUL, FRESH, BROKEN = "Mend the coupons", "Refuse absurd quantities", "Mend by hand", "Break the sums"


def _submit(edit_title: str, edit: Any) -> Callable[[Stage], None]:
    def play(stage: Stage) -> None:
        body = {"title": edit_title, "rationale": "A test.", "diff": stage.shop.diff(edit)}
        stage.hub.ask(PROPOSALS, body)

    return play


def _apply(title: str) -> Callable[[Stage], None]:
    def play(stage: Stage) -> None:
        identity = stage.hub.proposals()[title]["proposal_id"]
        stage.hub.ask("/api/selfimprove/apply", {"proposal_id": identity})

    return play


def _applied(title: str) -> Callable[[Stage], None]:
    def prepare(stage: Stage) -> None:
        _apply(title)(stage)
        stage.hub.wait_for_state(title, "observing")
        wait_for(stage.flows_are_done, what="the last step of applying")
        assert shop_is_mended(stage) == (title == MENDED)

    return prepare


def _decide(title: str, verb: str) -> Callable[[Stage], None]:
    def play(stage: Stage) -> None:
        identity = stage.hub.proposals()[title]["proposal_id"]
        stage.hub.ask(f"{PROPOSALS}/{identity}/{verb}", {"reason": "a test"})

    return play


def _watch(stage: Stage) -> None:
    """Nothing is asked: the hub itself looks, under load."""


def _ends(state: str, *, unless: Moment, then: str) -> Callable[[Moment | None], str]:
    return lambda moment: then if moment == unless else state


_RECORDED = ("record_branch.publish", "records.mark_recorded")


def _save(nth: int) -> tuple[Moment, ...]:
    """A transition: row and ledger entry, then the record in Git."""
    return (Moment("proposals.save", nth), *(Moment(call, nth) for call in _RECORDED))


SUBMIT = Scene(
    title=FRESH,
    play=_submit(FRESH, MEND_OTHERWISE),
    moments=(
        Moment("proposals.insert", when="before"),
        Moment("proposals.insert"),
        Moment("start.submitted"),
        *(Moment(call, 1) for call in _RECORDED),
        Moment("proposals.save", 1),
        *(Moment(call, 2) for call in _RECORDED),
        Moment("candidates.commit"),
        Moment("prover.prove", when="amid"),
        Moment("prover.prove"),
        Moment("proposals.save", 2),
        *(Moment(call, 3) for call in _RECORDED),
    ),
    ends=_ends("awaiting_approval", unless=Moment("proposals.insert", when="before"), then=""),
)
BLOCK = Scene(
    title=BROKEN,
    play=_submit(BROKEN, BREAK),
    moments=(Moment("proposals.save", 2), Moment("candidates.delete")),
    ends=lambda moment: "blocked",
    elsewhere=frozenset(moment.call for moment in SUBMIT.moments),
)
REJECT = Scene(
    title=MENDED,
    play=_decide(MENDED, "reject"),
    moments=(*_save(1), Moment("candidates.delete")),
    ends=lambda moment: "rejected",
)
APPLY = Scene(
    title=MENDED,
    play=_apply(MENDED),
    moments=(
        Moment("proposals.save", 1, "before"),
        *_save(1),
        Moment("start.apply_asked"),
        Moment("backups.save"),
        Moment("deployed.prepare"),
        *_save(2),
        Moment("deployed.step index-prepared"),
        Moment("deployed.step branch-moved"),
        Moment("deployed.step moved shop/prices.py"),
        Moment("deployed.step index-moved"),
        Moment("deployed.advance"),
        Moment("live.swap"),
        *_save(3),
        Moment("candidates.delete"),
    ),
    ends=_ends("observing", unless=Moment("proposals.save", 1, "before"), then="awaiting_approval"),
)
REVERT = Scene(
    title=MENDED,
    prepare=_applied(MENDED),
    play=_decide(MENDED, "revert"),
    moments=(
        Moment("deployed.prepare"),
        *_save(1),
        Moment("start.revert_asked"),
        Moment("live.rollback"),
        Moment("deployed.step branch-moved"),
        Moment("deployed.step moved shop/prices.py"),
        Moment("deployed.advance"),
        *_save(2),
        Moment("candidates.delete"),
    ),
    ends=_ends("reverted", unless=Moment("deployed.prepare"), then="observing"),
)
WELL = Scene(
    title=MENDED,
    prepare=_applied(MENDED),
    play=_watch,
    load=(*PLAIN, *COUPON, *SMALL),
    moments=(Moment("findings.put_findings"), *_save(1)),
    ends=lambda moment: "implemented",
)
HARMED = Scene(
    title=HARMFUL,
    prepare=_applied(HARMFUL),
    play=_watch,
    load=(*PLAIN, *MANY),
    moments=(
        Moment("deployed.prepare"),
        *_save(1),
        Moment("start.revert_asked"),
        Moment("live.rollback"),
        Moment("deployed.advance"),
        *_save(2),
        Moment("candidates.delete"),
    ),
    ends=lambda moment: "reverted",
)


def _all_customers_are_served(stage: Stage, load: Load) -> None:
    """Wait until the program has given every call back by itself."""
    load.wait_for(1, "many", where=lambda answer: answer.status == 500)

    def served() -> bool:
        return {answer.status for answer in load.wait_for(40, "many")[-30:]} == {200}

    wait_for(served, what="the lease to run out")


TRIED = Scene(
    title=HARMFUL,
    play=_apply(HARMFUL),
    load=(*PLAIN, *MANY),
    variables={
        "HOMEOSTAT_CANARY_STEPS": "50",
        "HOMEOSTAT_CANARY_STEP_S": "30",
        "HOMEOSTAT_CANARY_LEASE_S": "5",
    },
    moves=False,
    alone=_all_customers_are_served,
    moments=(
        Moment("proposals.save", 3),
        Moment("live.swap"),
        Moment("proposals.save", 4),
        Moment("live.rollback"),
        Moment("proposals.save", 5),
    ),
    ends=lambda moment: "reverted",
    elsewhere=frozenset(moment.call for moment in (*APPLY.moments, *REVERT.moments)),
)
SCENES = {
    "submit": SUBMIT,
    "block": BLOCK,
    "reject": REJECT,
    "apply": APPLY,
    "revert": REVERT,
    "well": WELL,
    "harmed": HARMED,
    "tried": TRIED,
}
Play: TypeAlias = tuple[str, Moment | None]
PLAYS: list[Play] = [(name, moment) for name, scene in SCENES.items() for moment in (None, *scene.moments)]


def _is_one_of_many(name: str, moment: Moment | None) -> bool:
    """A record is written in the same way after each transition: the first and the last of them stand for the others.

    (`fault.test_every_effect` has them all, in memory.)
    """
    kept = {("submit", 1), ("apply", 3)}
    return moment is not None and moment.call in _RECORDED and (name, moment.nth) not in kept


PARAMETERS = [
    pytest.param(play, marks=[pytest.mark.matrix] * _is_one_of_many(*play), id=f"{play[0]}-{play[1] or 'unharmed'}")
    for play in PLAYS
]


# What must hold in the end.


def shop_is_mended(stage: Stage) -> bool:
    status, _ = stage.price(item="tea", coupon="spring10")
    assert status in (200, 500)
    return status == 200


def check(stage: Stage, scene: Scene, moment: Moment | None, base: str) -> None:
    """Compare row, Git, checkout, running process, records and ledger with what must be."""
    state = scene.ends(moment)
    hub, shop = stage.hub, stage.shop
    if state:
        hub.wait_for_state(scene.title, state)
    rows = hub.proposals()
    assert (scene.title in rows) == bool(state)

    # Branch, index and checkout agree, and hold exactly the change, or exactly nothing of it.
    live = {title for title, row in rows.items() if row["state"] in ("observing", "implemented")}
    assert live == ({scene.title} if state in ("observing", "implemented") else set())
    changed = set(shop.git("diff", "--name-only", base, BRANCH).split())
    edits = {MENDED: {"README.md", "shop/prices.py", "tests/test_coupons.py"}, HARMFUL: {"shop/prices.py"}}
    assert changed == (edits[scene.title] if live else set())
    assert shop.git("status", "--porcelain") == ""
    assert not (shop.root / ".git" / "index.lock").exists()
    commits = int(shop.git("rev-list", "--count", f"{base}..{BRANCH}"))
    assert commits == ({"observing": 1, "implemented": 1, "reverted": 2}.get(state, 0) if scene.moves else 0)

    # The same process serves, with the code that is on disk.
    assert stage.program.poll() is None
    assert shop_is_mended(stage) == (live == {MENDED})
    assert (stage.price(item="tea", quantity=9)[0] == 500) == (live == {HARMFUL})
    (process,) = hub.connected()
    assert process["pid"] == stage.program.pid
    in_force = {rows[title]["proposal_id"] for title in live}
    assert set(process["changes"]) == in_force

    # A finding is resolved when its change is implemented, and not before.
    (finding,) = [item for item in hub.get("/api/findings")["findings"] if "KeyError" in item["title"]]
    assert finding["state"] == ("resolved" if state == "implemented" else "open")

    # Code branches stand for proposals that are still to be decided, and for no others.
    open_ones = {row["proposal_id"] for row in rows.values() if row["state"] == "awaiting_approval"}
    wait_for(lambda: shop.candidates() == open_ones, what=f"the code branches of {open_ones} alone")

    wanted = {(row["proposal_id"], row["state"]) for row in rows.values()}
    wait_for(lambda: _recorded(shop) >= wanted, what=f"records of {wanted}, there are {_recorded(shop)}")
    expected = ["isolation"] if moment is None else []  # the mortal hub leaves the self-test out
    try:
        wait_for(lambda: hub.get("/health/ready")["problems"] == expected, what=f"no troubles but {expected}")
    except AssertionError as error:
        raise AssertionError(f"{error}: {hub.get('/api/maintenance/status')}\n{hub.log.read_text()}") from None
    assert "Traceback" not in hub.log.read_text(), hub.log.read_text()
    broken = [c for c in check_story(shop.root, shop.state_dir) if not c.ok]
    assert not broken, broken
    place = Place(repository=shop.root, state_dir=shop.state_dir)
    assert violated(place, load_settings(shop.root, {})) == ()


def _recorded(shop: Shop) -> set[tuple[str, str]]:
    """Return (proposal, state) of the newest status commit of each proposal."""
    layout = (
        "%(trailers:key=Homeostat-Proposal,valueonly,separator=)|%(trailers:key=Homeostat-Status,valueonly,separator=)"
    )
    newest: dict[str, str] = {}
    for line in shop.git("log", f"--format={layout}", "homeostat/proposals").splitlines():
        identity, _, words = line.partition("|")
        status, _, finer = words.partition(" (")
        newest.setdefault(identity, finer.rstrip(")") or status)
    return set(newest.items())


# Playing.


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop with a finding and two proved proposals: one mends it, one would do harm."""
    return Shop(made_once(tmp_path_factory, "template", _make_template) / "shop")


def _make_template(folder: Path) -> None:
    settings = SETTINGS.replace("window_s = 2", "window_s = 1")
    shop = Shop.found(folder / "shop", settings=settings)
    log, port = folder / "hub.log", folder / "port"
    hub = HubProcess(start_up(shop.root, log, sys.executable, "-m", "shop", str(port)), shop, log)
    try:
        hub.wait_until_ready()
        wait_for(port.exists, what="the shop to listen")
        with Load(f"http://127.0.0.1:{port.read_text()}", (*PLAIN, *PLAIN, *COUPON, *SMALL), rate=150) as load:
            load.wait_for(300)
            finding = wait_for(lambda: hub.get("/api/findings")["findings"], what="a finding")[0]["finding_id"]
            for title, edit, about in ((MENDED, MEND, finding), (HARMFUL, HARM, "")):
                diff = shop.diff(edit)
                hub.ask(PROPOSALS, {"title": title, "rationale": "A test.", "diff": diff, "finding_id": about})
            for title in (MENDED, HARMFUL):
                hub.wait_for_state(title, "awaiting_approval")
        hub.stop()
    finally:
        hub.end()


class Plays:
    """The selected plays, some at a time: most of each is waiting for agents to dial in.

    The next few are begun when one is asked for, and no more: with several test processes the rest of the file may
    be another one's.
    """

    ahead = 5

    def __init__(self, template: Shop, folder: Path, wanted: Sequence[Play], pool: ThreadPoolExecutor) -> None:
        self._template, self._folder, self._wanted, self._pool = template, folder, wanted, pool
        self._begun: dict[Play, Future[None]] = {}

    def result(self, play: Play) -> None:
        """Wait for a play to end; what went wrong in it is raised here."""
        first = self._wanted.index(play)
        for number, coming in enumerate(self._wanted[first : first + self.ahead], start=first):
            if coming not in self._begun:
                self._begun[coming] = self._pool.submit(_play, self._template, self._folder / str(number), *coming)
        self._begun[play].result()


@pytest.fixture(scope="module")
def plays(template: Shop, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Plays]:
    wanted = [item.callspec.params["play"] for item in request.session.items if item.path == request.path]
    with ThreadPoolExecutor(Plays.ahead) as pool:
        yield Plays(template, tmp_path_factory.mktemp("plays"), wanted, pool)
        pool.shutdown(cancel_futures=True)


def _play(template: Shop, folder: Path, name: str, moment: Moment | None) -> None:
    scene = SCENES[name]
    stage = Stage(template, folder, scene.variables)
    try:
        base = stage.shop.head()
        stage.raise_curtain(moment)
        scene.prepare(stage)
        stage.armed.touch()
        if not scene.load:
            _kill_and_check(stage, scene, moment, base)
            return
        with Load(stage.url, scene.load, rate=100) as load:
            _kill_and_check(stage, scene, moment, base, load)
        assert not [answer for answer in load.answers() if answer.status == 0], "the shop left a customer unanswered"
    finally:
        stage.end()
    shutil.rmtree(folder)


def _kill_and_check(stage: Stage, scene: Scene, moment: Moment | None, base: str, load: Load | None = None) -> None:
    scene.play(stage)
    if moment is None:
        check(stage, scene, moment, base)
        _check_complete(scene, stage.trace.read_text().splitlines())
        return
    stage.hub.wait_for_death()
    if load is not None and moment == scene.moments[0]:
        scene.alone(stage, load)
    stage.start_again()
    check(stage, scene, moment, base)


def _check_complete(scene: Scene, calls: list[str]) -> None:
    """Every effect that the scene has is a moment at which the hub is killed, here or in the scene named."""
    counts = Counter(call for call in calls if not call.startswith("deployed.step"))
    assert set(counts) - {moment.call for moment in scene.moments} <= scene.elsewhere
    assert counts["proposals.save"] == max(m.nth for m in scene.moments if m.call == "proposals.save")


@pytest.mark.parametrize("play", PARAMETERS)
def test_whenever_the_hub_is_killed_the_next_one_ends_in_the_right_state(play: Play, plays: Plays) -> None:
    plays.result(play)
