"""Documents in the database: canonical JSON with a schema number, written and read field by field.

What is queried stands in columns and not in the document, so that the two cannot disagree. A
document that does not read is an `IntegrityFailure`: nobody but this module writes them.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping

from homeostat.adapters.store.proof_document import decode_proof, encode_proof
from homeostat.adapters.store.row_values import NOT_OURS, flag, malformed, text, texts, whole
from homeostat.adapters.store.tables import from_us, to_us
from homeostat.audit.chain import parse_utc_text, utc_text
from homeostat.core import canonical_json
from homeostat.core.canonical_json import JsonValue
from homeostat.core.digests import Digest
from homeostat.core.ids import ActorId, CommitId, FindingId, ProposalId
from homeostat.model.canary import CanaryStage
from homeostat.model.proposal import (
    Application,
    Category,
    ChangeRef,
    Proposal,
    ProposalState,
    Review,
    Severity,
)

SCHEMA = 1


def encode_proposal(proposal: Proposal) -> dict[str, Any]:
    """Return the columns of a proposal's row, the document among them."""
    change = proposal.change
    document: JsonValue = {
        "schema": SCHEMA,
        "revision": proposal.revision,
        "title": proposal.title,
        "rationale": proposal.rationale,
        "category": proposal.category.value,
        "severity": proposal.severity.value,
        "author": proposal.author,
        "submitted_by": proposal.submitted_by,
        "editors": proposal.editors,
        "state_reason": proposal.state_reason,
        "base_commit": change.base_commit,
        "policy_digest": change.policy_digest,
        "change_digest": change.change_digest,
        "diff": proposal.diff,
        "files": proposal.files,
        "evidence": proposal.evidence,
        "again_after": proposal.again_after,
        "takes_back": proposal.takes_back,
        "provenance": dict(proposal.provenance),
        "proof": None if proposal.proof is None else encode_proof(proposal.proof),
        "review": None if proposal.review is None else _encode_review(proposal.review),
        "apply_requested": proposal.apply_requested,
        "application": None if proposal.application is None else _encode_application(proposal.application),
        "log": proposal.log,
    }
    return {
        "id": proposal.id,
        "state": proposal.state.value,
        "version": proposal.version,
        "diff_digest": change.diff_digest,
        "created_us": to_us(proposal.created_at),
        "updated_us": to_us(proposal.updated_at),
        "finding_id": proposal.finding_id,
        "document": canonical_json.encode(document).decode("utf-8"),
    }


def decode_proposal(row: RowMapping) -> Proposal:
    """Read a row back. `IntegrityFailure` when its document is not one of ours."""
    try:
        document = json.loads(row["document"])
        if document["schema"] != SCHEMA:
            raise ValueError(f"its schema is {document['schema']!r}")
        return _decode(row, document)
    except NOT_OURS as error:
        raise malformed(f"proposal {str(row['id'])[:40]}", error) from error


def _decode(row: RowMapping, document: Mapping[str, Any]) -> Proposal:
    return Proposal(
        id=ProposalId(text(row["id"])),
        version=whole(row["version"]),
        revision=whole(document["revision"]),
        title=text(document["title"]),
        rationale=text(document["rationale"]),
        category=Category(document["category"]),
        severity=Severity(document["severity"]),
        author=text(document["author"]),
        submitted_by=ActorId(text(document["submitted_by"])),
        editors=tuple(map(ActorId, texts(document.get("editors", [])))),  # rows of before have none
        created_at=from_us(row["created_us"]),
        updated_at=from_us(row["updated_us"]),
        state=ProposalState(row["state"]),
        state_reason=text(document["state_reason"]),
        change=ChangeRef(
            base_commit=CommitId(text(document["base_commit"])),
            diff_digest=Digest(text(row["diff_digest"])),
            policy_digest=Digest(text(document["policy_digest"])),
            change_digest=Digest(text(document["change_digest"])),
        ),
        diff=text(document["diff"]),
        files=texts(document["files"]),
        evidence=texts(document["evidence"]),
        finding_id=None if row["finding_id"] is None else FindingId(text(row["finding_id"])),
        again_after=_proposal(document.get("again_after")),  # rows of before have none
        takes_back=_proposal(document.get("takes_back")),
        provenance={text(key): text(value) for key, value in document["provenance"].items()},
        proof=None if document["proof"] is None else decode_proof(document["proof"]),
        review=None if document["review"] is None else _decode_review(document["review"]),
        apply_requested=flag(document["apply_requested"]),
        application=None if document["application"] is None else _decode_application(document["application"]),
        log=texts(document["log"]),
    )


