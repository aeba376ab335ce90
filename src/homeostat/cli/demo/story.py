"""The story: each step waits until it has seen its outcome; one that is not seen fails the demo."""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from homeostat.cli.demo import processes
from homeostat.cli.demo.stage import Stage, set_up, tune
from homeostat.cli.hub_client import HubClient
from homeostat.cli.place import Place
from homeostat.core.errors import HomeostatError, Unavailable

_PROPOSALS = "/api/selfimprove/proposals"
_RATE = 120.0
_TELL_EVERY_S = 10.0

_out = Console(highlight=False, soft_wrap=True)


def run_demo(*, stay: bool, keep: bool) -> int:
    """Play the whole story and return the exit code: 0 only when every step was observed."""
    began_s = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="homeostat-demo-"))
    story = _Story(root, began_s)
    try:
        story.play()
        story.tell(f"[bold green]Every step was observed[/], in {time.monotonic() - began_s:.0f} s.")
        if stay:
            story.stay()
        code = 0
    except HomeostatError as error:
        story.tell(f"[bold red]The demo stopped:[/] {error.message}")
        story.show_log()
        code = 1
    except KeyboardInterrupt:
        code = 130
    finally:
        story.end()
        if keep:
            _out.print(f"kept: {root}")
        else:
            shutil.rmtree(root, ignore_errors=True)
    return code


