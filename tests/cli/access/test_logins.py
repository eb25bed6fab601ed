"""Logging in, and which Celadon commands then speak to."""

import json
import stat
import time
import tomllib
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from celadon.cli.profiles import config_file
from celadon.domain.language.permissions import Role
from tests.api.conftest import ApiClient
from tests.cli.conftest import Command


async def _log_in(command: Command, api: ApiClient, *options: str, role: Role = Role.ADMIN) -> None:
    result = await command("login", api.url, "--token-stdin", *options, stdin=f"{await api.token(role)}\n")
    assert result.exit_code == 0, result.stderr
    assert f"as {role}" in result.stdout


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Be where no local stack runs."""
    monkeypatch.chdir(tmp_path)


async def test_whoever_has_logged_in_is_known_from_then_on(command: Command, api: ApiClient) -> None:
    await _log_in(command, api)
    listed = await command("deployment", "list", "-o", "json")
    who = await command("whoami", "-o", "json")

    assert [one["deployment"] for one in json.loads(listed.stdout)["deployments"]] == []
    assert json.loads(who.stdout)["name"] == "admin"
    assert stat.S_IMODE(config_file().stat().st_mode) == 0o600
    assert stat.S_IMODE(config_file().parent.stat().st_mode) == 0o700


async def test_a_token_that_is_not_known_is_not_kept(command: Command, api: ApiClient) -> None:
    result = await command("login", api.url, "--token-stdin", stdin="celadon_wrong")

    assert result.exit_code == 1
    assert "unknown, expired or revoked" in result.stderr
    assert not config_file().exists()


async def test_profiles_stand_beside_one_another(command: Command, api: ApiClient) -> None:
    await _log_in(command, api, "--profile", "admin")
    await _log_in(command, api, "--profile", "look", role=Role.VIEWER)

    current = await command("whoami", "-o", "json")
    named = await command("whoami", "-o", "json", "--profile", "admin")
    listed = await command("profile", "list", "-o", "json")
    used = await command("profile", "use", "admin")
    then = await command("whoami", "-o", "json")

    assert [json.loads(one.stdout)["name"] for one in (current, named, then)] == ["viewer", "admin", "admin"]
    assert [(one["name"], one["current"]) for one in json.loads(listed.stdout)["profiles"]] == [
        ("admin", False),
        ("look", True),
    ]
    assert used.exit_code == 0
    assert (await api.token(Role.VIEWER)) not in listed.stdout


async def test_a_logout_forgets_the_token_and_leaves_the_rest(command: Command, api: ApiClient) -> None:
    await _log_in(command, api, "--profile", "one")
    await _log_in(command, api, "--profile", "two")
    file = config_file()
    file.write_text(f"# mine\n{file.read_text()}")

    result = await command("logout")

    assert result.exit_code == 0
    text = file.read_text()
    assert text.startswith("# mine\n")
    assert list(tomllib.loads(text)["profiles"]) == ["one"]
    assert "current" not in tomllib.loads(text)
    assert (await command("rollout", "list")).exit_code == 1


async def test_the_environment_is_stronger_than_a_profile(
    command: Command, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _log_in(command, api)
    monkeypatch.setenv("CELADON_URL", api.url)
    monkeypatch.setenv("CELADON_TOKEN", await api.token(Role.VIEWER))

    by_environment = await command("whoami", "-o", "json")
    by_flag = await command("whoami", "-o", "json", "--profile", "default")

    assert [json.loads(one.stdout)["name"] for one in (by_environment, by_flag)] == ["viewer", "admin"]


async def test_a_file_that_others_can_read_is_refused(command: Command, api: ApiClient) -> None:
    await _log_in(command, api)
    config_file().chmod(0o644)

    read = await command("rollout", "list")
    written = await command("login", api.url, "--token-stdin", stdin=await api.token(Role.ADMIN))

    assert (read.exit_code, written.exit_code) == (1, 1)
    assert f"run 'chmod 600 {config_file()}'" in read.stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("profiles = 3", "is no file of profiles"),
        ("[profiles", "is not valid TOML"),
        ('[profiles.a]\nurl = "x"', "token"),
    ],
)
async def test_a_file_that_is_none_is_refused_and_not_written_over(
    content: str, told: str, command: Command, api: ApiClient
) -> None:
    config_file().parent.mkdir(parents=True)
    config_file().touch(mode=0o600)
    config_file().write_text(content)

    read = await command("rollout", "list")
    written = await command("login", api.url, "--token-stdin", stdin=await api.token(Role.ADMIN))

    assert (read.exit_code, written.exit_code) == (1, 1)
    assert told in read.stderr
    assert config_file().read_text() == content


async def test_what_answers_but_is_no_celadon_is_told_so(
    command: Command, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELADON_URL", f"{api.url}/healthz")
    monkeypatch.setenv("CELADON_TOKEN", await api.token(Role.ADMIN))

    result = await command("rollout", "list")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: " if "does not answer as" in result.stderr else "Refused: ")


def _jwt(expires_at: float) -> str:
    claims = urlsafe_b64encode(json.dumps({"sub": "ann", "exp": expires_at}).encode()).decode().rstrip("=")
    return f"e30.{claims}.c2ln"


async def test_a_login_that_has_expired_says_to_log_in_again(command: Command, api: ApiClient) -> None:
    await _log_in(command, api)
    file = config_file()
    token = tomllib.loads(file.read_text())["profiles"]["default"]["token"]
    file.write_text(file.read_text().replace(token, _jwt(time.time() - 60)))

    result = await command("whoami")

    assert result.exit_code == 1
    assert (
        "the token of the profile default (the current one) has expired; log in again: celadon login" in result.stderr
    )


async def test_a_token_that_is_not_expired_is_not_called_so(command: Command, api: ApiClient) -> None:
    result = await command("login", api.url, "--token-stdin", stdin=_jwt(time.time() + 3600))

    assert "has expired" not in result.stderr
    assert "unknown, expired or revoked" in result.stderr
