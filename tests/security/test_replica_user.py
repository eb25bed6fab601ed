"""Replicas that run as a user of their own: what they cannot read, and that the keeper still knows and ends them."""

import asyncio
import json
import os
import pwd
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from celadon.domain.language.names import RouteId
from celadon.domain.language.revision import Revision
from celadon.provisioners.local import LocalProvisioner
from celadon.provisioners.protocol import Replica
from celadon.provisioners.replica_user import NEEDED_CAPABILITIES, ReplicaUser, ReplicaUserError
from celadon.provisioners.settings import LocalSettings
from celadon.table.core.engine import Table
from tests.keeper.conftest import chat  # noqa: F401 - fixtures
from tests.keeper.rollouts import Deploying
from tests.keeper.running import Rollouts, running_keeper
from tests.provisioners.programs import DEADLINE_SECONDS, processes_of
from tests.security.other_user import OtherUser

pytestmark = pytest.mark.parts

PERL_SERVER = """
my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $ARGV[0], Listen => 9, ReuseAddr => 1) or die;
while (my $c = $s->accept) { print $c "HTTP/1.0 200 OK\\r\\n\\r\\n"; close $c }
"""
"""A server that runs where the interpreter of the tests cannot be entered by another user."""

SERVER = ("perl", "-MIO::Socket::INET", "-e", PERL_SERVER, "{port}")

BURGLAR = """
for file in "$@"; do cat "$file" && echo "has read $file"; done
ls -d "$STATE"/* && echo "has listed the state directory"
kill -0 "$WORKER" && echo "can signal the worker"
echo "ids $(id -u) $(id -g) $(id -G)"
grep -E '^(NoNewPrivs|CapPrm|CapEff|CapInh|CapAmb):' /proc/self/status
env
"""

WORKER = """
import asyncio, json, sys, uuid
from pathlib import Path
from celadon.domain.language.names import RouteId
from celadon.domain.language.revision import Revision
from celadon.provisioners.local import LocalProvisioner
from celadon.provisioners.protocol import Listener, Replica
from celadon.provisioners.replica_user import ReplicaUser
from celadon.provisioners.settings import LocalSettings

async def main():
    uid, state, command = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    user = ReplicaUser("replica", uid, uid, (uid,), "/", "/bin/sh")
    user.check_that_it_can_be_become()
    local = LocalProvisioner(LocalSettings(state_dir=state, replica_user=user))
    revision = Revision(command=tuple(command), termination_grace="5s")
    place = local.choose_place(revision, frozenset(), frozenset())
    replica = Replica(RouteId(str(uuid.uuid4())), place, revision)
    await local.start(replica)
    for _ in range(600):
        check = await local.check_listener(replica)
        if check.listener is not Listener.NONE:
            break
        await asyncio.sleep(0.1)
    claim = local._files.claim(replica.route)
    pid = claim.pid
    status = Path(f"/proc/{pid}/status").read_text()
    await local.stop(replica)
    left = claim.is_running(replica.route)
    print(json.dumps({"listener": check.listener, "error": check.error, "status": status, "left": left}))

asyncio.run(main())
"""


@pytest.fixture
def replica_user(other_user: OtherUser) -> ReplicaUser:
    """Return the user of replicas; it stands in no list of this machine, so it is not looked up."""
    home = str(other_user.directory)
    return ReplicaUser("replica", other_user.uid, other_user.gid, (other_user.gid,), home, "/bin/sh")


@pytest_asyncio.fixture(loop_scope="session")
async def state_dir(reachable_directory: Path, tmp_path: Path) -> AsyncIterator[Path]:
    """Return a state directory whose place everybody can enter, what keeps others out is its own mode.

    Its replicas end with the test.
    """
    directory = reachable_directory / f"state-{tmp_path.name}"
    yield directory
    rest = LocalProvisioner(LocalSettings(state_dir=directory))
    for route in await rest.remembered():
        await rest.end_stray(route)


@pytest.fixture
def local(state_dir: Path, replica_user: ReplicaUser) -> LocalProvisioner:
    return LocalProvisioner(LocalSettings(state_dir=state_dir, replica_user=replica_user))


def a_replica(local: LocalProvisioner, command: tuple[str, ...], **env: str) -> Replica:
    revision = Revision(command=command, env=dict(env))
    place = local.choose_place(revision, frozenset(), frozenset())
    assert place is not None
    return Replica(RouteId("5f0c3c0e-0000-4000-8000-000000000001"), place, revision)


