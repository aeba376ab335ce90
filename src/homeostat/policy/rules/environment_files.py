"""Files that run code or steer tools without being called: a person should look twice."""

import re
from collections.abc import Iterable

from homeostat.model.change import TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.policy.document import PolicyDocument
from homeostat.policy.rules.shape import Rule

_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("runs in every test", re.compile(r"(?i)(?:.*/)?conftest\.py")),
    (
        "steers continuous integration",
        re.compile(
            r"(?i)\.(?:github|gitlab|circleci|ci|azure-pipelines|buildkite|woodpecker|drone|travis|cirrus|semaphore|forgejo|gitea)(?:/.*|(?:-ci)?\.ya?ml)?"
            r"|(?:.*/)?(?:jenkinsfile[^/]*|(?:azure-|bitbucket-)?pipelines?\.ya?ml|(?:cloudbuild|appveyor|codecov|action|renovate|dependabot|buildspec)\.(?:ya?ml|json5?))"
            r"|(?:.*/)?\.?(?:codecov|coveragerc|appveyor)(?:\.ya?ml)?|(?:.*/)?(?:ci|\.ci|workflows)/.*"
        ),
    ),
    (
        "is a hook, or says which ones run",
        re.compile(
            r"(?i)(?:.*/)?(?:\.pre-commit-(?:config|hooks)\.ya?ml|\.husky/.*|\.?(?:git)?hooks/.*|\.?lefthook\.ya?ml|package\.json"
            r"|\.overcommit\.ya?ml|\.gitattributes|\.gitmodules|\.gitconfig|\.envrc|\.vscode/.*|\.idea/.*|\.devcontainer/.*|\.(?:bash|zsh)?(?:rc|profile))"
        ),
    ),
    (
        "tells coding agents what to do",
        re.compile(
            r"(?i)(?:.*/)?(?:claude|agents|gemini|copilot-instructions|conventions)\.md"
            r"|(?:.*/)?\.(?:cursorrules|windsurfrules|clinerules|cursor/.*|claude/.*|mcp\.json|aider[^/]*)"
        ),
    ),
    (
        "decides what is installed",
        re.compile(
            r"(?i)(?:.*/)?(?:(?:[\w.-]*[_-])?(?:requirements|constraints)[^/]*\.(?:txt|in|lock)|requirements/.*|[^/]*\.lock|pylock[^/]*\.toml|package-lock\.json|pnpm-lock\.yaml|pixi\.toml"
            r"|pipfile|(?:environment|conda)[^/]*\.ya?ml|\.?pip\.conf|\.pypirc|\.npmrc)"
        ),
    ),
    (
        "decides how the project is built and tested",
        re.compile(
            r"(?i)(?:.*/)?(?:pyproject\.toml|setup\.cfg|tox\.ini|noxfile\.py|\.?pytest\.(?:ini|toml)|taskfile\.ya?ml|makefile|(?:gnu)?makefile|justfile|tasks\.py"
            r"|manifest\.in|meson\.build|cmakelists\.txt|\.?mypy\.ini|sonar-project\.properties|\.snyk|\.trivyignore|\.secrets\.baseline|\.?ruff\.toml|\.flake8|\.pylintrc|\.semgrep[^/]*|\.?gitleaks[^/]*|\.coveragerc|\.bandit|bandit\.ya?ml|dodo\.py|fabfile\.py)"
            r"|(?:[^/]+/|(?:packages|services|libs?|src)/[^/]+/)?setup\.py"
        ),
    ),
    (
        "decides what runs where, or with what rights",
        re.compile(
            r"(?i)(?:.*/)?(?:(?:docker-)?compose[^/]*\.ya?ml|dockerfile[^/]*|[^/]*\.dockerfile|containerfile|\.env(?:\.[^/]*)?|[^/]*\.(?:env|service|timer|socket)"
            r"|[^/]*\.tf(?:vars)?|nginx[^/]*\.conf|supervisord?\.conf|crontab|procfile|vagrantfile|fly\.toml|render\.yaml|serverless\.ya?ml|sudoers[^/]*"
            r"|(?:k8s|kubernetes|helm|terraform|ansible|deploy)/.*\.(?:ya?ml|json|toml|conf|sh|j2|tpl|hcl))"
        ),
    ),
)


def _check(change: TreeChange, document: PolicyDocument) -> Iterable[PolicyFinding]:
    for path in change.touched_paths:
        for meaning, pattern in _KINDS:
            if pattern.fullmatch(path):
                yield PolicyFinding(
                    rule="environment-files",
                    severity=PolicySeverity.REVIEW,
                    path=path,
                    line=None,
                    message=f"this file {meaning}",
                    remedy="check that the change is meant, and that the reason given covers it",
                )


RULE = Rule(id="environment-files", summary="Files that run or steer by themselves are pointed out", check=_check)
