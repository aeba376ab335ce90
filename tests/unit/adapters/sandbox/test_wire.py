"""What passes between hub and worker arrives as it was sent, or is refused."""

import dataclasses

import pytest

from homeostat.adapters.sandbox import answers, wire
from homeostat.adapters.sandbox.spec import Kind
from homeostat.core.errors import InvalidInput, NotFound, Unavailable
from homeostat.core.ids import CommitId
from homeostat.model.proof import TestRun
from homeostat.ports.proving import Isolation, IsolationCheck, ProofJob, ProofRuns

JOB = ProofJob(
    repository="/srv/shop",
    base=CommitId("a" * 40),
    candidate=CommitId("b" * 40),
    test_command=("python", "-m", "pytest"),
    python="/usr/bin/python3",
    changed_modules=("shop/pay.py",),
    timeout_s=9.5,
    memory_mb=100,
    max_processes=10,
)
RUN = TestRun(
    exit_code=None,
    timed_out=True,
    duration_ms=3,
    outcomes={"a": "passed"},
    output_tail="é",
    ran_from_candidate=None,
    problem="it was ended",
)


def test_a_request_survives_its_way():
    assert wire.decode_request(wire.encode_request(JOB, [Kind.LANDLOCK])) == (JOB, (Kind.LANDLOCK,))


@pytest.mark.parametrize("candidate", [RUN, None])
def test_runs_survive_their_way(candidate):
    runs = ProofRuns(sandbox="landlock", base=RUN, candidate=candidate, refused="no")
    assert answers.decode_runs(wire.encode_runs(runs)) == runs


def test_isolation_survives_its_way():
    found = (Isolation(name="landlock", usable=False, checks=(IsolationCheck(name="a", held=False, detail="b"),)),)
    assert answers.decode_isolation(wire.encode_isolation(found)) == found


def test_an_error_of_the_worker_is_raised_in_the_hub_with_its_code():
    data = wire.encode_error(NotFound("unknown-object", "gone", hint="fetch it"))
    with pytest.raises(NotFound) as caught:
        answers.decode_runs(data)
    assert (caught.value.code, caught.value.hint) == ("unknown-object", "fetch it")


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"version": 2}', b'{"version": 1}', b'{"version": 1, "runs": {}}']
)
def test_an_answer_that_cannot_be_read_is_none(data):
    with pytest.raises(Unavailable):
        answers.decode_runs(data)
    with pytest.raises(Unavailable):
        answers.decode_isolation(data)


def test_a_request_that_cannot_be_read_is_refused():
    bad = dataclasses.replace(JOB, base=CommitId("main"))
    for data in (b"", b"{}", b'{"version": 1, "job": {}, "kinds": []}', wire.encode_request(bad, [Kind.LANDLOCK])):
        with pytest.raises(InvalidInput):
            wire.decode_request(data)
