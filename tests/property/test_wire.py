"""What our own processes say to each other, with any part of it wrong: read as it stands, or refused in our words."""

import copy
import json
from dataclasses import asdict

import pytest
from homeostat_agent.commands import COMMANDS, parse_command, parse_welcome
from homeostat_agent.launch_file import read_launch
from homeostat_agent.protocol import ProtocolError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeostat.adapters.agents.session import read_facts
from homeostat.adapters.sandbox.answers import decode_isolation, decode_runs
from homeostat.adapters.sandbox.spec import Bind, Kind, Limits, SandboxSpec, decode_spec, encode_spec
from homeostat.adapters.sandbox.wire import (
    decode_request,
    encode_error,
    encode_isolation,
    encode_request,
    encode_runs,
)
from homeostat.adapters.supervising.members import read_look
from homeostat.adapters.supervising.messages import encode_plan, encode_program, read_plan, read_program
from homeostat.audit.head import EMPTY_HEAD, encode_head, parse_head, parse_trailer
from homeostat.core.errors import Bug, HomeostatError, IntegrityFailure, InvalidInput, Unavailable
from homeostat.core.ids import CommitId
from homeostat.model.proof import TestRun
from homeostat.model.restart import RestartableProgram, RestartPhase, RestartPlan, RestartReport
from homeostat.ports.proving import Isolation, IsolationCheck, ProofJob, ProofRuns
from homeostat.proposals.markdown import parse_header

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([10**400, float("inf"), "\ud800", "9" * 5000, -1])
)
ANY = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
DEEP = b"[" * 4_000
DEEPER = b'{"a":' * 100_000

RUN = TestRun(exit_code=0, duration_ms=5, timed_out=False, outcomes={"t": "passed"}, output_tail="1 passed")
REPORT = RestartReport(request_id="r", phase=RestartPhase.DONE, reason="", last_words="", took_s=1.0)
FACTS = {
    "generation": 1,
    "changes": ["a"],
    "started_ms": 1_700_000_000_000,
    "pid": 7,
    "python": "3.11.7",
    "command": "python",
    "commit": "a" * 40,
    "hmr_enabled": True,
}
COMMAND = {
    "command_id": "c",
    "type": next(iter(COMMANDS)),
    "process_id": "p",
    "generation": 0,
    "digest": "sha256:" + "0" * 64,
    "expires_at": 5,
    "body": {},
}
LOOK = {
    "listeners": [{"inode": 5, "family": "inet", "address": ["127.0.0.1", 80], "any_port": False, "served": "accept"}],
    "connected": True,
    "graceful": True,
}
LAUNCH = {
    "launch_id": "l",
    "key": "00" * 32,
    "agent_socket": "/run/agent.sock",
    "state_dir": "/srv/.homeostat",
    "repository": "/srv",
    "commit": "a" * 40,
    "service_name": "s",
    "hmr_enabled": True,
    "hmr_mode": "safe",
    "supervisor": None,
}
JOB = ProofJob(
    repository="/srv",
    base=CommitId("a" * 40),
    candidate=CommitId("b" * 40),
    test_command=("pytest",),
    python="python3",
    changed_modules=("m.py",),
    timeout_s=5.0,
    memory_mb=100,
    max_processes=10,
)
SPEC = SandboxSpec(
    kind=Kind.LANDLOCK,
    argv=("true",),
    cwd="/",
    env={"A": "b"},
    binds=(Bind(source="/a", target="/b"),),
    limits=Limits(**dict.fromkeys(Limits.__dataclass_fields__, 1)),
    staging="/tmp",
)
ISOLATION = Isolation(name="landlock", usable=True, checks=(IsolationCheck(name="x", held=True, detail=""),))


class Someone:
    pid, ppid = 5, 1


