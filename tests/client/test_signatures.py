"""Keys of doors."""

import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from celadon.client.signatures import AuthoritySettings, KeyFileError, Signer, make_key_pair
from celadon.domain.decisions.authority import Authority, Unsigned


def keyring(*files: Path, together: Path) -> Authority:
    together.write_bytes(b"".join(file.read_bytes() for file in files))
    return AuthoritySettings(verify_keys_file=together).authority()


def test_a_signature_is_believed_from_known_doors_alone(tmp_path: Path) -> None:
    for name in ("old", "new", "stranger"):
        make_key_pair(tmp_path / f"{name}.pem", tmp_path / f"{name}.pub")
    ring = keyring(tmp_path / "old.pub", tmp_path / "new.pub", together=tmp_path / "ring")
    for name in ("old", "new"):
        signature = Signer.of_file(tmp_path / f"{name}.pem").sign("promote")
        assert ring.verifies("promote", signature)
        assert not ring.verifies("abort", signature)
    assert not ring.verifies("promote", Signer.of_file(tmp_path / "stranger.pem").sign("promote"))
    for nonsense in ("", "§", "AAAA"):
        assert not ring.verifies("promote", nonsense)


def test_without_keys_nobody_is_believed(tmp_path: Path) -> None:
    make_key_pair(tmp_path / "key.pem", tmp_path / "key.pub")
    ring = AuthoritySettings().authority()
    assert not ring.verifies("promote", Signer.of_file(tmp_path / "key.pem").sign("promote"))


def test_the_private_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    make_key_pair(tmp_path / "key.pem", tmp_path / "key.pub")
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


def test_what_is_no_key_is_refused_with_how_to_make_one(tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("no key")
    with pytest.raises(KeyFileError, match="openssl genpkey"):
        Signer.of_file(tmp_path / "wrong")
    with pytest.raises(KeyFileError, match="openssl genpkey"):
        AuthoritySettings(verify_keys_file=tmp_path / "wrong").authority()
    with pytest.raises(KeyFileError, match="cannot be read"):
        Signer.of_file(tmp_path / "missing")


def test_what_unsigned_messages_may_do_is_set_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert AuthoritySettings().authority().unsigned is Unsigned.DECISIONS
    monkeypatch.setenv("CELADON_UNSIGNED", "none")
    monkeypatch.setenv("CELADON_INSTALLATION", "berlin")
    authority = AuthoritySettings().authority()
    assert (authority.unsigned, authority.installation) == (Unsigned.NONE, "berlin")


def test_a_word_that_says_nothing_of_unsigned_messages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELADON_UNSIGNED", "some")
    with pytest.raises(ValidationError, match="'none', 'decisions' or 'all'"):
        AuthoritySettings()
