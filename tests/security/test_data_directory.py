"""A data directory that somebody prepared: nothing in it is believed, followed, written through or killed by."""

import asyncio
import grp
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from celadon.cli.completion import complete_profiles
from celadon.cli.faults import CommandError
from celadon.cli.profiles import read_profiles
from celadon.cli.starter_files import write_starter_files
from celadon.cli.target import TargetChoice, choose_target, find_target
from celadon.domain.language.names import RouteId
from celadon.domain.language.revision import Provisioner
from celadon.owned_files import NotOursError, check_path, make_directory, read_file, write_file
from celadon.provisioners.launcher import CLAIM_SUFFIX, boot_id, read_stat
from celadon.provisioners.replica_files import ReplicaFiles
from celadon.stack.access import ensure_signing_key
from celadon.stack.addresses import StackAddresses
from celadon.stack.child_log import ChildLog
from celadon.stack.errors import StackError
from celadon.stack.layout import DataDirectory
from celadon.stack.left_behind import RunningChild, child_mark, end_left_behind, left_children, record_children
from celadon.stack.process import start_time
from celadon.stack.settings import StackSettings
from celadon.stack.stack import Stack
from tests.security.other_user import OtherUser
from tests.stack.processes import is_running, until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root alone can give files to another user")

FILES = (
    *("settings.json", "stack.json", "children.json", "lock", "admin-token", "postgres.path"),
    *("api-signing-key.pem", "api-verify-keys.pem", "router.json", "temporal/server.sqlite"),
    *("temporal/server.sqlite-wal", "logs/postgres.log", "logs/router.log", "logs/worker.log.1"),
)
DIRECTORIES = ("logs", "temporal", "replicas", "postgres")
ROUTE = RouteId("2fdd5b51-8c7d-4c92-84bf-8d91dc14db7d")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Return a data directory as a stack leaves it, with nothing in it yet."""
    return DataDirectory.create(tmp_path / "prepared").path


@pytest.fixture
def precious(tmp_path: Path) -> Iterator[Path]:
    """Return a file of the operator's that nothing may change."""
    file = tmp_path / "precious"
    file.write_text("precious\n")
    before = file.stat()
    yield file
    after = file.stat()
    assert file.read_text() == "precious\n"
    assert (after.st_mode, after.st_uid, after.st_mtime_ns) == (before.st_mode, before.st_uid, before.st_mtime_ns)


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process of the operator's that is no business of the stack, and is still there at the end."""
    process = subprocess.Popen(["sleep", "600"])  # noqa: S607 - of every Unix
    yield process
    assert process.poll() is None, "it was killed"
    process.kill()
    process.wait()


