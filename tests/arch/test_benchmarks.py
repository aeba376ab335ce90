"""Every benchmark measures, holds its figures against their aims, and says what was found where one falls short."""

import importlib
import inspect
import time

import pytest
from arch.source import ROOT

from homeostat.adapters.clock import SystemClock
from homeostat.adapters.keys import Ed25519Signer
from homeostat.adapters.store.store import SqlStore
from homeostat.core.ids import ActorId
from homeostat.model.ledger import EntryDraft


def bench(monkeypatch, name):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module(f"bench.{name}")


def test_every_benchmark_has_its_three_parts(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    names = sorted(path.stem for path in (ROOT / "bench").glob("bench_*.py"))
    assert names
    for name in names:
        module = importlib.import_module(f"bench.{name}")
        assert not inspect.signature(module.main).parameters, f"{name}.main takes nothing and returns figures by name"
        assert len(inspect.signature(module.figures).parameters) == 1, f"{name}.figures takes what main returned"
        assert isinstance(module.FOUND, str), f"{name}.FOUND says what was found where an aim is not met"


DETECTED = {"changes": 400, "taken back": 0.01, "at most": 0.03, "naive": 0.8, "1 to 30, s": 60.0}


@pytest.mark.parametrize(
    ("rate", "at_most", "met"),
    [(0.0, 0.009, True), (0.0, 0.088, "not shown"), (0.01, 0.05, "not shown"), (0.02, 0.13, False), (0.08, 0.2, False)],
)
def test_an_aim_for_false_alarms_is_met_only_where_the_bound_of_the_worst_kind_is_within_it(
    monkeypatch, rate, at_most, met
):
    found = bench(monkeypatch, "bench_detectors").figures(
        {**DETECTED, "worst kind": rate, "worst kind, at most": at_most}
    )
    assert found[0].met == met


def test_what_is_not_shown_is_not_called_met_on_the_page(monkeypatch):
    figures = bench(monkeypatch, "figures")
    line = figures.Figure(what="false alarms", measured="0 of 50", aim="1 %", met="not shown")
    page = figures.render("", "detectors", [line], "", load=7.4)
    assert "| 1 % | not shown |" in page
    assert "load 7 at the beginning and" in page, "at what load it was measured is measured, too"


def test_how_many_rounds_and_how_long_requests_took_is_of_the_run_itself(monkeypatch):
    workers = bench(monkeypatch, "bench_workers")
    told = {"p50", "p95", "p99", "longest"}
    times = {f"{name}, {when} (ms)": 1.0 for name in told for when in ("changing", "left alone")}
    counts = {
        "failed": 0,
        "other answers": 0,
        "requests": 10,
        "answers of the old body": 6,
        "answers of the new body": 4,
    }
    counted, meanwhile = workers.figures({**counts, **times, "longest, changing (ms)": 777.0, "seconds": 225.0})
    assert "in 225 s" in counted.beside
    assert "longest 777 ms" in meanwhile.measured
    for module in (workers, bench(monkeypatch, "bench_swap")):
        assert not any(letter.isdigit() for letter in module.FOUND), "it says how, not what one run had"


def test_when_a_change_was_taken_back_is_read_from_the_ledger(monkeypatch, tmp_path):
    """However quickly one state follows the other."""
    takeback = bench(monkeypatch, "bench_takeback")
    database = tmp_path / "homeostat.sqlite"
    store = SqlStore.open(
        database, signer=Ed25519Signer.generate(), clock=SystemClock(), head_path=tmp_path / "head.json"
    )
    before_s = time.monotonic()
    for subject in ("p-1", "p-2"):
        for kind in ("proposal.canary_ended", "proposal.reverted"):
            store.ledger.append(EntryDraft(kind=kind, actor=ActorId("system"), subject=subject, body={}))
    store.close()
    found = takeback.moves_s(database, "p-1")
    assert found.keys() == {"proposal.canary_ended", "proposal.reverted"}
    late_s = time.monotonic() - before_s
    assert -0.1 <= found["proposal.canary_ended"] - before_s <= found["proposal.reverted"] - before_s <= late_s + 0.1
