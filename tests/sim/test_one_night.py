"""The example flow of the plan that this project grew from, section 9, from 01:00 to 11:46 on a fake clock.

A research agent's web search times out eight times in the night; a bot proposes one more line for the agent's
persona in the morning's small hours; a person approves at 10:35; it is watched for an hour and implemented.
Each line of the plan's timeline is either played through the real flows and observed here, or stands in
README.md with what stands in its place, or the part that will bring it.
"""

import random
import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from homeostat_agent.capture.frames import Repository
from homeostat_agent.capture.occurrence import describe
from homeostat_agent.capture.traffic import LATENCY_BOUNDS_S, Series
from homeostat_agent.context import HostContext
from homeostat_agent.otlp import encode_logs, encode_metrics

from homeostat.adapters.keys import Ed25519Signer
from homeostat.audit.chain import ChainIntact, verify_integrity
from homeostat.flows.applying import request_apply
from homeostat.flows.deciding import approve
from homeostat.flows.proposing import Submission, submit
from homeostat.model.finding import FindingState
from homeostat.model.proposal import Category, Proposal, ProposalState, Severity
from homeostat.model.settings import ObservationSettings
from homeostat.proposals.index import INDEX_PATH
from homeostat.proposals.markdown import record_path
from homeostat.testing.memory_repository import (
    MemoryBackupStore,
    MemoryCandidateBranch,
    MemoryCommitMerger,
    MemoryCommitReader,
    MemoryDeployedTree,
    MemoryRecordBranch,
    MemoryRepository,
)
from homeostat.testing.memory_store import MemoryStore
from homeostat.testing.simulation.fleet import SimulatedLive
from homeostat.testing.simulation.hazards import Hazards, Weather
from homeostat.testing.simulation.hub import SimulatedHub, Workflows
from homeostat.testing.simulation.timeline import Timeline
from homeostat.testing.simulation.trace import Trace
from homeostat.testing.world import BOT, OWNER, WORLD_SETTINGS, World, file

S = ProposalState
ONE_O_CLOCK = datetime(2026, 1, 5, 1, 0, tzinfo=UTC)
TICK_S = 15.0

PERSONA = "agents:\n  research:\n    persona: |\n      Look things up and cite them.\n"
BETTER = PERSONA + "      When a web search times out, try once more with 30 s.\n"
DIFF = (
    "--- a/agents/agents.yaml\n+++ b/agents/agents.yaml\n@@ -2,3 +2,4 @@\n   research:\n     persona: |\n"
    "       Look things up and cite them.\n+      When a web search times out, try once more with 30 s.\n"
)
SEARCH = "def web_search(question):\n    raise TimeoutError(question)\n"
SECRET = "sk-proj-Ab3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dF"


def since_one(hour, minute, second=0):
    return (hour - 1) * 3600.0 + minute * 60 + second


