"""The launcher gets exactly what was laid out."""

import pytest

from homeostat.adapters.sandbox.spec import Bind, Kind, Limits, SandboxSpec, decode_spec, encode_spec
from homeostat.core.errors import Bug

SPEC = SandboxSpec(
    kind=Kind.LANDLOCK,
    argv=("python", "-c", "pass"),
    cwd="/somewhere",
    env={"PATH": "/bin"},
    binds=(Bind(source="/a", target="/b", writable=True),),
    limits=Limits(timeout_s=1.5, memory_mb=64, tree_memory_mb=128, max_processes=9),
    staging="/staging",
    uid=1000,
)


def test_a_spec_survives_its_way():
    assert decode_spec(encode_spec(SPEC)) == SPEC


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"kind": "docker"}', b"\xff"])
def test_what_is_no_spec_is_a_bug(data):
    with pytest.raises(Bug):
        decode_spec(data)
