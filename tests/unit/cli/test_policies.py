"""`homeostat policy check`: the verdict, why, and the exit code; no hub is needed."""

import json

from homeostat.cli.main import run

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
    assert "no proposal may touch x.py" in capsys.readouterr().out
    assert run(["policy", "check", "--diff", str(tmp_path / "none")]) == 1
    assert "error[no-patch-file]" in capsys.readouterr().err
