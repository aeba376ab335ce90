"""Every benchmark measures, holds its figures against their aims, and says what was found where one falls short."""

import importlib
import inspect

from arch.source import ROOT


def test_every_benchmark_has_its_three_parts(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    names = sorted(path.stem for path in (ROOT / "bench").glob("bench_*.py"))
    assert names
    for name in names:
        module = importlib.import_module(f"bench.{name}")
        assert not inspect.signature(module.main).parameters, f"{name}.main takes nothing and returns figures by name"
        assert len(inspect.signature(module.figures).parameters) == 1, f"{name}.figures takes what main returned"
        assert isinstance(module.FOUND, str), f"{name}.FOUND says what was found where an aim is not met"
