"""The demonstration's directory: what is emptied, and what is left alone."""

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import make_url

from celadon.stack.addresses import StackAddresses
from celadon.stack.children import stack_children
from celadon.stack.demo.demo import DemoOptions, run_demo
from celadon.stack.demo.directory import DemoDirectory
from celadon.stack.errors import DirectoryInUseError, StackError
from celadon.stack.layout import DataDirectory
from celadon.stack.postgres_home import PostgresHome
from celadon.stack.process import ChildSpec
from celadon.stack.settings import StackSettings
from celadon.stack.stack import Stack


def everything_in(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def is_there(path: Path) -> bool:
    return os.path.lexists(path)


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def demo_in(path: Path, beside: Path) -> DemoDirectory:
    return DemoDirectory(path, beside / "celadon")


def postgres_alone(
    directory: DataDirectory, settings: StackSettings, home: PostgresHome, working_directory: Path
) -> tuple[ChildSpec, ...]:
    return stack_children(directory, settings, home, working_directory)[:1]


@asynccontextmanager
async def database_of(demo: DemoDirectory) -> AsyncIterator[StackAddresses]:
    """Run the Postgres of a demonstration, with something in it at the end."""
    directory = await demo.prepare()
    async with Stack(directory.path, describe=postgres_alone, demo_root=demo.outside) as stack:
        yield stack.addresses


async def execute(addresses: StackAddresses, statement: str) -> None:
    url = make_url(addresses.database_url)
    connection = await asyncpg.connect(host=str(url.query["host"]), port=5432, user=url.username, database=url.database)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def stopped_stack(path: Path) -> DataDirectory:
    """Return a directory as a stack leaves it, with settings and a database."""
    directory = DataDirectory.create(path)
    StackSettings.load(directory.settings_file)
    (directory.path / "postgres" / "cluster").mkdir(parents=True, mode=0o700)
    (directory.path / "postgres" / "cluster" / "PG_VERSION").write_text("18")
    return directory


async def test_a_stopped_stack_is_left_alone(tmp_path: Path) -> None:
    directory = stopped_stack(tmp_path / "stack")
    before = everything_in(directory.path)

    with pytest.raises(StackError, match="no demonstration wrote"):
        await run_demo(DemoOptions(data_dir=directory.path))

    assert everything_in(directory.path) == before


async def test_a_project_with_settings_of_its_own_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / "thesis.tex").write_text("mine")

    with pytest.raises(StackError, match=r"no demonstration wrote \(settings.json, thesis.tex\)"):
        await run_demo(DemoOptions(data_dir=tmp_path))

    assert (tmp_path / "thesis.tex").read_text() == "mine"


async def test_a_file_that_was_put_beside_the_demonstrations_own_keeps_it_from_removing_anything(
    tmp_path: Path,
) -> None:
    demo = demo_in(tmp_path / "demo", tmp_path)
    directory = await demo.prepare()
    demo.records.write_text("{}\n")
    (directory.path / "notes.txt").write_text("mine")
    before = everything_in(directory.path)

    with pytest.raises(StackError, match=r"holds notes\.txt, which no demonstration wrote"):
        await demo.prepare()

    assert everything_in(directory.path) == before


async def test_what_an_earlier_demonstration_left_is_removed(tmp_path: Path) -> None:
    demo = demo_in(tmp_path / "demo", tmp_path)
    directory = await demo.prepare()
    demo.records.write_text("{}\n")
    (directory.logs / "worker.log").write_text("old")
    (directory.path / ".stack.json.4711.new").write_text("the draft of a demonstration that was killed")

    await demo.prepare()

    assert everything_in(directory.path).keys() == {str(directory.demo_mark), str(directory.lock_file)}


async def test_records_and_logs_alone_stay(tmp_path: Path) -> None:
    demo = demo_in(tmp_path / "demo", tmp_path)
    directory = await demo.prepare()
    StackSettings.load(directory.settings_file)
    demo.records.write_text("{}\n")
    (directory.logs / "worker.log").write_text("said")

    await demo.clear()

    kept = {directory.demo_mark, directory.lock_file, demo.records, directory.logs / "worker.log"}
    assert everything_in(directory.path).keys() == set(map(str, kept))


async def test_a_directory_in_use_is_left_alone(tmp_path: Path) -> None:
    demo = demo_in(tmp_path / "demo", tmp_path)
    directory = await demo.prepare()
    demo.records.write_text("{}\n")

    with directory.locked(), pytest.raises(DirectoryInUseError):
        await demo.prepare()

    assert demo.records.exists()


async def test_no_stack_settles_in_a_directory_that_the_demonstration_empties(tmp_path: Path) -> None:
    directory = await demo_in(tmp_path / "demo", tmp_path).prepare()

    with pytest.raises(StackError, match="empties it each time: name another one"):
        async with Stack(directory.path, describe=postgres_alone):
            pass


@pytest.mark.parts
@pytest.mark.parametrize("was_killed", [False, True])
async def test_a_second_run_under_a_private_path_begins_with_an_empty_database(
    data_dir: Path,
    *,
    was_killed: bool,
) -> None:
    """Root's Postgres, which cannot go there, lives elsewhere."""
    private = data_dir / "home"
    private.mkdir(mode=0o700)
    demo = demo_in(private / "demo", data_dir)
    async with database_of(demo) as addresses:
        await execute(addresses, "CREATE TABLE of_first_run (id int)")
    if not was_killed:
        await demo.clear()

    async with database_of(demo) as addresses:
        await execute(addresses, "CREATE TABLE of_first_run (id int)")


@pytest.mark.parts
async def test_nothing_stays_outside(data_dir: Path) -> None:
    # So long a path has no room for sockets: they are in the directory for temporary files.
    private = data_dir / f"home-{'x' * 80}"
    private.mkdir(mode=0o700)
    demo = demo_in(private / "demo", data_dir)
    async with database_of(demo) as addresses:
        sockets = Path(str(make_url(addresses.database_url).query["host"]))
        outer = DataDirectory(addresses.data_dir).sockets.path
        assert outer.parent == sockets.parent == Path(tempfile.gettempdir()) or os.geteuid() == 0
        assert is_there(outer)
        assert is_there(demo.outside) is (os.geteuid() == 0)

    await demo.clear()

    assert not any(is_there(path) for path in (sockets, outer))
    assert names_in(data_dir) == {private.name}