def _encode_review(review: Review) -> JsonValue:
    return {
        "by": review.by,
        "at": utc_text(review.at),
        "decision": review.decision,
        "change_digest": review.change_digest,
        "notes": review.notes,
        "unreviewed": review.unreviewed,
        "label": review.label,
    }


def _decode_review(value: Mapping[str, Any]) -> Review:
    return Review(
        by=ActorId(text(value["by"])),
        at=parse_utc_text(value["at"]),
        decision=text(value["decision"]),
        change_digest=Digest(text(value["change_digest"])),
        notes=text(value["notes"]),
        unreviewed=flag(value["unreviewed"]),
        label=text(value["label"]),
    )


def _encode_application(application: Application) -> JsonValue:
    return {
        "before_commit": application.before_commit,
        "commit": application.commit,
        "backup": application.backup,
        "at": utc_text(application.at),
        "live": application.live,
        "live_detail": application.live_detail,
        "processes": application.processes,
        "on_disk_at": _time_text(application.on_disk_at),
        "canary": None if application.canary is None else _encode_canary(application.canary),
        "observed_from": _time_text(application.observed_from),
        "restart_id": application.restart_id,
        "restart_asked_at": _time_text(application.restart_asked_at),
        "reverting_at": _time_text(application.reverting_at),
        "files_back_at": _time_text(application.files_back_at),
        "reverting_from": None if application.reverting_from is None else application.reverting_from.value,
        "revert_parent": application.revert_parent,
        "revert_commit": application.revert_commit,
        "taken_out_by": application.taken_out_by,
        "revert_reason": application.revert_reason,
        "automatic_revert": application.automatic_revert,
    }


def _decode_application(value: Mapping[str, Any]) -> Application:
    reverting_from = value["reverting_from"]
    return Application(
        before_commit=CommitId(text(value["before_commit"])),
        commit=CommitId(text(value["commit"])),
        backup=text(value["backup"]),
        at=parse_utc_text(value["at"]),
        live=None if value["live"] is None else flag(value["live"]),
        live_detail=text(value["live_detail"]),
        processes=texts(value["processes"]),
        on_disk_at=_time(value.get("on_disk_at")),  # rows of earlier versions have neither this
        canary=_decode_canary(value.get("canary")),  # nor this
        observed_from=_time(value["observed_from"]),
        restart_id=text(value.get("restart_id", "")),
        restart_asked_at=_time(value.get("restart_asked_at")),
        reverting_at=_time(value["reverting_at"]),
        files_back_at=_time(value.get("files_back_at")),  # nor this
        reverting_from=None if reverting_from is None else ProposalState(reverting_from),
        revert_parent=_commit(value["revert_parent"]),
        revert_commit=_commit(value["revert_commit"]),
        taken_out_by=_proposal(value.get("taken_out_by")),  # nor this
        revert_reason=text(value["revert_reason"]),
        automatic_revert=flag(value["automatic_revert"]),
    )


def _encode_canary(stage: CanaryStage) -> JsonValue:
    return {
        "began_at": utc_text(stage.began_at),
        "percent": stage.percent,
        "shadowed": list(stage.shadowed),
        "widened_at": [utc_text(at) for at in stage.widened_at],
        "passed_at": _time_text(stage.passed_at),
    }


def _decode_canary(value: Mapping[str, Any] | None) -> CanaryStage | None:
    if value is None:
        return None
    return CanaryStage(
        began_at=parse_utc_text(value["began_at"]),
        percent=whole(value["percent"]),
        shadowed=tuple(texts(value.get("shadowed", []))),  # rows of before have none
        widened_at=_widenings(value),
        passed_at=_time(value["passed_at"]),
    )


def _widenings(value: Mapping[str, Any]) -> tuple[datetime, ...]:
    if "widened_at" in value:
        return tuple(map(parse_utc_text, texts(value["widened_at"])))
    # Rows of before have the last one alone, or when it began.
    return (parse_utc_text(value["percent_since"]),) if value["percent_since"] != value["began_at"] else ()


def _time_text(at: datetime | None) -> str | None:
    return None if at is None else utc_text(at)


def _time(value: Any) -> datetime | None:
    return None if value is None else parse_utc_text(value)


def _commit(value: Any) -> CommitId | None:
    return None if value is None else CommitId(text(value))


def _proposal(value: Any) -> ProposalId | None:
    return None if value is None else ProposalId(text(value))
