"""What the rules made of a change, as plain values: one form for the command line and the HTTP interface."""

from typing import Any

from homeostat.model.proof import PolicyFinding
from homeostat.model.risk import Risk
from homeostat.policy.check import PolicyDecision


def told_decision(decision: PolicyDecision) -> dict[str, Any]:
    """Tell the verdict, the risk with its shares, the consent level, and every finding."""
    risk = told_risk(decision.risk)
    return {
        "verdict": decision.verdict,
        "risk": risk.pop("score"),
        **risk,
        "findings": [told_finding(item) for item in decision.findings],
    }


def told_risk(risk: Risk) -> dict[str, Any]:
    """Tell a risk with every share of it."""
    return {
        "score": risk.score,
        "consent": int(risk.consent),
        "factors": [{"name": item.name, "share": item.share, "says": item.says} for item in risk.factors],
    }


def told_finding(item: PolicyFinding) -> dict[str, Any]:
    """Tell one finding of a rule."""
    return {
        "rule": item.rule,
        "severity": item.severity.value,
        "confidence": item.confidence,
        "path": item.path,
        "line": item.line,
        "message": item.message,
        "remedy": item.remedy,
    }
