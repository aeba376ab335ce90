"""The policy in force: what is configured, its version, and the digest that approvals bind."""

from dataclasses import dataclass

from homeostat.core.canonical_json import encode
from homeostat.core.digests import Digest, digest_bytes
from homeostat.core.errors import InvalidInput
from homeostat.model.settings import PolicySettings

RULES_VERSION = 8
"""Counted up when a rule changes its mind about some patch: then old approvals no longer stand."""

FORBIDDEN_FILES = (
    "docker-compose.yml",
    ".env",
    ".env.example",
    "SYSTEM_CONTRACT.md",
    "tools-gateway/main.py",
    "tools-gateway/actions.yaml",
    "rag-ingestion/ingest.py",
    "agents/provision.py",
    "agents/generate_api_key.py",
)
"""Section 3.1 of the source plan (SPEC Y01); each also where the tree has it in a subfolder."""

OWN_FILES = ("homeostat.toml", ".homeostat/**")
"""The system cannot change its own settings, keys or ledger through a proposal."""

RUNS_UNASKED = (
    "*.pth",
    "sitecustomize.py",
    "sitecustomize/**",
    "usercustomize.py",
    "usercustomize/**",
    ".venv/**",
    "venv/**",
    "site-packages/**",
    "dist-packages/**",
)
"""What every interpreter of the host would run at its start, and the environments it lives in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDocument:
    """What the rules are given. `forbidden` are glob patterns on whole, normalised paths."""

    rules_version: int
    forbidden: tuple[str, ...]
    max_files: int
    max_changed_lines: int
    authorization: Digest | None = None
    """Of the policies on who may do what. None: the rules are asked alone, and nobody approves by them."""

    @property
    def digest(self) -> Digest:
        return digest_bytes(
            encode(
                {
                    "rules_version": self.rules_version,
                    "forbidden": list(self.forbidden),
                    "max_files": self.max_files,
                    "max_changed_lines": self.max_changed_lines,
                    **({} if self.authorization is None else {"authorization": self.authorization}),
                }
            )
        )


def policy_in_force(settings: PolicySettings, *, authorization: Digest | None = None) -> PolicyDocument:
    """Join the built-in patterns, which cannot be removed, with the configured ones."""
    for pattern in settings.forbidden_paths:
        if not pattern.strip() or pattern.startswith("/") or ".." in pattern.split("/"):
            raise InvalidInput(
                "bad-setting", f"policy.forbidden_paths: {pattern!r} is not a path or glob inside the repository"
            )
    return PolicyDocument(
        rules_version=RULES_VERSION,
        forbidden=(*FORBIDDEN_FILES, *OWN_FILES, *RUNS_UNASKED, *settings.forbidden_paths),
        max_files=20,
        max_changed_lines=400,
        authorization=authorization,
    )
