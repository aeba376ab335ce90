"""Every row reads back as it was written: no field is forgotten, none changes its type."""

import json
import tempfile
import typing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeostat.adapters.keys import Ed25519Signer
from homeostat.adapters.store import SqlStore
from homeostat.adapters.store.documents import decode_proposal, encode_proposal
from homeostat.adapters.store.sample_document import decode_sample, encode_sample
from homeostat.audit.chain import utc_text
from homeostat.model.canary import CanaryStage
from homeostat.model.finding import CodeLocation, ErrorOccurrence
from homeostat.model.proof import PolicyFinding, ProofReport, TestRun
from homeostat.model.proposal import Application, ChangeRef, Proposal, Review
from homeostat.model.risk import Risk, RiskFactor
from homeostat.model.vitals import RouteVitals, VitalsTick
from homeostat.testing.example_rows import SteppingClock

zones = st.sampled_from([UTC, timezone(timedelta(hours=-7)), timezone(timedelta(hours=5, minutes=45))])
times = st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1), timezones=zones)  # noqa: DTZ001
whole = st.integers(-(2**31), 2**31)
BY_TYPE = {
    int: whole,
    str: st.text(max_size=20),
    datetime: times,
    float: st.floats(allow_nan=False, allow_infinity=False),
}


def every_field(cls, **own):
    """Draw a value for every field, those with a default too: a forgotten field must show."""
    hints = typing.get_type_hints(cls)
    return st.builds(cls, **{name: strategy_of(hint) for name, hint in hints.items()} | own)


def strategy_of(hint):
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in BY_TYPE:
        return BY_TYPE[hint]
    if hasattr(hint, "__supertype__"):
        return strategy_of(hint.__supertype__)
    if origin is tuple:
        return st.lists(strategy_of(arguments[0]), max_size=3).map(tuple)
    if origin is not None and type(None) in arguments:
        return st.none() | strategy_of(arguments[0])
    if origin is not None:
        return st.dictionaries(strategy_of(arguments[0]), strategy_of(arguments[1]), max_size=3)
    return st.from_type(hint)


for cls in (CodeLocation, TestRun, ChangeRef, Review, CanaryStage, Application, RouteVitals):
    BY_TYPE[cls] = every_field(cls)
shares = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)
BY_TYPE[PolicyFinding] = every_field(PolicyFinding, confidence=shares)
BY_TYPE[RiskFactor] = every_field(RiskFactor, share=shares)
BY_TYPE[Risk] = every_field(Risk, score=shares)
BY_TYPE[ProofReport] = every_field(ProofReport)
proposals = every_field(Proposal)
occurrences = every_field(ErrorOccurrence)
ticks = every_field(VitalsTick)


@settings(deadline=None)
@given(proposals)
def test_a_proposal_reads_back_from_its_columns(proposal):
    assert decode_proposal(encode_proposal(proposal)) == proposal


@settings(deadline=None)
@given(proposals, every_field(Application), every_field(CanaryStage), times)
def test_of_a_canary_in_a_row_of_before_the_last_widening_is_known(proposal, application, stage, at):
    def read(percent_since):
        trying = replace(proposal, application=replace(application, canary=replace(stage, widened_at=())))
        columns = encode_proposal(trying)
        document = json.loads(columns["document"])
        canary = document["application"]["canary"]
        del canary["widened_at"]
        canary["percent_since"] = canary["began_at"] if percent_since is None else utc_text(percent_since)
        return decode_proposal({**columns, "document": json.dumps(document)}).application.canary

    assert read(None) == replace(stage, widened_at=())
    assert read(at).percent_since == at


@settings(deadline=None)
@given(occurrences)
def test_a_sample_reads_back_from_its_document(occurrence):
    assert decode_sample({"id": 1, "document": encode_sample(occurrence)}) == occurrence


@pytest.fixture(scope="module")
def store():
    with tempfile.TemporaryDirectory() as name:
        opened = SqlStore.open(
            Path(name) / "h.sqlite",
            signer=Ed25519Signer.generate(),
            clock=SteppingClock(),
            head_path=Path(name) / "head.json",
        )
        yield opened
        opened.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ticks, max_size=4, unique_by=lambda tick: tick.end))  # one that comes twice is kept once
def test_ticks_read_back_from_the_database(store, batch):
    far = datetime(2300, 1, 1, tzinfo=UTC)
    store.vitals.prune(before=far)
    store.vitals.record_ticks(batch)
    read = store.vitals.ticks(since=datetime(1970, 1, 1, tzinfo=UTC), until=far)
    assert list(read) == sorted(batch, key=lambda tick: tick.end)
