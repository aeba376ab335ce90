"""What must hold for every ledger: one encoding, and no change that goes unseen."""

import json
import tempfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import msgspec
from empty_database import put_empty_database
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import structs

from homeostat.adapters.keys import Ed25519Signer
from homeostat.adapters.store import SqlStore
from homeostat.audit.chain import (
    EMPTY_HEAD,
    ChainBroken,
    ChainIntact,
    append,
    entry_bytes,
    head_of,
    parse_utc_text,
    utc_text,
    verify_integrity,
)
from homeostat.audit.head import compare_head, encode_head, parse_head
from homeostat.core import canonical_json
from homeostat.model.ledger import EntryDraft, LedgerEntry
from homeostat.testing.example_rows import SteppingClock

SIGNER = Ed25519Signer.generate()

scalars = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=30)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=15,
)
bodies = st.dictionaries(st.text(max_size=10), values, max_size=4)
times = st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
drafts = st.builds(
    EntryDraft,
    kind=st.from_regex(r"[a-z]{1,8}\.[a-z_]{1,8}", fullmatch=True).filter(lambda kind: "._" not in kind),
    actor=st.text(min_size=1, max_size=20),
    subject=st.text(max_size=40),
    body=bodies,
)


def chain_of(items):
    entries, head = [], EMPTY_HEAD
    for draft, at in items:
        entries.append(append(head, draft, at=at, sign=SIGNER.sign))
        head = head_of(entries[-1])
    return entries


chains = st.lists(st.tuples(drafts, times), min_size=1, max_size=6).map(chain_of)


@settings(deadline=None)
@given(values)
def test_the_fast_encoding_is_the_canonical_one(value):
    assert msgspec.json.Encoder(order="deterministic").encode(value) == canonical_json.encode(value)


@settings(deadline=None)
@given(chains)
def test_every_appended_chain_verifies_and_its_leaves_read_as_json(entries):
    assert verify_integrity(entries, verify=SIGNER.verify) == ChainIntact(
        head=head_of(entries[-1]), checked=len(entries)
    )
    for before, entry in zip(["", *(entry.signature for entry in entries)], entries, strict=False):
        leaf = json.loads(entry_bytes(entry, before))
        assert canonical_json.encode(leaf) == entry_bytes(entry, before)
        assert leaf["body"] == entry.body
        assert parse_utc_text(leaf["at"]) == entry.at


@settings(deadline=None)
@given(chains, st.data())
def test_any_one_field_of_any_one_entry_that_changes_is_found(entries, data):
    place = data.draw(st.integers(0, len(entries) - 1))
    name = data.draw(st.sampled_from(LedgerEntry.__struct_fields__))
    texts = bodies.map(canonical_json.encode).map(bytes.decode)
    strategies = {"seq": st.integers(-1, 20), "at_text": times.map(utc_text), "body_text": texts | st.text()}
    value = data.draw(strategies.get(name, st.text(max_size=90)))
    altered = structs.replace(entries[place], **{name: value})
    assume(altered != entries[place])
    report = verify_integrity([*entries[:place], altered, *entries[place + 1 :]], verify=SIGNER.verify)
    assert isinstance(report, ChainBroken)
    assert report.seq == place + 1


@settings(deadline=None)
@given(chains, st.data())
def test_any_other_order_or_selection_than_a_beginning_is_found(entries, data):
    picked = data.draw(st.lists(st.integers(0, len(entries) - 1), max_size=len(entries) + 2))
    report = verify_integrity([entries[number] for number in picked], verify=SIGNER.verify)
    assert isinstance(report, ChainIntact) == (picked == list(range(len(picked))))


@settings(deadline=None)
@given(chains, st.data())
def test_a_witness_behind_is_lag_and_one_ahead_is_tampering(entries, data):
    database = entries[: data.draw(st.integers(0, len(entries)))]
    seen = entries[: data.draw(st.integers(0, len(entries)))]
    db_head, witness = (head_of(part[-1]) if part else EMPTY_HEAD for part in (database, seen))
    hashes = {entry.seq: entry.entry_hash for entry in database}
    report = compare_head(
        db_head,
        parse_head(encode_head(witness)),
        [("c" * 40, witness.trailer())],
        hash_at=hashes.get,
        verify=SIGNER.verify,
    )
    assert len(report.tampering) == (2 if len(seen) > len(database) else 0)
    assert (report.lag is not None) == (len(seen) < len(database))


@settings(deadline=None)
@given(times, st.integers(-14 * 60, 14 * 60))
def test_one_moment_has_one_spelling_whatever_its_zone(at, minutes):
    elsewhere = at.astimezone(timezone(timedelta(minutes=minutes)))
    assert utc_text(elsewhere) == utc_text(at)
    assert parse_utc_text(utc_text(elsewhere)) == at


@settings(max_examples=15, deadline=None)
@given(st.lists(drafts, min_size=1, max_size=8))
def test_what_is_stored_reads_back_as_it_was_and_verifies_after_opening_again(items):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def open_store():
            return SqlStore.open(
                folder / "h.sqlite", signer=SIGNER, clock=SteppingClock(), head_path=folder / "head.json"
            )

        put_empty_database(folder / "h.sqlite")
        store = open_store()
        written = [store.ledger.append(draft) for draft in items]
        store.close()
        store = open_store()
        assert list(store.ledger.entries()) == written
        assert isinstance(verify_integrity(store.ledger.entries(), verify=SIGNER.verify), ChainIntact)
        store.close()
