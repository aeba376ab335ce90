"""Limits on what comes from outside, where several modules need the same one.

Each is enforced where the thing is parsed. A limit that one module alone needs stands there; that of
a frame between agent and hub is `homeostat_agent.protocol.MAX_FRAME_BYTES`, because both ends keep it.
"""

MAX_DIFF_BYTES = 1 << 20
"""One proposal is a small change: a megabyte of unified diff at most."""

MAX_DIFF_FILES = 100
MAX_TITLE_CHARS = 200
MAX_TEXT_CHARS = 20_000
"""Rationale, and each item of evidence."""

MAX_EVIDENCE_ITEMS = 100
MAX_UNDECIDED = 200
"""Proposals that wait for proof or decision, above which agents can add no more."""

MAX_REVISIONS = 100
"""Revisions of one proposal; each leaves some lines in its log."""

MAX_RECORD_BYTES = 16 << 20
"""A Markdown record in Git, which has the diff and all texts in it; what is larger was not written by us."""

MAX_BATCH_APPLY = 10
"""Proposals in one batch-apply request (the source document's limit)."""

MAX_HTTP_BODY_BYTES = 8 << 20
"""A request body, as it is sent and once more as it is inflated."""

MAX_HTTP_BODY_S = 30.0
"""From the head of a request to the end of its body."""

MAX_HTTP_HEAD_BYTES = 32 << 10
"""Request line and headers together; nobody who may call needs a tenth of it."""

MAX_HTTP_HEAD_S = 10.0
MAX_HTTP_CONNECTIONS = 256
"""At one time; then the one that waits longest for a request makes room, and where all are at work the next is told
to come again (503)."""

MAX_OTLP_RECORDS = 20_000
MAX_ERROR_TEMPLATES = 10_000
MAX_BATCHES_REMEMBERED = 20_000
"""Batches of errors that are known again when they are sent again; a retry comes within minutes."""

MAX_SAMPLES_PER_TEMPLATE = 20
MAX_SAMPLES_PER_CALL = 2
"""Samples of one group that one request can add: a storm of one error needs no twenty rewritten at each."""

MAX_POLICIES = 1_000
MAX_POLICY_FILE_CHARS = 256 << 10
MAX_POLICY_CHARS = 8 << 10
MAX_POLICY_NESTING = 32
"""Brackets within brackets, and `if`s, of one Cedar policy: its parser goes as deep as the text does."""

MAX_DIFF_HUNKS = 2_000
MAX_PATCHED_BYTES = 16 << 20
"""All files together that one patch is resolved against."""

MAX_PATCH_SEARCH_BYTES = 256 << 20
"""Bytes looked through to find shifted places of one patch's hunks: a second of work at most."""