def up(data_dir: Path) -> subprocess.CompletedProcess[str]:
    """Run ``celadon up``, which must refuse before it starts anything."""
    command = [sys.executable, "-m", "celadon.cli.main", "up", "--data-dir", str(data_dir)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done


async def refused(data_dir: Path) -> str:
    """Start a stack as ``celadon up`` does, which must refuse before it starts anything; return what it says."""
    stack = Stack(data_dir)
    with pytest.raises(StackError) as refusal:
        async with stack:
            pass
    assert stack.children == ()
    return str(refusal.value)


def told(done: subprocess.CompletedProcess[str]) -> str:
    """Return what was said, on one line."""
    return " ".join(done.stderr.split())


def record(process: subprocess.Popen[bytes] | asyncio.subprocess.Process, user: int | None = None) -> RunningChild:
    """Return what a stack would write down of a process of its own."""
    started_at = start_time(process.pid)
    assert started_at is not None
    return RunningChild(
        name="router",
        pid=process.pid,
        user=os.geteuid() if user is None else user,
        started_at=started_at,
        kill_signal=signal.SIGKILL,
    )


# Processes.


@as_root
def test_a_directory_of_another_user_makes_up_kill_nobody(
    other_user: OtherUser,
    bystander: subprocess.Popen[bytes],
) -> None:
    planted = other_user.directory / ".celadon"
    planted.mkdir(mode=0o755)
    (planted / "children.json").write_text(json.dumps([record(bystander).model_dump(mode="json")]))
    for path in (planted, planted / "children.json"):
        os.chown(path, other_user.uid, other_user.gid)

    done = told(up(planted))

    assert f"user id {other_user.uid}" in done
    assert "--data-dir" in done


async def test_a_record_that_was_copied_here_makes_up_kill_nobody(
    data_dir: Path,
    bystander: subprocess.Popen[bytes],
) -> None:
    """As from an archive or a repository: it is the operator's file, but not as a stack writes it."""
    record_children(data_dir / "children.json", [record(bystander)])
    (data_dir / "children.json").chmod(0o644)

    assert "can be read by others" in await refused(data_dir)
    with pytest.raises(StackError, match="record of the stack's processes is not believed"):
        left_children(data_dir / "children.json")


async def test_a_process_without_the_mark_of_the_stack_is_left_alone(
    data_dir: Path,
    bystander: subprocess.Popen[bytes],
) -> None:
    record_children(data_dir / "children.json", [record(bystander)])

    await end_left_behind(data_dir / "children.json")


async def test_a_child_of_another_stack_is_left_alone(data_dir: Path, tmp_path: Path) -> None:
    other = DataDirectory.create(tmp_path / "other").path
    child = await asyncio.create_subprocess_exec("sleep", "600", env={**os.environ, **child_mark(other)})
    record_children(data_dir / "children.json", [record(child)])
    record_children(other / "children.json", [record(child)])

    await end_left_behind(data_dir / "children.json")
    assert is_running(child.pid)

    await end_left_behind(other / "children.json")
    await child.wait()  # Who ended it may have been told how, so that asyncio is not.
    assert not is_running(child.pid)


@as_root
async def test_a_process_of_another_user_than_the_child_had_is_left_alone(
    data_dir: Path,
    other_user: OtherUser,
) -> None:
    marked = "import os, sys; os.execve('/bin/sleep', ['sleep', '600'], {'CELADON_STACK_DIR': sys.argv[1]})"
    process = other_user.start_python(marked, data_dir)
    await until(lambda: psutil.Process(process.pid).name() == "sleep")
    started_at = start_time(process.pid)
    assert started_at is not None
    recorded = RunningChild(
        name="router",
        pid=process.pid,
        user=os.geteuid(),
        started_at=started_at,
        kill_signal=signal.SIGKILL,
    )
    record_children(data_dir / "children.json", [recorded])

    await end_left_behind(data_dir / "children.json")

    assert process.poll() is None


@pytest.mark.parametrize("how", ["readable by others", "link"])
def test_a_claim_that_was_planted_names_no_replica(
    how: str,
    data_dir: Path,
    tmp_path: Path,
    bystander: subprocess.Popen[bytes],
) -> None:
    """Whoever stops a replica ends the process that its claim names."""
    found = read_stat(bystander.pid)
    assert found is not None
    claim = data_dir / "replicas" / f"{ROUTE}{CLAIM_SUFFIX}"
    content = f"{bystander.pid}\n{found[1]}\n{boot_id()}"
    if how == "link":
        write_file(tmp_path / "claim", content, mode=0o600)
        claim.symlink_to(tmp_path / "claim")
    else:
        write_file(claim, content, mode=0o644)

    with pytest.raises(NotOursError):
        ReplicaFiles(data_dir / "replicas").claim(ROUTE)
    with pytest.raises(NotOursError):
        ReplicaFiles(data_dir / "replicas").claim_for_stop(ROUTE)


# Files.


@pytest.mark.parametrize("name", FILES)
async def test_a_link_in_the_place_of_a_file_is_refused(name: str, data_dir: Path, precious: Path) -> None:
    (data_dir / name).symlink_to(precious)

    assert f"{name.rpartition('/')[2]} is a link" in await refused(data_dir)


@pytest.mark.parametrize("name", FILES)
def test_a_link_to_a_file_that_is_not_there_creates_none(name: str, data_dir: Path, tmp_path: Path) -> None:
    (data_dir / name).symlink_to(tmp_path / "created")

    with pytest.raises(StackError, match="is a link"):
        DataDirectory.create(data_dir)

    assert list(tmp_path.iterdir()) == [data_dir]


@pytest.mark.parametrize("name", ["settings.json", "children.json", "lock", "logs/postgres.log"])
def test_a_link_within_the_directory_is_not_followed_either(name: str, data_dir: Path) -> None:
    write_file(data_dir / "other", "[]", mode=0o600)
    (data_dir / name).symlink_to(data_dir / "other")

    with pytest.raises(NotOursError):
        ChildLog(data_dir / name).open()
    with pytest.raises(NotOursError):
        read_file(data_dir / name)


@pytest.mark.parametrize("name", FILES)
async def test_a_second_name_of_another_file_is_refused(name: str, data_dir: Path, precious: Path) -> None:
    os.link(precious, data_dir / name)

    assert "has 2 names (hard links)" in await refused(data_dir)


@pytest.mark.parametrize("name", FILES)
async def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(name: str, data_dir: Path) -> None:
    os.mkfifo(data_dir / name)

    assert "not a file" in await refused(data_dir)


@pytest.mark.parametrize("name", DIRECTORIES)
async def test_a_link_in_the_place_of_a_directory_is_refused(name: str, data_dir: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if (data_dir / name).exists():
        (data_dir / name).rmdir()
    (data_dir / name).symlink_to(elsewhere)

    await refused(data_dir)

    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("mode", [0o666, 0o602])
@pytest.mark.parametrize("name", FILES)
async def test_a_file_that_others_can_write_is_refused(name: str, mode: int, data_dir: Path) -> None:
    (data_dir / name).touch()
    (data_dir / name).chmod(mode)

    assert f"others can write {data_dir / name}" in await refused(data_dir)


@pytest.mark.parametrize("name", ["", *DIRECTORIES])
async def test_a_directory_that_others_can_write_is_refused(name: str, data_dir: Path) -> None:
    (data_dir / name).mkdir(exist_ok=True)
    (data_dir / name).chmod(0o777)

    assert f"others can write into {data_dir / name}".rstrip("/") in await refused(data_dir)


@as_root
@pytest.mark.parametrize("name", [*FILES, *DIRECTORIES])
async def test_what_belongs_to_another_user_is_refused(name: str, data_dir: Path, other_user: OtherUser) -> None:
    path = data_dir / name
    if name in DIRECTORIES:
        path.mkdir(exist_ok=True)
    else:
        path.touch(mode=0o600)
    os.chown(path, other_user.uid, -1)

    assert f"belongs to user id {other_user.uid}" in await refused(data_dir)


@as_root
def test_a_group_of_others_counts_as_others(data_dir: Path, other_user: OtherUser) -> None:
    os.chown(data_dir, -1, other_user.gid)
    data_dir.chmod(0o770)

    with pytest.raises(StackError, match="others can write into"):
        DataDirectory.create(data_dir)


CREATE = """
import sys
from pathlib import Path
from celadon.stack.errors import StackError
from celadon.stack.layout import DataDirectory
from celadon.stack.settings import StackSettings
try:
    directory = DataDirectory.create(Path(sys.argv[1]))
except StackError as error:
    sys.exit(str(error))
StackSettings.load(directory.settings_file)
with directory.locked():
    assert directory.is_in_use()
print("created")
"""
"""What an ordinary user's start does first."""


@as_root
def test_an_ordinary_user_is_trusted_with_what_is_the_users_own(other_user: OtherUser) -> None:
    assert other_user.run_python(CREATE, other_user.directory / "stack").stdout == "created\n"
    assert other_user.run_python(CREATE, other_user.directory / "stack").stdout == "created\n", "again"


@as_root
def test_the_group_that_a_system_makes_for_a_user_counts_as_the_user(reachable_directory: Path) -> None:
    """Homes and what lies in them are often writable for it; another group is not the user's own."""
    user = OtherUser.named("daemon", reachable_directory / "daemon")
    user.directory.chmod(0o775)
    try:
        assert user.run_python(CREATE, user.directory / "stack").stdout == "created\n"
        os.chown(user.directory, -1, grp.getgrnam("nogroup").gr_gid)
        assert "others can write into" in user.run_python(CREATE, user.directory / "stack").stderr
    finally:
        user.end()


@as_root
def test_an_ordinary_user_is_refused_roots_directory(reachable_directory: Path, other_user: OtherUser) -> None:
    roots = DataDirectory.create(reachable_directory / "of-root").path

    assert "belongs to user root" in other_user.run_python(CREATE, roots).stderr


def test_each_reader_and_writer_refuses_a_link_by_itself(data_dir: Path, precious: Path) -> None:
    """Not only the check at the start: what was not there then may be there later."""
    directory = DataDirectory(data_dir)
    for file in (directory.settings_file, directory.children_file, directory.lock_file, directory.logs / "api.log"):
        file.symlink_to(precious)

    with pytest.raises(StackError):
        StackSettings.load(directory.settings_file)
    with pytest.raises(StackError):
        left_children(directory.children_file)
    with pytest.raises(StackError):
        directory.is_in_use()
    with pytest.raises(NotOursError), directory.locked():
        pass
    with pytest.raises(NotOursError):
        ChildLog(directory.logs / "api.log").open()
    with pytest.raises(NotOursError):
        read_file(directory.settings_file)


@pytest.mark.parametrize("name", ["api-signing-key.pem", "api-verify-keys.pem"])
def test_keys_take_the_place_of_a_link_and_do_not_follow_it(name: str, data_dir: Path, precious: Path) -> None:
    (data_dir / name).symlink_to(precious.with_name("not-there"))

    ensure_signing_key(DataDirectory(data_dir))

    assert not precious.with_name("not-there").exists()
    assert not (data_dir / name).is_symlink()


# The way to it.


async def test_a_parent_that_others_can_write_is_refused(tmp_path: Path) -> None:
    parent = tmp_path / "open"
    parent.mkdir()
    parent.chmod(0o777)

    assert f"others can write into {parent}, and so put something else" in await refused(parent / "stack")
    assert not (parent / "stack").exists()


def test_a_parent_in_which_others_cannot_rename_is_taken(tmp_path: Path) -> None:
    """As ``/tmp`` is."""
    parent = tmp_path / "sticky"
    parent.mkdir()
    parent.chmod(0o1777)

    assert DataDirectory.create(parent / "stack").path == parent / "stack"


@as_root
async def test_a_parent_of_another_user_is_refused(other_user: OtherUser) -> None:
    assert f"{other_user.directory} belongs to user id {other_user.uid}" in await refused(
        other_user.directory / "stack"
    )
    assert not (other_user.directory / "stack").exists()


@as_root
def test_a_link_of_another_user_on_the_way_is_not_followed(other_user: OtherUser, tmp_path: Path) -> None:
    sticky = tmp_path / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    (tmp_path / "mine").mkdir()
    (sticky / "link").symlink_to(tmp_path / "mine")
    os.chown(sticky / "link", other_user.uid, -1, follow_symlinks=False)

    with pytest.raises(NotOursError, match=f"link belongs to user id {other_user.uid}"):
        check_path(sticky / "link" / "stack")


# Commands.


class Trap:
    """An address at which whoever planted it waits for a token."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def nobody_came(self) -> bool:
        try:
            self._socket.accept()
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    trap = Trap()
    yield trap
    assert trap.nobody_came()
    trap.close()


def plant_stack(directory: Path, trap: Trap) -> None:
    """Write what a running stack writes, with addresses of one's own; somebody must hold the lock yet."""
    addresses = dict.fromkeys(
        (
            *("database_url", "temporal_address", "temporal_ui", "router", "preview_router", "router_admin"),
            *("gateway", "metrics", "gateway_metrics", "preview_key"),
        ),
        "",
    )
    token = directory / "admin-token"
    token.write_text("celadon_secret\n")
    planted = {**addresses, "api": trap.url, "admin_token_file": str(token), "data_dir": str(directory), "pid": 1}
    (directory / "stack.json").write_text(json.dumps(planted))


@as_root
@pytest.mark.parametrize("command", [["whoami"], ["doctor"]])
def test_a_command_in_somebody_elses_directory_believes_no_stack_there(
    command: list[str],
    other_user: OtherUser,
    trap: Trap,
) -> None:
    planted = other_user.directory / ".celadon"
    planted.mkdir(mode=0o755)
    plant_stack(planted, trap)
    (planted / "settings.json").write_text("{}")
    (planted / "lock").touch(mode=0o666)
    for path in (planted, *planted.iterdir()):
        path.chmod(0o777 if path.is_dir() else 0o666)
        os.chown(path, other_user.uid, other_user.gid)
    hold = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"
    holder = other_user.start_python(hold, planted / "lock")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"

    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CELADON", "DATABASE"))}
    done = subprocess.run(
        [sys.executable, "-m", "celadon.cli.main", *command],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=other_user.directory,
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
    )

    assert done.returncode == 1, done.stdout
    assert f"user id {other_user.uid}" in told(done), done.stderr


def test_a_stack_file_that_was_copied_here_is_not_believed(
    data_dir: Path,
    trap: Trap,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant_stack(data_dir, trap)
    (data_dir / "stack.json").chmod(0o644)
    monkeypatch.setattr(os, "environ", os.environ.copy())

    with DataDirectory(data_dir).locked():
        with pytest.raises(StackError, match="is not trusted"):
            StackAddresses.of_running(data_dir)
        with pytest.raises(StackError, match="is not trusted"):
            find_target(TargetChoice(data_dir=data_dir))
        with pytest.raises(StackError, match="is not trusted"):
            choose_target(data_dir)


@pytest.mark.parametrize("how", ["link", "others can write it", "others can write its directory"])
def test_a_profile_that_others_could_have_written_gets_no_token(
    how: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    directory = make_directory(tmp_path / "celadon")
    content = '[profiles.evil]\nurl = "https://evil.example"\ntoken = "celadon_x"\n'
    if how == "link":
        write_file(tmp_path / "elsewhere", content, mode=0o600)
        (directory / "config.toml").symlink_to(tmp_path / "elsewhere")
    else:
        write_file(directory / "config.toml", content, mode=0o600)
        path = directory / "config.toml" if how == "others can write it" else directory
        path.chmod(path.stat().st_mode | stat.S_IWOTH)

    with pytest.raises(CommandError, match="cannot be read"):
        read_profiles()
    assert list(complete_profiles("")) == []


def test_starter_files_are_not_written_through_a_link(tmp_path: Path, precious: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "chat.yaml").symlink_to(tmp_path / "not-there")

    with pytest.raises(CommandError, match="cannot be written"):
        write_starter_files("chat", Provisioner.LOCAL, tmp_path / "project", overwrite=False)
    assert not (tmp_path / "not-there").exists()

    (tmp_path / "project" / "chat.yaml").unlink()
    (tmp_path / "project" / "chat.yaml").symlink_to(precious)
    with pytest.raises(CommandError, match="cannot be written"):
        write_starter_files("chat", Provisioner.LOCAL, tmp_path / "project", overwrite=True)


# Permissions.


def test_files_are_private_from_their_first_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the mask of the process is, and though nobody comes to tighten permissions afterwards."""
    for name in ("chmod", "fchmod", "lchmod"):
        monkeypatch.setattr(os, name, lambda *_, **__: None, raising=False)
    before = os.umask(0)
    try:
        directory = DataDirectory.create(tmp_path / "new")
        StackSettings.load(directory.settings_file)
        record_children(directory.children_file, [])
        ensure_signing_key(directory)
        ChildLog(directory.logs / "api.log").open().close()
        with directory.locked():
            pass
        with ReplicaFiles(directory.replicas).open_output(ROUTE):
            pass
    finally:
        os.umask(before)

    for path in directory.path.rglob("*"):
        if path != directory.verify_keys:
            assert not stat.S_IMODE(path.lstat().st_mode) & 0o077, path


@as_root
def test_another_user_reads_nothing_of_it(reachable_directory: Path, other_user: OtherUser) -> None:
    """Root's data directory is one that others can pass through."""
    directory = DataDirectory.create(reachable_directory / "root-s")
    StackSettings.load(directory.settings_file)
    ensure_signing_key(directory)
    ChildLog(directory.logs / "api.log").open().close()
    with directory.locked():
        pass

    for path in (directory.path, *directory.path.rglob("*")):
        if path != directory.verify_keys:
            program = "ls" if path.is_dir() else "cat"
            assert "Permission denied" in other_user.run(program, path).stderr, path
