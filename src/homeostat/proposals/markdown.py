"""The Markdown record of one proposal, in the format of the source document.

The first six header fields and the headings are that format to the letter, so that other readers of
it keep working. What else we know (finer state, revision, digests) stands in further header lines.
Text of others (title, rationale, evidence, notes, diff) can never forge a heading, a field, a fence
or HTML: it is escaped, or stands in a fence longer than any run of backticks in it. People appear
by pseudonym only. The same proposal always gives the same bytes.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from homeostat.core.digests import digest_bytes
from homeostat.core.errors import InvalidInput
from homeostat.core.ids import ProposalId, parse_proposal_id
from homeostat.model.proof import PolicyFinding, PolicySeverity, ProofReport, ProofVerdict
from homeostat.model.proposal import FIRST_TITLE, STATUS_OF, Category, Proposal
from homeostat.model.risk import Risk
from homeostat.proposals.escape import block, code_span, fenced, inline, item

_TOLD = {
    "Root Cause Analysis": "root_cause",
    "Proposed Solution": "proposed_solution",
    "Performance Impact": "performance_impact",
    "User Benefit": "user_benefit",
}
"""Sections whose text a proposer may give under these keys of `Proposal.provenance`."""

_EXTRA_SECTION = {Category.OPTIMIZATION: "Performance Impact", Category.ENHANCEMENT: "User Benefit"}
_EXTRA_QUESTION = {
    Category.OPTIMIZATION: "<How much, and how it was measured>",
    Category.ENHANCEMENT: "<Who gains what>",
}
_NOT_TOLD = "Not stated apart from the problem statement."
_MAX_SLUG_CHARS = 48
_MAX_REASON_CHARS = 500
_MAX_HEADER_BYTES = 16_384
_SEAL = b"\n<!-- Homeostat wrote this from its store; edits are put aside. "
_HEADER_LINE = re.compile(r"\*\*([A-Za-z ]+)\*\*: (.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordHeader:
    """What the header of a record says."""

    id: ProposalId
    status: str
    fields: Mapping[str, str]
    """Every header line as it stands there, escapes included."""


def record_path(proposal: Proposal) -> str:
    """Return where the record stands on the branch: ``proposals/YYYY/MM/<uuid>-short-title.md``.

    It never changes over a proposal's life. Should a revision bring another title, the first one
    must be kept in ``provenance["first_title"]``, and goes on naming the file.
    """
    slug = _slug(proposal.provenance.get(FIRST_TITLE, proposal.title))
    return f"proposals/{month_of(proposal)}/{parse_proposal_id(proposal.id)}-{slug}.md"


def month_of(proposal: Proposal) -> str:
    """Return the month a proposal was made in, ``YYYY/MM``: the folder of its record."""
    return proposal.created_at.astimezone(UTC).strftime("%Y/%m")


def render(proposal: Proposal) -> bytes:
    """Return the record of a proposal as it is now."""
    extra = _EXTRA_SECTION.get(proposal.category)
    sections: list[tuple[str, str]] = [
        ("Problem Statement", block(proposal.rationale) or "Not stated."),
        ("Evidence", _evidence(proposal)),
        ("Root Cause Analysis", _told(proposal, "Root Cause Analysis")),
        ("Proposed Solution", _told(proposal, "Proposed Solution")),
        *(((extra, _told(proposal, extra)),) if extra is not None else ()),
        ("Unified Diff", fenced(proposal.diff, "diff")),
        ("Affected Files", _bullets([code_span(path) for path in proposal.files]) or "None."),
        ("Risk Assessment", _risk(proposal)),
        ("Rollback Plan", _rollback(proposal)),
        ("Validation Checklist", _checklist(proposal)),
    ]
    body = "\n\n".join(f"## {heading}\n{text}" for heading, text in sections)
    log = _bullets([item(line) for line in proposal.log]) or "Nothing yet."
    page = (
        f"{_header(proposal)}\n\n---\n\n{body}\n\n---\n\n## Review\n\n{_review(proposal)}"
        f"\n\n---\n\n## Implementation Log\n\n{log}\n"
    )
    written = page.encode("utf-8", "replace")
    return written + _seal(written)


def is_as_written(record: bytes) -> bool:
    """Tell whether a record is one that `render` made and nobody touched since.

    It guards against mistakes, not against deceit: whoever edits may write the last line anew. The row is the truth.
    """
    body, mark, _ = record.rpartition(_SEAL)
    return bool(mark) and record == body + _seal(body)


def edited_path(proposal_id: ProposalId, record: bytes) -> str:
    """Return where a person's version of a record is kept when the next status commit puts ours in its place."""
    return f"proposals/edited/{parse_proposal_id(proposal_id)}-{digest_bytes(record).removeprefix('sha256:')[:12]}.md"