async def test_a_replica_cannot_read_keys_tokens_or_environment_of_the_worker(
    local: LocalProvisioner,
    state_dir: Path,
    replica_user: ReplicaUser,
    reachable_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("CELADON_PREVIEW_KEY", "DATABASE_URL", "TEMPORAL_API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, "value-of-the-worker")
    files = [reachable_directory / name for name in ("api-signing-key.pem", "admin-token")]
    for file in files:
        file.touch(mode=0o600)
        file.write_text("what nobody else may read")
    own = Path("/proc") / str(os.getpid())
    targets = [*map(str, files), str(own / "environ"), str(own / "mem"), str(own / "fd" / "0"), "/etc/shadow"]
    replica = a_replica(local, ("sh", "-c", BURGLAR, "sh", *targets), STATE=str(state_dir), WORKER=str(os.getpid()))
    await local.start(replica)
    output = (await asyncio.wait_for(local.until_ended(replica), DEADLINE_SECONDS)).output
    assert f"ids {replica_user.uid} {replica_user.gid} {replica_user.gid}\n" in output, output
    assert "has read" not in output
    assert "has listed" not in output
    assert "can signal" not in output
    assert "value-of-the-worker" not in output
    assert "nobody else" not in output
    assert "NoNewPrivs:\t1" in output
    assert {line.split()[1] for line in output.splitlines() if line.startswith("Cap")} == {"0000000000000000"}
    assert f"HOME={replica_user.home}" in output


async def test_a_keeper_knows_and_ends_replicas_of_another_user(
    table: Table,
    state_dir: Path,
    replica_user: ReplicaUser,
    chat: Deploying,  # noqa: F811
) -> None:
    async with running_keeper(table, state_dir, Rollouts(), replica_user=replica_user):
        await chat.open({"command": SERVER})
        [route] = await chat.healthy(1)
        [pid] = processes_of(str(route.id))
        assert psutil.Process(pid).uids().real == replica_user.uid
        await chat.close(chat.green)
        await chat.ended(1)
    assert not processes_of(str(route.id))


async def test_a_worker_with_the_capabilities_of_the_unit_can_keep_replicas_of_another_user(
    other_user: OtherUser,
    replica_user: ReplicaUser,
    reachable_directory: Path,
) -> None:
    state = reachable_directory / "state-of-the-unit"
    worker = str(other_user.uid + 1)
    wanted = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in NEEDED_CAPABILITIES)
    state.mkdir()
    os.chown(state, int(worker), int(worker))
    done = await asyncio.to_thread(
        subprocess.run,
        [
            *("setpriv", "--reuid", worker, "--regid", worker, "--clear-groups", "--no-new-privs"),
            *("--inh-caps", f"-all,{wanted}", "--ambient-caps", f"-all,{wanted}", "--bounding-set", f"-all,{wanted}"),
            *(sys.executable, "-c", WORKER, str(replica_user.uid), str(state), json.dumps(SERVER)),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["listener"], told["error"], told["left"]) == ("own", "", False)
    status = dict(line.split(":\t", 1) for line in told["status"].splitlines() if ":\t" in line)
    assert set(status["Uid"].split()) == {str(replica_user.uid)}
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}


@pytest.mark.parametrize("name", ["root", "nobody"])
def test_a_user_that_replicas_do_not_have_alone_is_refused(name: str) -> None:
    with pytest.raises(ReplicaUserError, match="name a user that replicas alone have"):
        ReplicaUser.named(name)


def test_a_user_that_is_missing_is_refused_with_what_to_do() -> None:
    with pytest.raises(ReplicaUserError, match="useradd --system"):
        ReplicaUser.named("no-such-user")


def test_a_worker_that_cannot_become_the_user_says_so_at_its_start(other_user: OtherUser) -> None:
    code = (
        "from celadon.provisioners.replica_user import ReplicaUser\n"
        "ReplicaUser('replica', 12345, 12345, (), '/', '/bin/sh').check_that_it_can_be_become()"
    )
    assert "may not run programs as 'replica'" in other_user.run_python(code).stderr


def test_the_workers_own_user_is_no_user_for_replicas() -> None:
    entry = pwd.getpwuid(os.geteuid())
    own = ReplicaUser(entry.pw_name, entry.pw_uid, entry.pw_gid, (), entry.pw_dir, entry.pw_shell)
    with pytest.raises(ReplicaUserError, match="this worker itself runs as"):
        own.check_that_it_can_be_become()
