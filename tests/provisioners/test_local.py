"""The provisioner ``local`` on real processes."""

import asyncio
import os
import signal
import socket
import stat
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from celadon.domain.language.revision import Revision
from celadon.keeper.probes import connect
from celadon.owned_files import write_file
from celadon.provisioners.claims import ProcessClaim
from celadon.provisioners.launcher import CLAIM_SUFFIX, boot_id, read_stat
from celadon.provisioners.local import LocalProvisioner
from celadon.provisioners.protocol import Address, Ended, Listener, NeverStarted, Replica, Running, StartError
from celadon.provisioners.replica_files import LAST_LINES, OUTPUT_SUFFIX
from celadon.provisioners.settings import LocalSettings
from tests.provisioners.conftest import MakeReplica
from tests.provisioners.programs import DEADLINE_SECONDS, processes_of, script, server, until


async def listens(replica: Replica) -> bool:
    return (await connect(replica.address, timedelta(seconds=DEADLINE_SECONDS))).passed


def leader(settings: LocalSettings, replica: Replica) -> int:
    pid = ProcessClaim.parse((settings.state_dir / f"{replica.route}{CLAIM_SUFFIX}").read_text()).pid
    assert pid is not None
    return pid


async def test_a_started_replica_runs_in_a_session_of_its_own_and_listens(
    local: LocalProvisioner,
    settings: LocalSettings,
    make_replica: MakeReplica,
) -> None:
    replica = make_replica(server())
    await local.start(replica)
    assert await local.look(replica) == Running()
    pid = leader(settings, replica)
    assert os.getsid(pid) == pid == os.getpgid(pid)
    await until(lambda: listens(replica))


async def test_what_was_never_started_is_not_known(local: LocalProvisioner, make_replica: MakeReplica) -> None:
    assert await local.look(make_replica(server())) == NeverStarted()


async def test_a_second_start_starts_nothing(local: LocalProvisioner, make_replica: MakeReplica) -> None:
    replica = make_replica(server())
    await asyncio.gather(local.start(replica), local.start(replica))
    await local.start(replica)
    await until(lambda: listens(replica))
    assert len(processes_of(replica.route)) == 1


async def test_launchers_of_two_workers_start_one_process(
    local: LocalProvisioner,
    settings: LocalSettings,
    make_replica: MakeReplica,
) -> None:
    other = LocalProvisioner(settings)
    replica = make_replica(server())
    await asyncio.gather(local.start(replica), other.start(replica))
    await until(lambda: processes_of(replica.route) == {leader(settings, replica)})
    await other.stop(replica)


async def test_a_replica_is_adopted_by_a_worker_that_did_not_start_it(
    local: LocalProvisioner,
    settings: LocalSettings,
    make_replica: MakeReplica,
) -> None:
    replica = make_replica(server())
    await local.start(replica)
    other = LocalProvisioner(settings)
    assert await other.look(replica) == Running()
    end = asyncio.create_task(other.until_ended(replica))
    await asyncio.sleep(0)
    os.kill(leader(settings, replica), signal.SIGKILL)
    ended = await asyncio.wait_for(end, DEADLINE_SECONDS)
    assert ended.failed
    assert "known only to the worker" in ended.error


async def test_a_command_that_exits_at_once_leaves_its_code_and_last_lines(
    local: LocalProvisioner,
    make_replica: MakeReplica,
) -> None:
    replica = make_replica(script("print('weights are missing'); raise SystemExit(3)"))
    await local.start(replica)
    ended = await asyncio.wait_for(local.until_ended(replica), DEADLINE_SECONDS)
    assert ended == Ended("exited with code 3", "weights are missing")


async def test_a_signal_that_ends_a_replica_is_named(
    local: LocalProvisioner,
    settings: LocalSettings,
    make_replica: MakeReplica,
) -> None:
    replica = make_replica(server())
    await local.start(replica)
    os.kill(leader(settings, replica), signal.SIGSEGV)
    assert (await local.until_ended(replica)).error == "was ended by SIGSEGV"


