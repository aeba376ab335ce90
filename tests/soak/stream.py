"""The stream of proposals: good, harmful, wrong and malformed ones, by a bot and by the owner, with a journal.

The journal has what the hub answered with yes. None of it may be lost, whoever was killed afterwards.
"""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from soak.service import prices, writing
from soak.stage import Stage, now

SELF_IMPROVE = "/api/selfimprove"
FINAL = frozenset({"implemented", "reverted", "failed", "rejected", "blocked"})
PATIENCE_S = 150.0
MALFORMED = "--- a/nothing\n+++ b/nothing\n@@ broken\n"


@dataclass
class Entry:
    """One proposal that the hub has accepted."""

    id: str
    kind: str
    number: int
    asked_at: float = 0.0
    """When its application was first asked for."""

    applied: bool = False
    """Answered with 200 and ok."""

    rejected: bool = False
    state: str = "pending"
    settled_at: float = 0.0


@dataclass
class Journal:
    entries: dict[str, Entry] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    tried: set[str] = field(default_factory=set)
    """Proposals that were seen on a share of the calls."""

    latencies_s: list[float] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    bugs: list[str] = field(default_factory=list)
    """What was asked when the hub answered that something happened which should not."""


class Stream:
    """One thread that proposes, decides and waits, over and over. `close` lets it finish what it is at."""

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self.journal = Journal()
        self.failure = ""
        self._stage = stage
        self._rng = rng
        self._stop = threading.Event()
        self._number = 0
        self._round = 1
        self.owner = (stage.shop.state_dir / "keys" / "owner.token").read_text().strip()
        self._bot = stage.homeostat("token", "--agent", "soak-bot").stdout.split()[-1]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S + 60)

    def ask(self, method: str, path: str, *, token: str, body: Any = None, patience_s: float = 180.0) -> httpx.Response:
        """Ask until somebody answers: hubs come and go, and 503 says to try again.

        The patience is more than a hub may take to come up (`Stage.wait_for_hub`).
        """
        end_s = time.monotonic() + patience_s
        while True:
            url = self._stage.hub_url()
            try:
                if url is not None:
                    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
                        answer = client.request(method, path, json=body, headers={"Authorization": f"Bearer {token}"})
                    self.journal.answers[f"{method} {answer.status_code}"] += 1
                    if answer.status_code == 500 and b"urn:homeostat:error:bug" in answer.content:
                        self.journal.bugs.append(f"{method} {path}")
                    if answer.status_code not in (500, 503):
                        return answer
            except httpx.TransportError as error:
                self.journal.answers[type(error).__name__] += 1
            if time.monotonic() > end_s:
                raise TimeoutError(f"nobody answered {method} {path} within {patience_s:.0f} s")
            time.sleep(0.3)

    def proposal(self, identity: str) -> Any:
        return self.ask("GET", f"{SELF_IMPROVE}/proposals/{identity}", token=self.owner).json()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._one()
                self._stop.wait(self._rng.uniform(0, 2))
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"

    def _one(self) -> None:
        kinds = ("good", "harmful", "wrong", "malformed", "restart", "rejected")
        kind = self._rng.choices(kinds, (8, 3, 2, 2, 1, 1))[0]
        self._number += 1
        number = self._number
        if kind == "restart":
            self._round += 1
        text = prices(number, kind=kind, round_to=self._round)
        diff = MALFORMED if kind == "malformed" else self._stage.shop.diff(writing(text))
        body = {"title": f"{kind} {number}", "rationale": f"Soak: {kind} {number}.", "diff": diff}
        token = self._rng.choice((self._bot, self._bot, self.owner))
        answer = self.ask("POST", f"{SELF_IMPROVE}/proposals", token=token, body=body)
        if answer.status_code not in (200, 201, 202):
            return
        entry = Entry(id=answer.json()["proposal_id"], kind=kind, number=number)
        self.journal.entries.setdefault(entry.id, entry)
        state = self._wait(entry, FINAL | {"awaiting_approval", "approved"})
        if state != "awaiting_approval":
            return
        if kind == "rejected":
            where = f"{SELF_IMPROVE}/proposals/{entry.id}/reject"
            entry.rejected = self.ask("POST", where, token=self.owner, body={"notes": "soak"}).is_success
            return
        self._apply(entry)

    def _apply(self, entry: Entry) -> None:
        refused = self.ask("POST", f"{SELF_IMPROVE}/apply", token=self._bot, body={"proposal_id": entry.id})
        assert not refused.is_success, "an agent's token applied a proposal"
        entry.asked_at = now()
        began_s = time.monotonic()
        for _ in range(3):  # a lost connection may be asked again: it happens once
            body = {"proposal_id": entry.id, "user": "soak"}
            answer = self.ask("POST", f"{SELF_IMPROVE}/apply", token=self.owner, body=body)
            if answer.status_code == 200:
                entry.applied = True
                self.journal.latencies_s.append(time.monotonic() - began_s)
                break
            if self.proposal(entry.id)["state"] not in ("awaiting_approval", "approved", "applying"):
                break
            time.sleep(1)
        if self._wait(entry, FINAL | {"awaiting_restart"}) == "awaiting_restart":
            self._restart_service()
            self._wait(entry, FINAL)

    def _pass_on(self, entry: Entry) -> None:
        """Decide what too few calls leave open, as its owner would; refused while the evidence may still decide."""
        self.journal.tried.add(entry.id)
        if entry.kind != "harmful":
            where = f"{SELF_IMPROVE}/proposals/{entry.id}/accept"
            self.ask("POST", where, token=self.owner, body={"reason": "too few calls to tell"})

    def _restart_service(self) -> None:
        service = self._stage.service
        assert service is not None
        at = now()
        self._stage.stop(service)
        self._stage.start_service()
        self._stage.wait_for_service()
        self._stage.note("service restarted by its owner", at=at, until=now())

    def _wait(self, entry: Entry, states: frozenset[str]) -> str:
        end_s = time.monotonic() + PATIENCE_S
        while True:
            entry.state = self.proposal(entry.id)["state"]
            if entry.state in states:
                entry.settled_at = now()
                return entry.state
            if entry.state == "canary":
                self._pass_on(entry)
            if time.monotonic() > end_s:
                self.journal.stuck.append(f"{entry.kind} {entry.number} ({entry.id[:8]}) is {entry.state}")
                return entry.state
            time.sleep(0.25)