class _Story:
    """The running demo: its processes and its clock."""

    def __init__(self, root: Path, began_s: float) -> None:
        self._root = root
        self._began_s = began_s
        self._endings: list[Callable[[], None]] = []
        self._stage: Stage
        self._client: HubClient
        self._load: processes.Load
        self._service_url = ""

    def play(self) -> None:
        self._set_the_stage()
        self._start()
        finding = self._see_the_defect()
        mended = self._propose("mend-coupons.patch", "Accept coupons however they are typed", finding)
        self._refuse_the_bot(mended)
        self._apply(mended)
        self._see_it_mended(mended)
        harmful = self._propose("refuse-absurd-quantities.patch", "Refuse absurd quantities", None)
        self._apply(harmful)
        self._see_it_taken_back(harmful)
        self._verify()

    def tell(self, text: str) -> None:
        _out.print(f"[dim]{time.monotonic() - self._began_s:6.1f} s[/]  {text}")

    def show_log(self) -> None:
        log = self._root / "hub.log"
        if log.exists():
            _out.print(log.read_text(errors="replace")[-3000:], markup=False)

    def stay(self) -> None:
        place = f"--repo {self._stage.repository}"
        self.tell(f"service {self._service_url}, hub {self._client.url}; look around with")
        _out.print(f"          homeostat proposals list {place}\n          homeostat findings list {place}")
        self.tell("Ctrl-C ends it")
        while True:
            time.sleep(1)

    def end(self) -> None:
        for ending in reversed(self._endings):
            ending()

    # The steps, in order.

    def _set_the_stage(self) -> None:
        self.tell("[bold]A shop's order service[/]: its own repository, tests and virtual environment ...")
        self._stage = set_up(self._root)
        made = processes.homeostat("init", "--repo", str(self._stage.repository))
        if made.returncode != 0:
            raise Unavailable("demo-step-not-seen", f"homeostat init failed: {made.stderr.strip()}")
        for line in made.stdout.splitlines():
            self.tell(f"[dim]homeostat init[/]  {line}")
        tune(self._stage)

    def _start(self) -> None:
        port = processes.free_port()
        self._service_url = f"http://127.0.0.1:{port}"
        hub = processes.start_hub(self._stage, port)
        self._endings.append(lambda: processes.stop(hub))

        def up() -> bool:
            if hub.poll() is not None:
                raise Unavailable("demo-step-not-seen", f"homeostat up ended with code {hub.returncode}")
            return processes.answers(f"{self._service_url}/healthz")

        took_s = processes.wait_until("the service answers", up, within_s=30)
        self._client = HubClient(Place(repository=self._stage.repository, state_dir=self._stage.state_dir))
        self._endings.append(self._client.close)
        processes.wait_until("the agent is attached", lambda: len(self._processes()) == 1, within_s=10)
        self.tell(f"[dim]homeostat up -- python -m uvicorn ...[/]  hub and service are up after {took_s:.1f} s")
        self._load = processes.Load.start(self._stage, self._service_url, rate=_RATE)
        self._endings.append(self._load.stop)
        processes.wait_until("load arrives", lambda: self._load.total("requests") > 0, within_s=10)
        self.tell(f"customers come: {_RATE:.0f} requests a second, from a process of their own")

    def _see_the_defect(self) -> str:
        found: list[dict[str, Any]] = []

        def seen() -> bool:
            found[:] = self._client.get("/api/findings")["findings"]
            return bool(found)

        processes.wait_until("a finding", seen, within_s=20)
        finding = self._client.get(f"/api/findings/{found[0]['finding_id']}")
        self.tell(f"[bold]A finding:[/] {finding['title']}, seen {finding['count']} times")
        for line in finding["evidence"][:4]:
            self.tell(f"   [dim]{line}[/]")
        leaks = processes.holds_text(self._stage.state_dir, b"@example.org")
        if leaks:
            raise Unavailable("demo-step-not-seen", f"a customer's address reached {', '.join(leaks)}")
        self.tell("   no customer's address is anywhere in Homeostat's files: cleaned before it left the service")
        return str(finding["finding_id"])

    def _propose(self, patch: str, title: str, finding: str | None) -> dict[str, Any]:
        bot = self._bot()
        body = {
            "title": title,
            "rationale": f"Handed in by a coding agent: {title.lower()}.",
            "diff": self._stage.patch(patch),
            "author": "fixer-bot",
            "finding_id": finding or "",
        }
        began_s = time.monotonic()
        identity = bot.post(_PROPOSALS, body)["proposal_id"]
        self.tell(f"[bold]A coding agent proposes[/] “{title}” (proposal {identity[:8]})")
        processes.wait_until(
            "the proposal is validated",
            lambda: self._get(identity)["state"] not in ("pending", "validating"),
            within_s=60,
        )
        proposal = self._get(identity)
        bot.close()
        if proposal["state"] != "awaiting_approval":
            raise Unavailable("demo-step-not-seen", f"validation ended {proposal['state']}: {proposal['state_reason']}")
        proof = proposal["proof"]
        self.tell(
            f"   proved in {time.monotonic() - began_s:.1f} s in the {proof['sandbox']} sandbox: "
            f"{len(proof['base']['outcomes'])} tests on the base, {len(proof['candidate']['outcomes'])} on the "
            f"candidate, none broken, {len(proof['added_tests'])} new"
        )
        return proposal

    def _refuse_the_bot(self, proposal: dict[str, Any]) -> None:
        bot = self._bot()
        try:
            bot.post("/api/selfimprove/apply", {"proposal_id": proposal["proposal_id"]})
        except HomeostatError as error:
            self.tell(f"   the agent tries to apply it itself and is refused: {error.message}")
        else:
            raise Unavailable("demo-step-not-seen", "an agent's token was able to apply a proposal")
        finally:
            bot.close()

    def _apply(self, proposal: dict[str, Any]) -> None:
        before = self._processes()[0]["pid"]
        began_s = time.monotonic()
        body = self._client.post_contract(
            "/api/selfimprove/apply",
            {"proposal_id": proposal["proposal_id"], "user": "demo", "change_digest": proposal["change_digest"]},
        )
        took_ms = (time.monotonic() - began_s) * 1000
        if not body["ok"] or body["restart_required"]:
            raise Unavailable("demo-step-not-seen", f"not applied live: {body}")
        seen = self._get(proposal["proposal_id"])
        if self._processes()[0]["pid"] != before:
            raise Unavailable("demo-step-not-seen", "the service was restarted")
        self.tell(f"[bold]A person approves[/] that digest; live in {took_ms:.0f} ms, same process ({before})")
        canary = seen["canary"]
        if canary is not None:
            self.tell(
                f"   on {canary['percent']} % of the calls first, beside the old code; branch and files are as before"
            )

    def _see_it_mended(self, proposal: dict[str, Any]) -> None:
        self._see_it_pass(proposal["proposal_id"])
        seen_before = self._load.seconds_seen()
        processes.wait_until(
            "two seconds under load without a failed request",
            lambda: self._load.seconds_seen() > seen_before + 1 and self._load.last(2)["failed"] == 0,
            within_s=20,
        )
        quiet = self._load.last(2)
        self.tell(f"   the errors stop: {quiet['requests']} requests, {quiet['failed']} failed")
        processes.wait_until(
            "the change is implemented",
            lambda: self._get(proposal["proposal_id"])["state"] == "implemented",
            within_s=40,
        )
        self.tell(f"[bold]Implemented[/]: {self._get(proposal['proposal_id'])['state_reason']}")
        self._nobody_was_dropped()

    def _see_it_pass(self, identity: str) -> None:
        """Wait until the judge of both arms has seen enough for all calls to run the change."""
        began_s = told_s = time.monotonic()

        def passed() -> bool:
            nonlocal told_s
            body = self._get(identity)
            if body["canary"] and time.monotonic() - told_s > _TELL_EVERY_S:
                told_s = time.monotonic()
                self.tell(f"   [dim]after {told_s - began_s:.0f} s: {body['canary']['reason']}[/]")
            return bool(body["state"] == "observing")

        took_s = processes.wait_until("the change passes on to all calls", passed, within_s=180)
        self.tell(f"[bold]It does well beside the old code[/]: all calls after {took_s:.1f} s, branch and files, too")
        self.tell(f"   [dim]{self._get(identity)['application']['live_detail']}[/]")

    def _see_it_taken_back(self, proposal: dict[str, Any]) -> None:
        took_s = processes.wait_until(
            "the harmful change is taken back",
            lambda: self._get(proposal["proposal_id"])["state"] == "reverted",
            within_s=40,
        )
        self.tell(f"[bold]Taken back by itself[/] after {took_s:.1f} s; branch and files never had it:")
        self.tell(f"   [dim]{self._get(proposal['proposal_id'])['state_reason']}[/]")
        if "quantity out of range" in (self._stage.repository / "orders" / "pricing.py").read_text():
            raise Unavailable("demo-step-not-seen", "the harmful lines are still in the checkout")
        seen_before = self._load.seconds_seen()
        processes.wait_until(
            "two seconds under load without a failed request",
            lambda: self._load.seconds_seen() > seen_before + 1 and self._load.last(2)["failed"] == 0,
            within_s=20,
        )
        self.tell(f"   and the service is well again: {self._load.last(2)['requests']} requests, 0 failed")
        self._nobody_was_dropped()

    def _verify(self) -> None:
        done = processes.homeostat("verify", "--repo", str(self._stage.repository))
        for line in done.stdout.splitlines():
            self.tell(f"[dim]homeostat verify[/]  {line}")
        if done.returncode != 0:
            raise Unavailable("demo-step-not-seen", "the story does not verify")

    def _nobody_was_dropped(self) -> None:
        unanswered = self._load.total("unanswered")
        if unanswered:
            raise Unavailable("demo-step-not-seen", f"{unanswered} requests got no answer")
        self.tell(f"   {self._load.total('requests')} requests so far, every one was answered")

    def _get(self, identity: str) -> dict[str, Any]:
        body: dict[str, Any] = self._client.get(f"{_PROPOSALS}/{identity}")
        return body

    def _processes(self) -> list[dict[str, Any]]:
        return [item for item in self._client.get("/api/processes")["processes"] if item["connected"]]

    def _bot(self) -> HubClient:
        made = processes.homeostat("token", "--agent", "fixer-bot", "--repo", str(self._stage.repository))
        return HubClient(
            Place(repository=self._stage.repository, state_dir=self._stage.state_dir), token=made.stdout.strip()
        )
