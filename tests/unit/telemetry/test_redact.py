"""The hub's second cleaning: the same table, other engine, whole batches."""

import pytest
from homeostat_agent.redact import clean_text

from homeostat.core.limits import MAX_TEXT_CHARS
from homeostat.telemetry.redact import HAS_RE2, clean, clean_all
from homeostat.testing.secret_lines import ORDINARY_LINES, leaks, secret_lines


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


def test_no_labelled_secret_is_left_by_hub_or_agent() -> None:
    labelled = list(secret_lines())
    assert len(labelled) > 800
    assert [item.text for item in labelled if leaks(clean(item.text), item.secret)] == []
    assert all(clean(item.text) == clean_text(item.text) for item in labelled)


def test_what_is_left_of_a_secret_would_be_seen() -> None:
    assert leaks("key abcd1234 left", "xxabcd1234yy")
    assert leaks("pw s3cr", "s3cr")
    assert not leaks("key [REDACTED_KEY] left", "xxabcd1234yy")


def test_ordinary_lines_that_speak_of_keys_and_tokens_stay_as_they_are() -> None:
    changed = {line: clean(line) for line in ORDINARY_LINES if "REDACTED" in clean(line)}
    assert changed == {}


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("ENV DB_PASSWORD s3cr3t!x", "ENV DB_PASSWORD [REDACTED_KEY]"),
        ("('X-Api-Key', 'f3a9c1d27b')", "('X-Api-Key', '[REDACTED_KEY]')"),
        ("set_password('s3cr3t!x')", "set_password('[REDACTED_KEY]')"),
        ('<add key="ApiKey" value="s3cr3t9xx"/>', '<add key="ApiKey" value="[REDACTED_KEY]"/>'),
        ("sshpass -p s3cr3t!x ssh host", "sshpass -p [REDACTED_KEY] ssh host"),
        ("password%3Ds3cr3t9x", "password%3D[REDACTED_KEY]"),
        ("password: user not found", "password: user not found"),
        ("password: hunter", "password: [REDACTED_KEY]"),
        ("key in ['password', 'email']", "key in ['password', 'email']"),
        ("session 0x14f05578bd80003 expired", "session 0x14f05578bd80003 expired"),
        ("verification code: 482913", "verification code: [REDACTED_KEY]"),
        ("exit code: 482913", "exit code: 482913"),
        ("v1.2.3.4.5 from 8.8.8.8", "v1.2.3.4.5 from [EXTERNAL_IP]"),
        ("SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8", "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8"),
    ],
)
def test_the_surroundings_of_a_value_decide(text: str, cleaned: str) -> None:
    assert clean(text) == clean_text(text) == cleaned
