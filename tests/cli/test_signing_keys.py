"""The keys with which the API and commands sign: made once, and found by whoever may read them."""

import stat
from pathlib import Path

import pytest

from celadon.cli.faults import CommandError
from celadon.cli.signing import own_signer
from celadon.client.signatures import AuthoritySettings, make_key_pair
from tests.cli.conftest import Command


async def make(command: Command, directory: Path) -> tuple[int, str]:
    told = await command(
        "api",
        "keys",
        *("--private", str(directory / "signing" / "key.pem"), "--public", str(directory / "verify" / "key.pub")),
    )
    return told.exit_code, told.stdout + told.stderr


async def test_a_pair_is_made_once(command: Command, tmp_path: Path) -> None:
    code, told = await make(command, tmp_path)
    private = tmp_path / "signing" / "key.pem"
    first = private.read_text()

    assert code == 0, told
    assert "CELADON_SIGNING_KEY_FILE" in told
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(private.parent.stat().st_mode) == 0o700
    code, told = await make(command, tmp_path)
    assert code == 0, told
    assert private.read_text() == first


async def test_half_a_pair_is_completed_by_no_other_key(command: Command, tmp_path: Path) -> None:
    await make(command, tmp_path)
    (tmp_path / "verify" / "key.pub").unlink()

    code, told = await make(command, tmp_path)

    assert code == 1
    assert "without the other key of its pair" in told
    assert not (tmp_path / "verify" / "key.pub").exists()


def test_a_command_signs_with_the_key_that_the_environment_names(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_key_pair(tmp_path / "key.pem", tmp_path / "key.pub")
    monkeypatch.setenv("CELADON_SIGNING_KEY_FILE", str(tmp_path / "key.pem"))
    monkeypatch.setenv("CELADON_INSTALLATION", "berlin")

    signer = own_signer()

    assert signer is not None
    assert signer.installation == "berlin"
    authority = AuthoritySettings(verify_keys_file=tmp_path / "key.pub").authority()
    assert authority.verifies("promote", signer.sign("promote"))


def test_without_a_key_a_command_signs_nothing() -> None:
    assert own_signer() is None


def test_a_key_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELADON_SIGNING_KEY_FILE", str(tmp_path / "missing.pem"))
    with pytest.raises(CommandError, match=r"missing\.pem"):
        own_signer()
