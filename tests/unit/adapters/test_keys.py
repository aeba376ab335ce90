"""The hub's secrets: made once and whole, never readable by others, never silently replaced."""

import os
import stat
import threading
from pathlib import Path

import pytest

from homeostat.adapters.keys import (
    AGENT_KEY_BYTES,
    Ed25519Signer,
    check_keys,
    ensure_state_dir,
    load_or_create_keys,
    load_verifier,
    new_token,
)
from homeostat.core.errors import IntegrityFailure, NotPermitted, Unavailable


@pytest.fixture
def state(tmp_path):
    return tmp_path / ".homeostat"


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


class TestStateDirectory:
    def test_it_is_made_private_and_ignored_by_git(self, state):
        previous = os.umask(0)
        try:
            assert ensure_state_dir(state) == state
        finally:
            os.umask(previous)
        assert mode(state) == 0o700
        assert (state / ".gitignore").read_text() == "*\n"

    def test_one_that_is_there_is_taken_as_it_is(self, state):
        ensure_state_dir(state)
        (state / ".gitignore").write_text("*\n# mine\n")
        ensure_state_dir(state)
        assert (state / ".gitignore").read_text() == "*\n# mine\n"

    @pytest.mark.parametrize("wide", [0o755, 0o750, 0o701, 0o770])
    def test_one_that_others_may_enter_is_refused_with_the_remedy(self, state, wide):
        state.mkdir()
        state.chmod(wide)
        with pytest.raises(Unavailable) as refused:
            ensure_state_dir(state)
        assert refused.value.code == "state-dir-not-private"
        assert f"chmod 700 {state}" in refused.value.hint
        assert not (state / ".gitignore").exists()

    def test_a_file_or_a_link_in_its_place_is_refused(self, state, tmp_path):
        state.write_text("")
        with pytest.raises(Unavailable):
            ensure_state_dir(state)
        state.unlink()
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        state.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(Unavailable):
            ensure_state_dir(state)

    def test_one_of_another_user_is_refused(self, state):
        if os.geteuid() == 0:
            state.mkdir(mode=0o700)
            os.chown(state, 12345, -1)
        else:
            state = Path("/")
        with pytest.raises(Unavailable) as refused:
            ensure_state_dir(state)
        assert f"belongs to uid {state.stat().st_uid}" in refused.value.message


