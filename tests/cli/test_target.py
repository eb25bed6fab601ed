"""Which Celadon a command means."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from celadon.cli.faults import CommandError
from celadon.cli.profiles import Profile, save_profile, use_profile
from celadon.cli.target import ApiTarget, Target, TargetChoice, choose_target, find_target
from celadon.owned_files import write_file
from celadon.stack.addresses import StackAddresses
from celadon.stack.errors import StackError
from celadon.stack.layout import DataDirectory
from tests.cli.conftest import Command

HERE = "postgresql+asyncpg://celadon@here/celadon"
STACK = "postgresql+asyncpg://celadon@stack/celadon"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Undo what a chosen stack writes into the environment."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.chdir(tmp_path)


def _addresses(directory: DataDirectory, **changes: object) -> StackAddresses:
    found = StackAddresses(
        database_url=STACK,
        temporal_address="127.0.0.1:7",
        temporal_ui="",
        router="",
        preview_router="",
        router_admin=Path(),
        gateway="",
        metrics="",
        gateway_metrics="",
        preview_key="",
        data_dir=directory.path,
        pid=1,
    )
    return found.model_copy(update=changes)


def test_the_environment_names_a_celadon() -> None:
    os.environ["DATABASE_URL"] = HERE

    assert choose_target(None).database_url == HERE


def test_half_an_environment_is_refused() -> None:
    os.environ["TEMPORAL_ADDRESS"] = "127.0.0.1:7"

    with pytest.raises(CommandError, match="DATABASE_URL is not"):
        choose_target(None)


def test_without_anything_the_ways_to_one_are_told() -> None:
    with pytest.raises(CommandError, match="start a stack with 'celadon up'"):
        choose_target(None)


def test_a_demonstration_that_runs_is_pointed_to(tmp_path: Path) -> None:
    directory = DataDirectory.create(tmp_path / ".celadon" / "demo")

    with directory.locked(), pytest.raises(CommandError, match=r"add --data-dir \.celadon/demo"):
        choose_target(None)


@pytest.mark.parametrize("named", ["by option", "by variable", "by default"])
def test_a_running_stack_is_found(named: str, tmp_path: Path) -> None:
    directory = DataDirectory.create(tmp_path / ".celadon")
    os.environ["TEMPORAL_API_KEY"] = "of another Temporal"
    if named == "by variable":
        os.environ["CELADON_DATA_DIR"] = str(directory.path)

    with directory.locked():
        _addresses(directory).write(directory.stack_file)
        target = choose_target(directory.path if named == "by option" else None)

    assert target.database_url == STACK
    assert os.environ["TEMPORAL_ADDRESS"] == "127.0.0.1:7"
    assert "TEMPORAL_API_KEY" not in os.environ


def test_a_named_directory_is_stronger_than_the_environment(tmp_path: Path) -> None:
    os.environ["DATABASE_URL"] = HERE

    with pytest.raises(StackError, match="no stack runs in"):
        choose_target(tmp_path)


@pytest.mark.parametrize("named", [True, False], ids=["by option", "by environment"])
def test_a_stack_that_was_stopped_is_told_with_the_command_that_starts_it(tmp_path: Path, *, named: bool) -> None:
    directory = DataDirectory.create(tmp_path / "stack")
    directory.settings_file.write_text("{}")
    os.environ["CELADON_DATA_DIR"] = str(directory.path)

    with pytest.raises(StackError, match=r"is stopped: celadon up"):
        choose_target(directory.path if named else None)


@pytest.mark.parametrize("address", ["mysql://here", "here", "postgresql://here/celadon"])
def test_an_address_that_is_no_database_is_refused(address: str) -> None:
    os.environ["DATABASE_URL"] = address

    with pytest.raises(CommandError, match=r"postgresql\+asyncpg://"):
        choose_target(None)


# Through an API, or past it.

NOTHING = TargetChoice()
API = {"CELADON_URL": "https://by.environment", "CELADON_TOKEN": "t"}
BY_PROFILE = {"CELADON_PROFILE": "named"}
DIRECT = {"DATABASE_URL": HERE, "TEMPORAL_ADDRESS": "127.0.0.1:7"}


def _where(choice: TargetChoice) -> str:
    target = find_target(choice)
    return target.url if isinstance(target, ApiTarget) else target.database_url


@pytest.fixture
def _profiles(tmp_path: Path) -> None:
    """Keep two profiles, of which one is current."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    for name in ("named", "current"):
        save_profile(name, Profile(url=f"https://{name}.profile", token=SecretStr("t")))
    use_profile("current")


