import pytest
from builders import POLICY, create, delete, modify, rename, tree

from homeostat.policy.rules.forbidden_paths import RULE


def _blocked(change):
    return [finding.path for finding in RULE.check(change, POLICY)]


@pytest.mark.parametrize(
    "path",
    [
        "docker-compose.yml",
        ".env",
        ".env.example",
        "SYSTEM_CONTRACT.md",
        "tools-gateway/main.py",
        "tools-gateway/actions.yaml",
        "rag-ingestion/ingest.py",
        "agents/provision.py",
        "agents/generate_api_key.py",
        "homeostat.toml",
        ".homeostat/keys/x",
        "deep/down/.env",
        "services/agents/provision.py",
        "Docker-Compose.YML",
        "system_contract.md",
        ".ENV",
        "\uff0eenv",
        ".env/inside",
        "x.pth",
        ".venv/lib/python3.11/site-packages/x.pth",
        "src/sitecustomize.py",
        "usercustomize.py",
        "venv/bin/activate",
        "sub/.homeostat/ledger-head.json",
    ],
)
def test_forbidden_paths_are_blocked_wherever_and_however_they_are_spelled(path):
    assert _blocked(tree(create(path, "x\n"))) == [path]


def test_every_kind_of_change_is_blocked():
    assert _blocked(tree(delete(".env", "x\n"))) == [".env"]
    assert _blocked(tree(modify(".env", "x\n", "y\n"))) == [".env"]


def test_renaming_away_from_or_onto_a_forbidden_path_is_blocked():
    assert _blocked(tree(rename(".env", "notes.txt", "x\n"))) == [".env"]
    assert _blocked(tree(rename("notes.txt", ".env", "x\n"))) == [".env"]


@pytest.mark.parametrize(
    "path",
    ["environment.py", "my.env.py", "docker-compose.yml.md", "tools/main.py", "x.env"],
)
def test_paths_that_only_look_similar_are_left_alone(path):
    assert _blocked(tree(create(path, "x\n"))) == []
