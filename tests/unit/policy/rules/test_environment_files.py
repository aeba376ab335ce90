import pytest
from builders import POLICY, create, rename, tree

from homeostat.model.proof import PolicySeverity
from homeostat.policy.rules.environment_files import RULE


@pytest.mark.parametrize(
    "path",
    [
        "conftest.py",
        "tests/conftest.py",
        ".github/workflows/ci.yml",
        ".gitlab-ci.yml",
        "requirements.txt",
        "requirements-dev.lock",
        "poetry.lock",
        "pyproject.toml",
        "setup.py",
        ".pre-commit-config.yaml",
        "Makefile",
        "Taskfile.yml",
        "buildspec.yml",
        ".cirrus.yml",
        "pytest.toml",
        ".overcommit.yml",
        ".semgrep.yml",
        ".gitleaks.toml",
        ".githooks/pre-commit",
        ".gitattributes",
        "Jenkinsfile",
        "docker-compose.override.yml",
        "deploy/k8s/web.yaml",
        "Dockerfile.prod",
        "requirements/dev.txt",
        "CLAUDE.md",
        "docs/AGENTS.md",
        ".cursor/rules/a.mdc",
    ],
)
def test_files_that_run_or_steer_by_themselves_ask_for_a_review(path):
    found = list(RULE.check(tree(create(path, "x\n")), POLICY))
    assert [(finding.path, finding.severity) for finding in found] == [(path, PolicySeverity.REVIEW)]


def test_the_source_of_a_rename_counts():
    assert [f.path for f in RULE.check(tree(rename("conftest.py", "old.py", "x\n")), POLICY)] == ["conftest.py"]


@pytest.mark.parametrize(
    "path",
    [
        "deploy/app.py",
        "ansible/modules/setup.py",
        "docs/environment.md",
        "src/app.py",
        "docs/makefiles.md",
        "tests/test_a.py",
        "lock.py",
    ],
)
def test_ordinary_files_are_left_alone(path):
    assert list(RULE.check(tree(create(path, "x\n")), POLICY)) == []