class Night:
    """One hub, one program that is told what to do, and a diary of what was seen when."""

    def __init__(self, folder):
        self.timeline = Timeline(ONE_O_CLOCK)
        trace = Trace(self.timeline.elapsed_s)
        hazards = Hazards(self.timeline, random.Random(0), trace, Weather(pause=0, fail=0, lie=0, die=0, misbehave=0))
        self.repository = MemoryRepository(faults=hazards)
        self.repository.user_commit(
            {"agents/agents.yaml": file(PERSONA), "tools/web_search.py": file(SEARCH)}, at=ONE_O_CLOCK
        )
        self.live = SimulatedLive(self.timeline)
        self.signer = Ed25519Signer.generate()
        store = MemoryStore(clock=self.timeline, signer=self.signer)
        self.store = store
        self.world = replace(
            World().deps,
            clock=self.timeline,
            settings=replace(
                WORLD_SETTINGS, observation=ObservationSettings(window_s=3600, baseline_s=3600, min_requests=30)
            ),
            proposals=store.proposals,
            records=store.records,
            ledger=store.ledger,
            findings=store.findings,
            vitals=store.vitals,
            canaries=store.canaries,
            actors=store.actors,
            commits=MemoryCommitReader(self.repository),
            merger=MemoryCommitMerger(self.repository),
            candidates=MemoryCandidateBranch(self.repository),
            record_branch=MemoryRecordBranch(self.repository),
            deployed=MemoryDeployedTree(self.repository),
            backups=MemoryBackupStore(hazards),
            live=self.live,
        )
        self.hub = SimulatedHub(
            world=self.world,
            timeline=self.timeline,
            trace=trace,
            hazards=hazards,
            live=self.live,
            workflows=Workflows(),
            on_death=lambda: None,
        )
        self.source = folder / "tools" / "web_search.py"
        self.source.parent.mkdir()
        self.source.write_text(SEARCH)
        self.frames = Repository(str(folder))
        self.root = str(folder)
        self.deliver = None
        self.running = ""
        self.persona = PERSONA
        self.started = 0

    # The hub sees a fleet of one

    def open_door(self, deliver, changed):
        self.deliver, self.changed = deliver, changed

    def start_program(self):
        self.started += 1
        self.running = f"00000000-0000-4000-9000-{self.started:012x}"
        self.persona = self.repository.disk["agents/agents.yaml"].content.decode()
        self.last_tick = self.timeline.now()
        shown = replace(World().process(identity=self.running), started_at=self.last_tick)
        self.live.attach(shown, loaded={"tools/web_search.py": SEARCH})
        self.changed()

    def restart_program(self):
        self.live.end(self.running)
        self.start_program()

    def context(self):
        return HostContext(repository=self.root, commit=None, service_name="research", process_id=self.running)

    def tick(self):
        """Tell what was served in the last seconds: a dozen questions, all answered."""
        now = self.timeline.now()
        self._tell_requests(self.last_tick, now, {("/ask", ""): 12})
        self.last_tick = now
        self.timeline.after(TICK_S, self.tick)

    def _tell_requests(self, start, end, counts):
        buckets = (0,) * len(LATENCY_BOUNDS_S)
        snapshot = {
            "start_unix_ns": int(start.timestamp() * 1e6) * 1000,
            "end_unix_ns": int(end.timestamp() * 1e6) * 1000,
            "requests": {key: Series(count * 0.2, (*buckets, count)) for key, count in counts.items()},
            "errors_logged": 0,
        }
        self.deliver("metrics", encode_metrics(snapshot, self.context()), self.running)

    def search_times_out(self):
        """Raise what the tool raises, and tell it as the agent in the program would: cleaned before it leaves."""
        if "try once more" in self.persona:
            return
        names = {}
        exec(compile(self.source.read_text(), str(self.source), "exec"), names)
        try:
            names["web_search"](f"GET https://search.example.org/q?api_key={SECRET} from 10.20.30.40: no answer")
        except TimeoutError as error:
            told = describe(
                repository=self.frames,
                root=self.root,
                severity_number=17,
                severity_text="ERROR",
                logger="tools.web_search",
                message=f"web_search failed: {error}",
                error=error,
                site=None,
                route="/ask",
            )
            traceback.clear_frames(error.__traceback__)
            at_ns = int(self.timeline.now().timestamp() * 1e6) * 1000
            self.deliver("logs", encode_logs([told._replace(at_unix_ns=at_ns)], self.context()), self.running)

    def at(self, hour, minute, what, second=0):
        self.timeline.after(since_one(hour, minute, second), what)

    def until(self, hour, minute, second=0):
        self.timeline.run(until_s=since_one(hour, minute, second), after_each=lambda: None)

    def row(self):
        (row,) = self.world.proposals.find()
        return row

    def record(self):
        return self.world.record_branch.read(record_path(self.row())).decode()


@pytest.fixture
def night(tmp_path):
    night = Night(tmp_path)
    night.hub.start(night)
    night.start_program()
    night.tick()
    yield night
    night.timeline.end()