async def test_a_replica_whose_first_thread_has_ended_runs_until_its_last_one_has(
    local: LocalProvisioner,
    settings: LocalSettings,
    make_replica: MakeReplica,
) -> None:
    code = (
        "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(120,)).start(); "
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    replica = make_replica(script(code))
    await local.start(replica)
    first = psutil.Process(leader(settings, replica))
    await until(lambda: first.status() == psutil.STATUS_ZOMBIE)
    assert await local.look(replica) == Running()
    await local.stop(replica)
    assert (await local.until_ended(replica)).error == "was ended by SIGTERM"


async def test_only_the_last_lines_are_kept(local: LocalProvisioner, make_replica: MakeReplica) -> None:
    replica = make_replica(script("for n in range(10_000): print('line', n)"))
    await local.start(replica)
    lines = (await local.until_ended(replica)).output.splitlines()
    assert lines[-1] == "line 9999"
    assert len(lines) == 50


async def test_a_program_that_does_not_exist_is_named(local: LocalProvisioner, make_replica: MakeReplica) -> None:
    replica = make_replica(("/nowhere/no-such-program", "{port}"))
    await local.start(replica)
    assert (
        await local.until_ended(replica)
    ).error == "cannot execute '/nowhere/no-such-program': No such file or directory"


async def test_a_file_that_is_not_executable_is_named(
    local: LocalProvisioner,
    make_replica: MakeReplica,
    tmp_path: Path,
) -> None:
    program = tmp_path / "weights.bin"
    program.write_text("no program")
    replica = make_replica((str(program),))
    await local.start(replica)
    assert (await local.until_ended(replica)).error == f"cannot execute {str(program)!r}: Permission denied"


async def test_a_command_that_is_too_long_cannot_be_launched(
    local: LocalProvisioner,
    make_replica: MakeReplica,
) -> None:
    with pytest.raises(StartError, match="cannot be launched: Argument list too long"):
        await local.start(make_replica((*server(), "x" * 10_000_000)))


async def test_a_port_that_was_taken_meanwhile_is_not_the_revisions_fault(
    local: LocalProvisioner,
    make_replica: MakeReplica,
) -> None:
    replica = make_replica(server())
    with socket.create_server((replica.address.host, replica.address.port)):
        with pytest.raises(StartError, match="another program listens on") as caught:
            await local.start(replica)
        assert not caught.value.failed
    assert not processes_of(replica.route)


async def test_port_and_host_are_replaced_in_the_command(local: LocalProvisioner, make_replica: MakeReplica) -> None:
    replica = make_replica((*script("import sys; print(sys.argv[1])"), '{"listen": "{host}:{port}"}'))
    await local.start(replica)
    output = (await local.until_ended(replica)).output
    assert output == f'{{"listen": "127.0.0.1:{replica.address.port}"}}'


async def test_a_replica_sees_its_environment_and_not_the_workers_credentials(
    local: LocalProvisioner,
    make_replica: MakeReplica,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://celadon:password@db/celadon")
    monkeypatch.setenv("CELADON_PREVIEW_KEY", "key")
    monkeypatch.setenv("TEMPORAL_API_KEY", "key")
    code = "import os; print(*sorted(n for n in os.environ if n.startswith(('CELA', 'DATA', 'TEMP', 'MODEL'))))"
    replica = make_replica(script(code), env={"MODEL": "llama"})
    await local.start(replica)
    assert (await local.until_ended(replica)).output == "CELADON_ROUTE MODEL"


async def test_variables_have_the_replicas_address_in_the_places_of_host_and_port(
    local: LocalProvisioner, make_replica: MakeReplica, secrets_dir: Path
) -> None:
    (secrets_dir / "braces").write_text("1{port}")
    code = "import os; print(os.environ['URL'], len(os.environ['TOKEN']))"
    env = {"URL": "http://{host}:{port}/v1?{other}", "TOKEN": {"secret": "braces"}}
    replica = make_replica(script(code), env=env)
    await local.start(replica)
    output = (await local.until_ended(replica)).output
    assert output == f"http://{replica.address}/v1?{{other}} {len('1{port}')}"


async def test_a_replica_works_in_the_directory_of_its_revision(
    local: LocalProvisioner, make_replica: MakeReplica, tmp_path: Path
) -> None:
    replica = make_replica(script("import os; print(os.getcwd())"), working_dir=str(tmp_path))
    await local.start(replica)
    assert (await local.until_ended(replica)).output == str(tmp_path)


async def test_a_working_directory_that_is_not_there_fails_the_replica_by_its_name(
    local: LocalProvisioner, make_replica: MakeReplica
) -> None:
    replica = make_replica(script("print('never')"), working_dir="/nowhere/at-all")
    await local.start(replica)
    ended = await local.until_ended(replica)
    assert (ended.error, ended.output) == ("cannot work in '/nowhere/at-all': No such file or directory", "")


async def test_a_traceback_before_the_last_lines_is_kept_with_them(
    local: LocalProvisioner, make_replica: MakeReplica
) -> None:
    code = (
        "import traceback\ntry:\n    raise ValueError('no such shard')\nexcept ValueError:\n"
        "    traceback.print_exc()\nfor n in range(400):\n    print('INFO worker', n, 'é' * 20, 'stops')"
    )
    replica = make_replica(script(code), env={"PYTHONUNBUFFERED": "1"})
    await local.start(replica)
    output = (await local.until_ended(replica)).output
    lines = output.splitlines()
    assert "ValueError: no such shard" in lines
    assert lines[lines.index("ValueError: no such shard") + 1] == "[...]"
    assert lines[-1].endswith("399 " + "é" * 20 + " stops")
    assert len(lines) <= LAST_LINES
    assert len(output.encode()) <= 8_000


async def test_a_secret_reaches_the_replica_and_no_file_or_output(
    local: LocalProvisioner,
    settings: LocalSettings,
    make_replica: MakeReplica,
    secrets_dir: Path,
) -> None:
    (secrets_dir / "hub-token").write_text("hf_1234567890\n")
    code = "import os; print('token', os.environ['TOKEN'], len(os.environ['TOKEN']))"
    replica = make_replica(script(code), env={"TOKEN": {"secret": "hub-token"}})
    await local.start(replica)
    assert (await local.until_ended(replica)).output == "token [secret hub-token] 13"
    claims = [path.read_text() for path in settings.state_dir.glob(f"*{CLAIM_SUFFIX}")]
    assert claims
    assert not any("hf_1234567890" in claim for claim in claims)


async def test_a_missing_secret_is_named_and_nothing_starts(
    local: LocalProvisioner,
    make_replica: MakeReplica,
) -> None:
    replica = make_replica(server(), env={"TOKEN": {"secret": "hub-token"}})
    with pytest.raises(StartError, match="secret 'hub-token' is missing: write it to a file of that name"):
        await local.start(replica)
    assert not processes_of(replica.route)


async def test_files_are_the_owners_only(
    local: LocalProvisioner,
    settings: LocalSettings,
    make_replica: MakeReplica,
) -> None:
    replica = make_replica(server())
    await local.start(replica)
    # By then its launcher has removed its draft of the claim.
    await until(lambda: listens(replica))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in settings.state_dir.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(settings.state_dir.stat().st_mode) == 0o700


async def test_a_stopped_replica_ends_with_all_that_it_started(
    local: LocalProvisioner,
    make_replica: MakeReplica,
) -> None:
    replica = make_replica(server("family"))
    await local.start(replica)
    await until(lambda: listens(replica))
    await until(lambda: len(processes_of(replica.route)) == 3)
    await local.stop(replica)
    assert not processes_of(replica.route)


async def test_a_child_that_has_lost_the_replicas_environment_ends_with_its_group(
    local: LocalProvisioner,
    make_replica: MakeReplica,
    settings: LocalSettings,
) -> None:
    code = (
        "import subprocess, time; "
        "print(subprocess.Popen(['sleep', '120'], env={'PATH': '/usr/bin:/bin'}).pid, flush=True); time.sleep(120)"
    )
    replica = make_replica(script(code))
    await local.start(replica)
    output = settings.state_dir / f"{replica.route}{OUTPUT_SUFFIX}"
    await until(lambda: output.read_text().endswith("\n"))
    child = int(output.read_text())
    os.kill(leader(settings, replica), signal.SIGKILL)
    await local.until_ended(replica)
    assert psutil.pid_exists(child)
    await local.stop(replica)
    await until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


async def test_a_replica_that_ignores_sigterm_is_killed_after_its_grace(
    local: LocalProvisioner,
    make_replica: MakeReplica,
) -> None:
    replica = make_replica(server("stubborn"), termination_grace="300ms")
    await local.start(replica)
    await until(lambda: listens(replica))
    await local.stop(replica)
    assert not processes_of(replica.route)
    assert (await local.until_ended(replica)).error == "was ended by SIGKILL"


async def test_an_adopted_replica_can_be_stopped(
    local: LocalProvisioner,
    settings: LocalSettings,
    make_replica: MakeReplica,
) -> None:
    replica = make_replica(server())
    await local.start(replica)
    await LocalProvisioner(settings).stop(replica)
    assert not processes_of(replica.route)


async def test_a_crashed_replicas_children_end_too(
    local: LocalProvisioner,
    settings: LocalSettings,
    make_replica: MakeReplica,
) -> None:
    replica = make_replica(server("family"))
    await local.start(replica)
    await until(lambda: listens(replica))
    os.kill(leader(settings, replica), signal.SIGKILL)
    await local.until_ended(replica)
    assert len(processes_of(replica.route)) == 2
    await local.stop(replica)
    assert not processes_of(replica.route)


async def test_a_stop_before_the_start_keeps_a_late_launcher_from_starting(
    local: LocalProvisioner,
    settings: LocalSettings,
    make_replica: MakeReplica,
) -> None:
    replica = make_replica(server())
    await local.stop(replica)
    await LocalProvisioner(settings).start(replica)
    assert await local.look(replica) == Ended("it was stopped before it began", failed=False)
    assert not processes_of(replica.route)


async def test_a_forgotten_replica_cannot_be_started_by_a_late_launcher(
    local: LocalProvisioner,
    make_replica: MakeReplica,
) -> None:
    replica = make_replica(server())
    await local.start(replica)
    await local.stop(replica)
    await local.forget(replica.route)
    await local.start(replica)
    assert not processes_of(replica.route)
    assert await local.remembered() == frozenset()


async def test_old_claims_of_forgotten_replicas_are_removed(
    local: LocalProvisioner,
    settings: LocalSettings,
    make_replica: MakeReplica,
) -> None:
    replica = make_replica(server())
    await local.stop(replica)
    await local.forget(replica.route)
    claim = settings.state_dir / f"{replica.route}{CLAIM_SUFFIX}"
    os.utime(claim, (0, 0))
    await local.remembered()
    assert not claim.exists()


async def test_a_process_that_got_the_same_id_later_is_not_taken_for_the_replica(
    local: LocalProvisioner,
    settings: LocalSettings,
    make_replica: MakeReplica,
) -> None:
    bystander = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
    try:
        replica = make_replica(server())
        claim = settings.state_dir / f"{replica.route}{CLAIM_SUFFIX}"
        write_file(claim, f"{bystander.pid}\n1\n{boot_id()}", mode=0o600)
        assert isinstance(await local.look(replica), Ended)
        await local.stop(replica)
        assert bystander.returncode is None
        assert read_stat(bystander.pid) is not None
    finally:
        bystander.kill()
        await bystander.wait()


async def test_a_replica_of_an_earlier_boot_has_ended_without_fault(
    local: LocalProvisioner,
    settings: LocalSettings,
    make_replica: MakeReplica,
) -> None:
    replica = make_replica(server())
    stat_of_us = read_stat(os.getpid())
    assert stat_of_us is not None
    claim = settings.state_dir / f"{replica.route}{CLAIM_SUFFIX}"
    write_file(claim, f"{os.getpid()}\n{stat_of_us[1]}\nanother-boot", mode=0o600)
    assert await local.look(replica) == Ended("it ended with a restart of the machine", failed=False)
    await local.stop(replica)


async def test_a_stray_is_ended_and_forgotten(local: LocalProvisioner, make_replica: MakeReplica) -> None:
    replica = make_replica(server())
    await local.start(replica)
    assert await local.remembered() == {replica.route}
    await local.end_stray(replica.route)
    assert not processes_of(replica.route)
    assert await local.remembered() == frozenset()


PORTS = {"http": "http1", "grpc": "h2c", "metrics": "none"}


def test_each_port_is_reserved_for_one_replica(local: LocalProvisioner) -> None:
    revision = Revision.model_validate({"command": ("serve",), "ports": PORTS}, strict=False)
    given: frozenset[Address] = frozenset()
    for _ in range(50):
        place = local.choose_place(revision, given, frozenset())
        assert place is not None
        assert place.ports.keys() == PORTS.keys()
        assert len(place.addresses) == len(PORTS)
        assert not place.addresses & given
        given |= place.addresses


async def test_each_port_has_a_place_in_the_command_and_in_variables(
    local: LocalProvisioner, make_replica: MakeReplica
) -> None:
    code = "import os, sys; print(sys.argv[1], os.environ['AT'])"
    replica = make_replica((*script(code), "{port} {port.http} {port.grpc}"), env={"AT": "{port.metrics}"}, ports=PORTS)
    await local.start(replica)
    http, grpc, metrics = (replica.place.ports[name] for name in PORTS)
    assert (await local.until_ended(replica)).output == f"{http} {http} {grpc} {metrics}"


@pytest.mark.parametrize("name", PORTS)
async def test_nothing_starts_while_another_program_listens_on_one_of_its_ports(
    name: str, local: LocalProvisioner, make_replica: MakeReplica
) -> None:
    replica = make_replica(server(), ports=PORTS)
    taken = replica.place.address_of(name)
    with (
        socket.create_server((taken.host, taken.port)),
        pytest.raises(StartError, match=f"another program listens on {taken}"),
    ):
        await local.start(replica)


async def test_nobody_listens_until_each_port_that_gets_requests_is_open(
    local: LocalProvisioner, make_replica: MakeReplica
) -> None:
    replica = make_replica(server(), ports=PORTS)
    await local.start(replica)
    await until(lambda: listens(replica))
    check = await local.check_listener(replica)
    assert check.listener is Listener.NONE
    assert check.error == f"nobody listens on {replica.place.address_of('grpc')}"


async def test_another_program_on_the_port_of_grpc_is_told(local: LocalProvisioner, make_replica: MakeReplica) -> None:
    replica = make_replica(server(), ports=PORTS)
    await local.start(replica)
    await until(lambda: listens(replica))
    grpc = replica.place.address_of("grpc")
    with socket.create_server((grpc.host, grpc.port)):
        check = await local.check_listener(replica)
    assert check.listener is Listener.FOREIGN
    assert str(grpc) in check.error
