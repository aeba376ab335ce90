"""`homeostat policy`: verdicts, what is expected of policies, and who may; with what exit code."""

import json

import pytest

from homeostat.cli.main import run
from homeostat.core.errors import InvalidInput
from homeostat.hub.wiring import Hub
from homeostat.model.settings import Settings

RUNS = "--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,3 @@\n import os\n+os.system('ls')\n x = 1\n"


def test_the_verdict_is_said_with_place_and_remedy_and_only_a_block_is_a_failure(tmp_path, capsys):
    patch = tmp_path / "a.patch"
    for text, verdict, code in (
        (RUNS, "review", 0),
        (RUNS.replace("os.system('ls')", "y = 2"), "allow", 0),
        (RUNS.replace("x.py", ".env"), "block", 1),
        ("nothing", "block", 1),
    ):
        patch.write_text(text)
        assert run(["policy", "check", "--diff", str(patch)]) == code
        told = capsys.readouterr()
        assert f"verdict: {verdict}" in told.err
        assert "by the built-in policy alone" in told.err and "homeostat patch check" in told.err
        assert ("x.py:2" in told.out) is (verdict == "review")
        assert "risk 0." in told.out or code == 1
        assert run(["policy", "check", "--diff", str(patch), "--json"]) == code
        body = json.loads(capsys.readouterr().out)
        assert body["verdict"] == verdict and bool(body["findings"]) is (verdict != "allow")
        assert 0 <= body["risk"] <= 1 and body["consent"] == {"allow": 2}.get(verdict, 3)
        assert all(0 < factor["share"] <= body["risk"] + 1e-3 and factor["says"] for factor in body["factors"])
        for item in body["findings"]:
            assert set(item) == {"rule", "severity", "confidence", "path", "line", "message", "remedy"}
            assert item["remedy"] and 0 < item["confidence"] <= 1


def test_the_paths_that_a_repository_forbids_count_where_it_is_named(tmp_path, capsys):
    (tmp_path / "homeostat.toml").write_text('[policy]\nforbidden_paths = ["x.py"]\n')
    patch = tmp_path / "a.patch"
    patch.write_text(RUNS.replace("os.system('ls')", "y = 2"))
    assert run(["policy", "check", "--diff", str(patch)]) == 0
    assert run(["policy", "check", "--diff", str(patch), "--repo", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert "no proposal may touch x.py" in told.out
    assert told.err.count("by the built-in policy alone") == 1
    assert run(["policy", "check", "--diff", str(tmp_path / "none")]) == 1
    assert "error[no-patch-file]" in capsys.readouterr().err


@pytest.fixture
def here(repository):
    folder = repository / ".homeostat" / "policies"
    folder.mkdir(mode=0o700, parents=True)
    folder.parent.chmod(0o700)
    return folder


def added(folder, text):
    path = folder / "mine.cedar"
    path.write_text(text)
    path.chmod(0o600)


FROZEN = (
    '@id("billing-is-frozen")\n@says("ask Ada")\n'
    'forbid (principal, action == Action::"approve", resource) when { context.folders.contains("billing") };\n'
)
EXPECTED = """
[[expect]]
who = "person"
does = "approve"
to = { paths = ["billing/vat.py"] }
answer = "deny"
by = "billing-is-frozen"
"""


def test_the_products_own_policies_are_tested_where_nothing_is_added(typed, here):
    answer = typed("policy", "test")
    assert (answer.code, answer.out) == (0, "") and "0 differ" in answer.err
    body = json.loads(typed("policy", "test", "--json").out)
    assert body["ok"] and body["expectations"] > 20 and "people-decide" in body["policies"]


def test_expectations_of_ones_own_are_put_to_all_policies(typed, here, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(EXPECTED)
    answer = typed("policy", "test", str(file))
    assert answer.code == 1 and "expected deny, got allow by people-decide" in answer.out
    added(here, FROZEN)
    assert typed("policy", "test", str(file)).code == 0
    body = json.loads(typed("policy", "test", str(file), "--json").out)
    assert (body["ok"], body["differences"], "billing-is-frozen" in body["policies"]) == (True, [], True)


def test_what_added_policies_change_of_the_products_is_told_and_is_no_failure(typed, here):
    added(here, '@id("quiet")\nforbid (principal is Person, action == Action::"restart", resource);\n')
    answer = typed("policy", "test")
    assert answer.code == 0 and "added policies change" in answer.out and "deny by quiet" in answer.out


def test_a_broken_policy_is_named_with_its_line_by_the_test_by_doctor_and_at_the_start(typed, here):
    added(here, "\n\n" + FROZEN.replace("context.folders", "context.floders"))
    told = "mine.cedar:3: policy billing-is-frozen does not fit the schema"
    answer = typed("policy", "test")
    assert answer.code == 2 and "error[bad-policy]" in answer.err and told in answer.err
    found = {item["name"]: item for item in json.loads(typed("doctor", "--json").out)["diagnoses"]}
    assert found["policies"]["level"] == "fail" and told in found["policies"]["detail"]
    with pytest.raises(InvalidInput, match=r"mine\.cedar:3"):
        Hub(settings=Settings(), repository=here.parents[1], state_dir=here.parent)


def test_expectations_that_cannot_be_read_are_an_error_of_the_caller(typed, here, tmp_path):
    assert typed("policy", "test", str(tmp_path / "none")).code == 1
    (tmp_path / "odd.toml").write_bytes(b"\xff")
    answer = typed("policy", "test", str(tmp_path / "odd.toml"))
    assert answer.code == 2 and "error[bad-expectation]" in answer.err


def test_explain_says_who_may_what_and_by_which_policy(hub, typed):
    identity = hub.submit()
    answer = typed("policy", "explain", identity[:8])
    assert answer.code == 0, answer.err
    lines = [" ".join(line.split()) for line in answer.out.splitlines()]
    assert any(line.startswith("approve allowed people-decide") for line in lines)
    assert any(line.startswith("approve denied agents-never-decide-what-runs") for line in lines)
    assert any("consent level 2" in line for line in lines)
    body = json.loads(typed("policy", "explain", identity, "--json").out)
    assert body["agent"]["who"].startswith("agent-") and body["in_force"] is True
    unknown = typed("policy", "explain", "ffffffff")
    assert unknown.code == 1 and "error[no-such-proposal]" in unknown.err