def test_the_night_of_the_plan_from_one_to_a_quarter_to_twelve(night):
    for number in range(8):  # 01:00 on: eight timeouts before two, and as many in every hour after
        for hour in range(1, 12):
            night.at(hour, 6 + 7 * number, night.search_times_out)

    # 01:00 telemetry flows, cleaned; 02:05 what recurs is known: the search timed out eight times
    night.until(2, 5)
    (finding,) = night.world.findings.findings()
    assert finding.group.count == 8 and finding.state is FindingState.OPEN
    assert finding.group.exception_type == "TimeoutError"
    assert finding.group.location.path == "tools/web_search.py"
    stored = repr(night.store.findings.findings()) + repr(night.world.ledger.entries())
    assert SECRET not in stored and "10.20.30.40" not in stored and night.root not in stored

    # 02:06 a proposal of one line, with that evidence; 02:07 committed on a branch of its own
    night.hub.ask("bot", lambda deps: _propose(deps, finding), lambda answer: None)
    night.until(2, 7)
    row = night.row()
    assert (row.category, row.severity, row.files) == (Category.BUGFIX, Severity.MEDIUM, ("agents/agents.yaml",))
    assert any("8 occurrences" in line for line in row.evidence)
    assert f"homeostat/proposal-{row.id}" in night.repository.branches
    assert "try once more" in night.record()
    assert night.repository.disk["agents/agents.yaml"].content.decode() == PERSONA, "proposing touches nothing"

    # 09:00 one proposal waits; 10:30 a person reads it in Git
    night.until(10, 30)
    assert night.row().state is S.AWAITING_APPROVAL
    assert dict(night.world.proposals.count_by_state()) == {S.AWAITING_APPROVAL: 1}
    assert row.id[:8] in night.world.record_branch.read(INDEX_PATH).decode()

    # 10:35 the person approves exactly that; 10:36 the status says so, in row, ledger and Git
    night.until(10, 35)
    seen = night.row().change.change_digest
    night.hub.ask("owner", lambda deps: approve(deps, row.id, actor=OWNER, seen=seen), lambda answer: None)
    night.until(10, 36)
    assert night.row().status == "approved" and night.row().review.by == OWNER.id
    assert _statuses(night)[-1] == "approved"

    # 10:40 it is put on the deployed branch and its checkout; 10:41 the program is started anew with it
    night.until(10, 40)
    night.hub.ask(
        "owner", lambda deps: request_apply(deps, row.id, actor=OWNER, seen=seen), lambda answer: _must_be_row(answer)
    )
    night.until(10, 41)
    assert night.repository.disk["agents/agents.yaml"].content.decode() == BETTER
    assert night.repository.branches["main"] == night.row().application.commit
    assert night.row().state is S.AWAITING_RESTART
    night.restart_program()

    # 10:45 it is being watched, for one hour
    night.until(10, 45)
    assert night.row().state is S.OBSERVING
    watched_from = night.row().application.observed_from
    assert timedelta(0) < watched_from - ONE_O_CLOCK - timedelta(hours=9, minutes=41) < timedelta(minutes=4)
    night.until(11, 40)
    assert night.row().state is S.OBSERVING, "the hour is not over"

    # 11:45 no rise of errors, the timeouts are gone: implemented, on record before 11:46
    night.until(11, 46)
    row = night.row()
    assert row.state is S.IMPLEMENTED and row.status == "implemented", row.state_reason
    assert row.updated_at - watched_from >= timedelta(hours=1)
    assert "gone" in row.state_reason
    assert night.world.findings.findings()[0].state is FindingState.RESOLVED
    assert _statuses(night) == [
        "pending",
        "pending (validating)",
        "pending (awaiting_approval)",
        "approved",
        "approved",
        "approved (applying)",
        "approved (awaiting_restart)",
        "approved (observing)",
        "implemented",
    ]
    assert night.world.records.pending_records() == []
    report = verify_integrity(night.world.ledger.entries(), verify=night.signer.verify)
    assert isinstance(report, ChainIntact)
    assert SECRET not in repr(night.repository.commits)


def _propose(deps, finding):
    return submit(
        deps,
        Submission(
            title="Try a timed out web search once more",
            rationale="The search timed out eight times in the night.",
            diff=DIFF,
            category=Category.BUGFIX,
            severity=Severity.MEDIUM,
            finding_id=finding.id,
        ),
        actor=BOT,
    )


def _must_be_row(answer):
    assert isinstance(answer, Proposal), answer


def _statuses(night):
    """Return the statuses that were committed on the record branch, oldest first."""
    return [value for _, value in reversed(night.world.record_branch.trailers("Homeostat-Status"))]