READERS = {
    "proof request": (decode_request, json.loads(encode_request(JOB, (Kind.LANDLOCK,))), InvalidInput),
    "proof runs": (
        decode_runs,
        json.loads(encode_runs(ProofRuns(sandbox="landlock", base=RUN, candidate=RUN, refused=""))),
        HomeostatError,
    ),
    "proof error": (decode_runs, json.loads(encode_error(InvalidInput("x", "y", hint="z"))), HomeostatError),
    "isolation": (decode_isolation, json.loads(encode_isolation((ISOLATION,))), Unavailable),
    "sandbox spec": (decode_spec, json.loads(encode_spec(SPEC)), Bug),
    "ledger head": (parse_head, json.loads(encode_head(EMPTY_HEAD)), IntegrityFailure),
}
MAPPINGS = {
    "agent's facts": (lambda raw: read_facts("p", raw), FACTS, ProtocolError),
    "agent's command": (parse_command, COMMAND, ProtocolError),
    "welcome": (lambda raw: parse_welcome("welcome", raw), {"now_ms": 5}, ProtocolError),
    "restart plan": (read_plan, encode_plan(RestartPlan(timeout_s=1, drain_s=1, settle_s=1)), ValueError),
    "program": (
        read_program,
        encode_program(RestartableProgram(id="p", command="c", pid=5, report=REPORT)),
        ValueError,
    ),
    "look": (lambda raw: read_look(Someone, raw), LOOK, ()),
}


def places(value, path=()):
    """Yield the path of every part of a document, the whole included."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@st.composite
def spoiled(draw, document):
    """Draw the document with one part replaced by anything, or left out."""
    document = copy.deepcopy(document)
    path = draw(st.sampled_from(list(places(document))[1:]))
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    if draw(st.integers(0, 5)) == 0:
        del parent[path[-1]]
    else:
        parent[path[-1]] = draw(ANY)
    return document


def refused(read, value, errors):
    try:
        read(value)
    except errors as error:
        assert str(error)


@pytest.mark.parametrize("name", READERS)
def test_what_was_written_is_read(name):
    read, document, _ = READERS[name]
    if name == "proof error":
        with pytest.raises(InvalidInput, match="y"):
            read(json.dumps(document).encode())
    else:
        read(json.dumps(document).encode())


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
def test_a_document_with_one_part_wrong_is_read_or_refused(name, data):
    read, document, errors = READERS[name]
    text = json.dumps(data.draw(spoiled(document)))
    refused(read, text.encode(), errors)
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(errors):
        read(text[:cut].encode())


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe", b"null", b"[]", b'{"version": 1}', DEEP, DEEP.replace(b"[", b'{"a":')]
)
def test_bytes_that_are_no_document_of_ours_are_refused(name, data):
    read, _, errors = READERS[name]
    with pytest.raises(errors):
        read(data)


@pytest.mark.parametrize("name", MAPPINGS)
@given(data=st.data())
def test_a_message_with_one_part_wrong_is_read_or_refused(name, data):
    read, document, errors = MAPPINGS[name]
    read(copy.deepcopy(document))
    refused(read, data.draw(spoiled(document)), errors)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_launch_file_with_one_part_wrong_is_read_or_refused(tmp_path, data):
    path = tmp_path / "launch.json"
    path.touch(mode=0o600)
    document = {**LAUNCH, "repository": str(tmp_path)}
    path.write_text(json.dumps(document))
    read_launch(str(path))
    path.write_bytes(json.dumps(data.draw(spoiled(document))).encode())
    refused(read_launch, str(path), ValueError)


@given(st.text(max_size=120) | st.from_regex(r"[0-9]{1,20}:[0-9a-f]{64}", fullmatch=True))
def test_any_trailer_is_a_head_or_none(value):
    head = parse_trailer(value)
    assert head is None or value.strip() == f"{head.size}:{head.entry_hash}"


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda more: b"# Proposal: x\n**ID**: 1\n" + more))
def test_any_record_edited_by_hand_has_a_header_or_is_refused(record):
    refused(parse_header, record, InvalidInput)


def test_every_reader_is_given_what_its_writer_makes():
    assert asdict(decode_spec(encode_spec(SPEC))) == asdict(SPEC)
    assert decode_isolation(encode_isolation((ISOLATION,))) == (ISOLATION,)
    assert decode_request(encode_request(JOB, (Kind.LANDLOCK,))) == (JOB, (Kind.LANDLOCK,))
