"""The hub's second cleaning: the same table, other engine, whole batches."""

import pytest
from homeostat_agent.redact import clean_text

from homeostat.core.limits import MAX_TEXT_CHARS
from homeostat.telemetry.redact import HAS_RE2, clean, clean_all


def test_re2_is_here_where_the_hub_is_installed_with_its_dependencies() -> None:
    assert HAS_RE2


@pytest.mark.parametrize(
    "text",
    ["", "plain", "mail a@b.org", "password=x and 8.8.8.8", "é a@b.org /home/al/x/y", "\ud800 token=abc123def456"],
)
def test_hub_and_agent_clean_alike(text: str) -> None:
    assert clean(text) == clean_text(text)


def test_text_is_cut_at_the_limit_for_texts() -> None:
    assert len(clean("word " * MAX_TEXT_CHARS)) == MAX_TEXT_CHARS


def test_a_batch_is_cleaned_item_by_item_and_in_order() -> None:
    texts = ["a@b.org", "plain", "a@b.org", "8.8.8.8"]
    assert clean_all(texts) == ["[EMAIL]", "plain", "[EMAIL]", "[EXTERNAL_IP]"]
    assert clean_all([]) == []