class TestKeys:
    def test_they_are_made_once_and_read_back_the_same(self, state):
        first, again = load_or_create_keys(state), load_or_create_keys(state)
        assert first.signer.public_key() == again.signer.public_key()
        assert (first.agent_key, first.owner_token) == (again.agent_key, again.owner_token)
        assert len(first.agent_key) == AGENT_KEY_BYTES

    def test_every_file_is_private_and_nothing_is_left_beside_them(self, state):
        load_or_create_keys(state)
        assert mode(state / "keys") == 0o700
        files = {path.name: mode(path) for path in (state / "keys").iterdir()}
        assert files == dict.fromkeys(
            ["agent.key", "ledger.ed25519", "ledger.pub", "owner.token", "worker.ed25519"], 0o600
        )

    def test_a_workers_key_that_is_gone_is_made_anew_by_a_hub_and_by_nobody_who_only_looks(self, state):
        before = load_or_create_keys(state)
        (state / "keys" / "worker.ed25519").unlink()
        check_keys(state)
        assert not (state / "keys" / "worker.ed25519").exists()
        after = load_or_create_keys(state)
        assert after.worker.public_key() != before.worker.public_key()
        assert after.signer.public_key() == before.signer.public_key()

    def test_two_state_directories_share_nothing(self, tmp_path):
        one, two = load_or_create_keys(tmp_path / "1"), load_or_create_keys(tmp_path / "2")
        assert one.signer.public_key() != two.signer.public_key()
        assert one.agent_key != two.agent_key
        assert one.owner_token != two.owner_token

    def test_printing_them_shows_no_secret(self, state):
        keys = load_or_create_keys(state)
        assert keys.owner_token not in repr(keys)
        assert repr(keys.agent_key) not in repr(keys)

    @pytest.mark.parametrize("name", ["ledger.ed25519", "agent.key", "owner.token"])
    @pytest.mark.parametrize("wide", [0o640, 0o604, 0o644])
    def test_a_file_that_others_may_read_is_refused_with_the_remedy(self, state, name, wide):
        load_or_create_keys(state)
        (state / "keys" / name).chmod(wide)
        with pytest.raises(Unavailable) as refused:
            load_or_create_keys(state)
        assert f"chmod 600 {state / 'keys' / name}" in refused.value.hint

    @pytest.mark.parametrize("name", ["ledger.ed25519", "agent.key", "owner.token"])
    def test_a_link_in_place_of_a_file_is_not_followed(self, state, tmp_path, name):
        load_or_create_keys(state)
        path = state / "keys" / name
        path.rename(tmp_path / "moved")
        path.symlink_to(tmp_path / "moved")
        with pytest.raises(Unavailable):
            load_or_create_keys(state)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("ledger.ed25519", b""),
            ("ledger.ed25519", b"not a key"),
            ("ledger.pub", b"not a key"),
            ("agent.key", b"short"),
            ("agent.key", b"x" * 33),
            ("owner.token", b"hst_short\n"),
            ("owner.token", b"\xff" * 48),
        ],
    )
    def test_a_damaged_file_is_an_integrity_failure_and_is_not_replaced(self, state, name, content):
        load_or_create_keys(state)
        (state / "keys" / name).write_bytes(content)
        with pytest.raises(IntegrityFailure) as failure:
            load_or_create_keys(state)
        assert failure.value.code == "key-damaged"
        assert (state / "keys" / name).read_bytes() == content

    def test_a_lost_private_key_is_not_replaced_by_a_new_one(self, state):
        load_or_create_keys(state)
        (state / "keys" / "ledger.ed25519").unlink()
        with pytest.raises(IntegrityFailure) as failure:
            load_or_create_keys(state)
        assert failure.value.code == "ledger-key-missing"
        assert not (state / "keys" / "ledger.ed25519").exists()

    def test_a_public_key_of_another_pair_is_found(self, state):
        load_or_create_keys(state)
        (state / "keys" / "ledger.pub").write_bytes(Ed25519Signer.generate().public_pem())
        with pytest.raises(IntegrityFailure):
            load_or_create_keys(state)

    def test_a_crash_before_the_public_half_was_written_heals(self, state):
        keys = load_or_create_keys(state)
        (state / "keys" / "ledger.pub").unlink()
        assert load_or_create_keys(state).signer.public_key() == keys.signer.public_key()
        assert load_verifier(state).public_key() == keys.signer.public_key()

    def test_many_that_start_at_once_agree_on_one_key(self, state):
        ensure_state_dir(state)
        gate = threading.Barrier(8)
        seen = []

        def work():
            gate.wait(timeout=30)
            keys = load_or_create_keys(state)
            seen.append((keys.signer.public_key(), keys.agent_key, keys.owner_token))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert len(seen) == 8
        assert len(set(seen)) == 1


class TestSigner:
    def test_it_verifies_its_own_signatures_and_no_others(self):
        signer, other = Ed25519Signer.generate(), Ed25519Signer.generate()
        signature = signer.sign(b"message")
        assert signer.verify(b"message", signature)
        assert not signer.verify(b"other", signature)
        assert not other.verify(b"message", signature)

    @pytest.mark.parametrize("signature", ["", "AAAA", "é", "=", "A" * 88, "not base64!", None])
    def test_what_is_no_signature_is_false_and_no_error(self, signature):
        assert Ed25519Signer.generate().verify(b"message", signature) is False

    def test_the_public_half_alone_verifies_and_refuses_to_sign(self, state):
        keys = load_or_create_keys(state)
        verifier = load_verifier(state)
        assert verifier.verify(b"m", keys.signer.sign(b"m"))
        assert verifier.public_key() == keys.signer.public_key()
        with pytest.raises(NotPermitted):
            verifier.sign(b"m")

    def test_without_a_public_key_there_is_nothing_to_verify_with(self, state):
        with pytest.raises(Unavailable):
            load_verifier(state)
        assert not state.exists()


def test_a_token_is_long_random_and_safe_in_a_header():
    tokens = {new_token() for _ in range(50)}
    assert len(tokens) == 50
    assert all(token.startswith("hst_") and len(token) == 47 and token.isascii() for token in tokens)