def _seal(body: bytes) -> bytes:
    return _SEAL + digest_bytes(body).encode("ascii") + b" -->\n"


def parse_header(record: bytes) -> RecordHeader:
    """Read back the header of a record; `InvalidInput` (``bad-record``) when it has none."""
    start = record[:_MAX_HEADER_BYTES].replace(b"\r\n", b"\n")
    head, rule, _ = start.partition(b"\n---\n")
    lines = head.decode("utf-8", "replace").split("\n")
    if not rule or not lines[0].startswith("# Proposal: "):
        raise InvalidInput("bad-record", "this is not the record of a proposal")
    fields: dict[str, str] = {}
    for line in lines[1:]:
        found = _HEADER_LINE.fullmatch(line.rstrip())
        if found:
            if found.group(1) in fields:
                raise InvalidInput("bad-record", f"the header has two lines {found.group(1)!r}")
            fields[found.group(1)] = found.group(2)
        elif line.strip():
            raise InvalidInput("bad-record", f"{line[:60]!r} is not a line of a header")
    status = fields.get("Status", "")
    if "ID" not in fields or status not in STATUS_OF.values():
        raise InvalidInput("bad-record", "the header has no ID, or no status that is known")
    return RecordHeader(id=parse_proposal_id(fields["ID"]), status=status, fields=fields)


def templates() -> Mapping[str, bytes]:
    """Return the blank form of each category, as ``proposals/templates/<category>.md``."""
    return {f"proposals/templates/{category.value}.md": _template(category) for category in Category}


def _header(proposal: Proposal) -> str:
    state = proposal.state.value
    if proposal.state_reason:
        state += f" ({inline(proposal.state_reason[:_MAX_REASON_CHARS])})"
    fields = {
        "ID": str(proposal.id),
        "Created": time_text(proposal.created_at),
        "Status": proposal.status,
        "Category": proposal.category.value,
        "Severity": proposal.severity.value,
        "Author": inline(proposal.author) or str(proposal.submitted_by),
        "State": state,
        "Updated": time_text(proposal.updated_at),
        "Submitted by": str(proposal.submitted_by),
        "Revision": str(proposal.revision),
        **({"Edited by": ", ".join(proposal.editors)} if proposal.editors else {}),
        "Base commit": str(proposal.change.base_commit),
        "Change digest": str(proposal.change.change_digest),
        **({"Finding": str(proposal.finding_id)} if proposal.finding_id is not None else {}),
    }
    lines = "\n".join(f"**{key}**: {value}" for key, value in fields.items())
    return f"# Proposal: {inline(proposal.title) or 'untitled'}\n\n{lines}"


def _evidence(proposal: Proposal) -> str:
    items = [block(text).replace("\n", "\n  ") for text in proposal.evidence]
    if proposal.finding_id is not None:
        items.insert(0, f"Finding: {code_span(proposal.finding_id)}")
    return _bullets([text for text in items if text]) or "None given."


def _told(proposal: Proposal, section: str) -> str:
    return block(proposal.provenance.get(_TOLD[section], "")) or _NOT_TOLD


def _risk(proposal: Proposal) -> str:
    proof = proposal.proof
    if proof is None:
        return "Not assessed yet: validation has not come to an end."
    lines = [] if proof.risk is None else _shares(proof.risk)
    lines += [f"Validation: {proof.verdict.value}"] + [item(reason) for reason in proof.reasons]
    lines += [item(f"tried again after this: {death}") for death in proof.deaths]
    for finding in proof.policy:
        place = finding.path if finding.line is None else f"{finding.path}:{finding.line}"
        where = f"{code_span(finding.rule)} at {code_span(place)}"
        lines.append(f"Policy, {finding.severity.value}, {where}: {inline(finding.message)}")
    return _bullets(lines)


def _shares(risk: Risk) -> list[str]:
    whole = f"Risk: {risk.score:.2f} of 1, consent level {risk.consent:d}"
    return [whole] + [item(f"{one.share:.2f} {one.name}: {one.says}") for one in risk.factors]


def _rollback(proposal: Proposal) -> str:
    commit = proposal.application.commit if proposal.application is not None else "<commit-sha>"
    return (
        f"```bash\ngit revert {commit}\n```\n"
        f"Or `homeostat revert {proposal.id}`, which takes it out of running processes too."
    )