@pytest.mark.usefixtures("_profiles")
@pytest.mark.parametrize(
    ("choice", "environment", "where"),
    [
        (TargetChoice(profile="named"), API | DIRECT, "https://named.profile"),
        (NOTHING, API | BY_PROFILE | DIRECT, "https://by.environment"),
        (NOTHING, BY_PROFILE | DIRECT, "https://named.profile"),
        (NOTHING, DIRECT, HERE),
        (NOTHING, {}, "https://current.profile"),
        (TargetChoice(direct=True), API | DIRECT, HERE),
    ],
    ids=["flag", "CELADON_URL", "CELADON_PROFILE", "DATABASE_URL", "current profile", "--direct"],
)
def test_the_strongest_that_is_there_is_meant(choice: TargetChoice, environment: dict[str, str], where: str) -> None:
    os.environ.update(environment)

    assert _where(choice) == where


@pytest.mark.usefixtures("_profiles")
def test_a_local_stack_is_stronger_than_the_current_profile_and_reached_by_its_api(tmp_path: Path) -> None:
    directory = DataDirectory.create(tmp_path / ".celadon")
    write_file(directory.admin_token, "celadon_owner\n", mode=0o600)
    stack = _addresses(directory, api="http://127.0.0.1:9", admin_token_file=directory.admin_token)

    with directory.locked():
        stack.write(directory.stack_file)
        found = find_target(NOTHING)
        past_it = find_target(TargetChoice(direct=True))

    assert isinstance(found, ApiTarget)
    assert (found.url, found.token.get_secret_value()) == ("http://127.0.0.1:9", "celadon_owner")
    assert "celadon_owner" not in repr(found)
    assert isinstance(past_it, Target)
    assert past_it.database_url == STACK


def test_a_stack_without_an_api_is_reached_directly(tmp_path: Path) -> None:
    directory = DataDirectory.create(tmp_path / "stack")

    with directory.locked():
        _addresses(directory).write(directory.stack_file)

        assert _where(TargetChoice(data_dir=directory.path)) == STACK


@pytest.mark.parametrize(("there", "missing"), [("CELADON_URL", "CELADON_TOKEN"), ("CELADON_TOKEN", "CELADON_URL")])
def test_half_an_api_is_refused(there: str, missing: str) -> None:
    os.environ[there] = "https://celadon.example.com"

    with pytest.raises(CommandError, match=f"{there} is set but {missing} is not"):
        find_target(NOTHING)


def test_direct_never_falls_back_to_an_api() -> None:
    os.environ.update(API)

    with pytest.raises(CommandError, match="no Celadon found"):
        find_target(TargetChoice(direct=True))


async def test_an_api_of_a_stack_that_is_away_is_told_with_the_way_past_it(tmp_path: Path, command: Command) -> None:
    directory = DataDirectory.create(tmp_path / "stack")
    write_file(directory.admin_token, "celadon_owner\n", mode=0o600)
    stack = _addresses(directory, api="http://127.0.0.1:1", admin_token_file=directory.admin_token)

    with directory.locked():
        stack.write(directory.stack_file)
        result = await command("promote", "chat", "--data-dir", str(directory.path))

    assert result.exit_code == 1
    assert "the API does not answer at http://127.0.0.1:1: Connection refused" in result.stderr
    assert "--direct does without it" in result.stderr
