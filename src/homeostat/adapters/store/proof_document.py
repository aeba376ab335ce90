"""The report of a proof within a proposal's document."""

from collections.abc import Mapping
from typing import Any

from homeostat.core.canonical_json import JsonValue
from homeostat.model.proof import PolicyFinding, PolicySeverity, ProofReport, ProofVerdict, TestRun
from homeostat.model.risk import ConsentLevel, Risk, RiskFactor


def encode_proof(report: ProofReport) -> JsonValue:
    return {
        "verdict": report.verdict.value,
        "reasons": report.reasons,
        "policy": [_encode_finding(finding) for finding in report.policy],
        "sandbox": report.sandbox,
        "base": None if report.base is None else _encode_run(report.base),
        "candidate": None if report.candidate is None else _encode_run(report.candidate),
        "fixed_tests": report.fixed_tests,
        "broken_tests": report.broken_tests,
        "added_tests": report.added_tests,
        "removed_tests": report.removed_tests,
        "duration_ms": report.duration_ms,
        "deaths": report.deaths,
        "risk": None if report.risk is None else _encode_risk(report.risk),
        "evidence": report.evidence,
        "evidence_key": report.evidence_key,
    }


def decode_proof(value: Mapping[str, Any]) -> ProofReport:
    return ProofReport(
        verdict=ProofVerdict(value["verdict"]),
        reasons=tuple(value["reasons"]),
        policy=tuple(_decode_finding(finding) for finding in value["policy"]),
        sandbox=value["sandbox"],
        base=None if value["base"] is None else _decode_run(value["base"]),
        candidate=None if value["candidate"] is None else _decode_run(value["candidate"]),
        fixed_tests=tuple(value["fixed_tests"]),
        broken_tests=tuple(value["broken_tests"]),
        added_tests=tuple(value["added_tests"]),
        removed_tests=tuple(value["removed_tests"]),
        duration_ms=value["duration_ms"],
        deaths=tuple(value.get("deaths", ())),
        risk=None if value.get("risk") is None else _decode_risk(value["risk"]),
        evidence=value.get("evidence", ""),  # rows of before have none
        evidence_key=value.get("evidence_key", ""),
    )


def _encode_finding(finding: PolicyFinding) -> JsonValue:
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "path": finding.path,
        "line": finding.line,
        "message": finding.message,
        "remedy": finding.remedy,
        "confidence_permille": _permille(finding.confidence),
    }


def _decode_finding(value: Mapping[str, Any]) -> PolicyFinding:
    return PolicyFinding(
        rule=value["rule"],
        severity=PolicySeverity(value["severity"]),
        path=value["path"],
        line=value["line"],
        message=value["message"],
        remedy=value["remedy"],
        confidence=value.get("confidence_permille", 1000) / 1000,
    )


def _encode_risk(risk: Risk) -> JsonValue:
    factors: list[JsonValue] = [
        {"name": one.name, "share_permille": _permille(one.share), "says": one.says} for one in risk.factors
    ]
    return {"score_permille": _permille(risk.score), "consent": int(risk.consent), "factors": factors}


def _decode_risk(value: Mapping[str, Any]) -> Risk:
    return Risk(
        score=value["score_permille"] / 1000,
        consent=ConsentLevel(value["consent"]),
        factors=tuple(
            RiskFactor(name=one["name"], share=one["share_permille"] / 1000, says=one["says"])
            for one in value["factors"]
        ),
    )


def _permille(share: float) -> int:
    """Return a share in thousandths: canonical JSON has no fractions."""
    return round(1000 * share)


def _encode_run(run: TestRun) -> JsonValue:
    return {
        "exit_code": run.exit_code,
        "timed_out": run.timed_out,
        "duration_ms": run.duration_ms,
        "outcomes": dict(run.outcomes),
        "output_tail": run.output_tail,
        "ran_from_candidate": run.ran_from_candidate,
        "problem": run.problem,
    }


def _decode_run(value: Mapping[str, Any]) -> TestRun:
    return TestRun(
        exit_code=value["exit_code"],
        timed_out=value["timed_out"],
        duration_ms=value["duration_ms"],
        outcomes=dict(value["outcomes"]),
        output_tail=value["output_tail"],
        ran_from_candidate=value["ran_from_candidate"],
        problem=value["problem"],
    )