def _checklist(proposal: Proposal) -> str:
    files = [path.lower() for path in proposal.files]
    has_yaml = any(path.endswith((".yaml", ".yml")) for path in files)
    has_json = any(path.endswith(".json") for path in files)
    findings = _policy_findings(proposal.proof)
    blocked = any(finding.severity is PolicySeverity.BLOCK for finding in findings or ())
    forbidden = any(finding.rule == "forbidden-paths" for finding in findings or ())
    not_looked_at = "" if findings is not None else "not run"
    # A box is ticked only for what was looked at and found good; where nothing was looked at it stays open.
    boxes = [
        (False, "yamllint passes", "not run" if has_yaml else "not applicable: no YAML file is changed"),
        (False, "JSON schema valid (if applicable)", "not run" if has_json else "not applicable"),
        (findings is not None and not blocked, "Policy tests pass", not_looked_at),
        (findings is not None and not forbidden, "No forbidden paths modified", not_looked_at),
        _tests_box(proposal.proof),
    ]
    return "\n".join(
        f"- [{'x' if done else ' '}] {text}" + (f" ({note})" if note else "") for done, text, note in boxes
    )


def _policy_findings(proof: ProofReport | None) -> Sequence[PolicyFinding] | None:
    """Return what policy found; None unless something shows that it was asked (the runs come after it)."""
    if proof is None:
        return None
    asked = proof.policy or proof.candidate is not None or proof.verdict is ProofVerdict.PASSED
    return proof.policy if asked else None


def _tests_box(proof: ProofReport | None) -> tuple[bool, str, str]:
    text = "The host's own tests pass in the sandbox"
    if proof is None or proof.candidate is None:
        return False, text, "not run"
    return proof.verdict is ProofVerdict.PASSED, text, f"{proof.verdict.value}, {inline(proof.sandbox) or 'no sandbox'}"


def _review(proposal: Proposal) -> str:
    review = proposal.review
    fields = {
        "Reviewed by": "" if review is None else str(review.by),
        "Reviewed at": "" if review is None else time_text(review.at),
        "Decision": "" if review is None else inline(review.decision),
        "Notes": "" if review is None else inline(review.notes),
    }
    if review is not None:
        fields["Change digest seen"] = str(review.change_digest)
        if review.unreviewed:
            fields["Unreviewed"] = "the one who approved is the one who proposed; nobody else looked"
    return "\n".join(f"**{key}**: {value}".rstrip() for key, value in fields.items())


def _template(category: Category) -> bytes:
    extra = _EXTRA_SECTION.get(category)
    asked = [
        ("Problem Statement", "<What is broken or suboptimal>"),
        ("Evidence", "- Telemetry event count: X failures in Y hours\n- Error pattern: <redacted error string>"),
        ("Root Cause Analysis", "<Why this is happening>"),
        ("Proposed Solution", "<What to change>"),
        *(((extra, _EXTRA_QUESTION[category]),) if extra is not None else ()),
        ("Unified Diff", "```diff\n```"),
        ("Affected Files", "- `path/to/file.py`"),
        ("Risk Assessment", "<What could go wrong>"),
        ("Rollback Plan", "```bash\ngit revert <commit-sha>\n```"),
        (
            "Validation Checklist",
            "- [ ] yamllint passes\n- [ ] JSON schema valid (if applicable)\n- [ ] Policy tests pass\n"
            "- [ ] No forbidden paths modified",
        ),
    ]
    fields = ("<uuid>", "<timestamp>", "pending", category.value, "critical | high | medium | low", "<author>")
    names = ("ID", "Created", "Status", "Category", "Severity", "Author")
    header = "\n".join(f"**{name}**: {value}" for name, value in zip(names, fields, strict=True))
    body = "\n\n".join(f"## {heading}\n{text}" for heading, text in asked)
    review = "**Reviewed by**: \n**Reviewed at**: \n**Decision**: approved | rejected\n**Notes**: "
    page = (
        f"# Proposal: <title>\n\n{header}\n\n---\n\n{body}\n\n---\n\n## Review\n\n{review}"
        "\n\n---\n\n## Implementation Log\n\n<Populated after implementation>\n"
    )
    return page.encode()


def _bullets(items: Sequence[str]) -> str:
    return "\n".join(f"- {text}" for text in items)


def time_text(at: datetime) -> str:
    """Return a time as the header has it; later ones compare as greater."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _slug(title: str) -> str:
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", plain)
    slug = ""
    for word in words:
        longer = f"{slug}-{word}" if slug else word[:_MAX_SLUG_CHARS]
        if len(longer) > _MAX_SLUG_CHARS:
            break
        slug = longer
    return slug or "change"
