"""Running every rule over a change. An empty rule set blocks; a rule that raises blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from homeostat.model.change import TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.model.risk import Risk
from homeostat.policy.document import PolicyDocument
from homeostat.policy.risk import Evidence, assess
from homeostat.policy.rules import RULES
from homeostat.policy.rules.shape import Rule

Verdict = Literal["allow", "review", "block"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDecision:
    verdict: Verdict
    findings: tuple[PolicyFinding, ...]
    risk: Risk

    @classmethod
    def of(cls, findings: Sequence[PolicyFinding], change: TreeChange) -> "PolicyDecision":
        """Return the decision that these findings of a change lead to: the worst one decides."""
        severities = {finding.severity for finding in findings}
        verdict: Verdict = "allow"
        if PolicySeverity.BLOCK in severities:
            verdict = "block"
        elif PolicySeverity.REVIEW in severities:
            verdict = "review"
        return cls(verdict=verdict, findings=tuple(findings), risk=assess(change, findings, Evidence()))


def check_change(document: PolicyDocument, change: TreeChange, *, rules: Sequence[Rule] = RULES) -> PolicyDecision:
    """Let every rule look at the change; the worst finding decides."""
    if not rules or not change.files:
        what = "there are no policy rules" if not rules else "the change touches no file"
        return PolicyDecision.of((_gate_finding("policy", f"{what}: nothing was judged"),), change)
    findings: list[PolicyFinding] = []
    for rule in rules:
        try:
            findings += rule.check(change, document)
        except Exception as error:  # INVARIANT: an error inside a gate denies
            findings.append(_gate_finding(rule.id, f"the rule failed ({type(error).__name__}), so it denies"))
    return PolicyDecision.of(findings, change)


def _gate_finding(rule: str, message: str) -> PolicyFinding:
    return PolicyFinding(
        rule=rule, severity=PolicySeverity.BLOCK, path="", line=None, message=message, remedy="report this as a bug"
    )
