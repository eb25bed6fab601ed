"""Which Celadon a command means."""

import os
from pathlib import Path

import pytest

from celadon.cli.faults import CommandError
from celadon.cli.target import choose_target
from celadon.stack.addresses import StackAddresses
from celadon.stack.errors import StackError
from celadon.stack.layout import DataDirectory

HERE = "postgresql+asyncpg://celadon@here/celadon"
STACK = "postgresql+asyncpg://celadon@stack/celadon"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Undo what a chosen stack writes into the environment."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.chdir(tmp_path)


def _addresses(directory: DataDirectory) -> StackAddresses:
    return StackAddresses(
        database_url=STACK,
        temporal_address="127.0.0.1:7",
        temporal_ui="",
        router="",
        preview_router="",
        router_admin="",
        gateway="",
        metrics="",
        gateway_metrics="",
        preview_key="",
        data_dir=directory.path,
        pid=1,
    )


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


@pytest.mark.parametrize("address", ["mysql://here", "here", "postgresql://here/celadon"])
def test_an_address_that_is_no_database_is_refused(address: str) -> None:
    os.environ["DATABASE_URL"] = address

    with pytest.raises(CommandError, match=r"postgresql\+asyncpg://"):
        choose_target(None)
