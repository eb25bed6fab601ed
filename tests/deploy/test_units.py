"""The units of systemd: well-formed, hardened, and kind to replicas that must outlive the worker."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from celadon.provisioners.replica_user import NEEDED_CAPABILITIES
from tests.deploy.files import Unit, read_environment_file, read_unit, unit_files
from worker.settings import WorkerSettings

UNITS = {path.name: read_unit(path) for path in unit_files()}
WORKER, GATEWAY = UNITS["celadon-worker.service"], UNITS["celadon-gateway.service"]

KNOWN = {
    "Unit": {"Description", "Wants", "After", "StartLimitIntervalSec"},
    "Service": {
        *("Type", "User", "Group", "EnvironmentFile", "Environment", "StateDirectory", "StateDirectoryMode"),
        *("RuntimeDirectory", "RuntimeDirectoryMode"),
        *("ExecStart", "Restart", "RestartSec", "KillSignal", "KillMode", "TimeoutStartSec", "TimeoutStopSec"),
        *("OOMPolicy", "TasksMax", "LimitNOFILE", "UMask", "NoNewPrivileges", "CapabilityBoundingSet"),
        "AmbientCapabilities",
        *("ProtectSystem", "ProtectHome", "ReadWritePaths", "PrivateTmp", "PrivateDevices", "ProtectKernelTunables"),
        *("ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "ProtectClock", "ProtectHostname"),
        *("RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality"),
        *("SystemCallArchitectures", "SystemCallFilter", "SystemCallErrorNumber", "ProtectProc", "RemoveIPC"),
    },
    "Install": {"WantedBy"},
}
"""Settings of systemd 252 and later that the units use: what is misspelt would be ignored by systemd."""

MAY_BE_REPEATED = {"Environment"}

each_unit = pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)


@each_unit
def test_every_setting_is_known_and_stands_once(unit: Unit) -> None:
    places = [(section, key) for section, key, _ in unit.settings]

    assert not [place for place in places if place[1] not in KNOWN.get(place[0], ())]
    assert not [place for place in places if place[1] not in MAY_BE_REPEATED and places.count(place) > 1]


@each_unit
def test_programs_are_those_of_the_installation(unit: Unit) -> None:
    program = Path(unit.command[0])

    assert program.parent == Path("/opt/celadon/bin")
    assert os.access(Path(sys.executable).parent / program.name, os.X_OK)


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and "CI" not in os.environ,
    reason="there is no systemd-analyze: only the tests above have looked at the units",
)
def test_systemd_finds_nothing_to_complain_of(tmp_path: Path) -> None:
    """Programs are those of this environment, since systemd looks whether they are there."""
    analyze = shutil.which("systemd-analyze")
    assert analyze is not None, "CI must have it: install the package 'systemd'"
    for path in unit_files():
        text = path.read_text().replace("/opt/celadon/bin", str(Path(sys.executable).parent))
        (tmp_path / path.name).write_text(text)
    command = [analyze, "verify", "--man=no", *map(str, sorted(tmp_path.glob("*.service")))]

    answer = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)

    assert (answer.returncode, answer.stderr) == (0, "")


@each_unit
def test_none_runs_as_root_or_gains_privileges(unit: Unit) -> None:
    assert unit.value("Service", "User") == "celadon"
    assert unit.value("Service", "NoNewPrivileges") == "yes"
    assert unit.value("Service", "ProtectSystem") == "strict"


@each_unit
def test_what_it_writes_is_for_itself_alone(unit: Unit) -> None:
    assert unit.value("Service", "UMask") == "0077"
    assert unit.value("Service", "ProtectHome") == "yes"
    for value in unit.values("Service", "StateDirectoryMode"):
        assert value == "0700"


@pytest.mark.parametrize("unit", [unit for unit in UNITS.values() if unit is not WORKER], ids=lambda unit: unit.name)
def test_what_starts_no_programs_of_others_is_shut_in_further(unit: Unit) -> None:
    """Replicas inherit what the worker is forbidden, and it looks at processes of other users."""
    assert unit.value("Service", "PrivateTmp") == "yes"
    assert unit.value("Service", "PrivateDevices") == "yes"
    assert unit.value("Service", "SystemCallFilter") == "@system-service"
    assert unit.value("Service", "ProtectProc") == "invisible"


@pytest.mark.parametrize("unit", [unit for unit in UNITS.values() if unit is not WORKER])
def test_none_but_the_worker_has_a_capability(unit: Unit) -> None:
    assert unit.value("Service", "CapabilityBoundingSet") == ""
    assert unit.values("Service", "AmbientCapabilities") == []


def test_the_worker_has_what_it_takes_to_run_replicas_as_another_user_and_no_more() -> None:
    needed = set(NEEDED_CAPABILITIES)
    assert set(WORKER.value("Service", "AmbientCapabilities").split()) == needed
    assert set(WORKER.value("Service", "CapabilityBoundingSet").split()) == needed
    assert WORKER.environment["CELADON_REPLICA_USER"] not in {"", WORKER.value("Service", "User"), "root", "nobody"}


def test_replicas_outlive_the_worker() -> None:
    assert WORKER.value("Service", "KillMode") == "process"
    assert WORKER.value("Service", "OOMPolicy") == "continue"
    for ends_or_cripples_them in ("PrivateTmp", "PrivateDevices", "RuntimeDirectory", "MemoryDenyWriteExecute"):
        assert WORKER.values("Service", ends_or_cripples_them) == []
    assert "CELADON_STOP_REPLICAS_ON_EXIT" not in {**WORKER.environment, **read_environment_file()}


def test_claims_lie_where_systemd_keeps_them() -> None:
    directory = WORKER.value("Service", "StateDirectory")

    assert WORKER.environment["CELADON_STATE_DIR"] == f"/var/lib/{directory}"
    assert WORKER.value("Service", "StateDirectoryMode") == "0700"


def test_a_worker_has_time_to_end_its_steps() -> None:
    declared = read_environment_file()["CELADON_GRACEFUL_SHUTDOWN"]
    settings = WorkerSettings.model_validate({"DATABASE_URL": "x", "graceful_shutdown": declared})

    assert settings.graceful_shutdown < WORKER.stop_time / 2


def test_worker_and_gateway_start_after_the_upgrade_and_survive_its_failure() -> None:
    """Both wait for tables by themselves; a hard requirement would keep them down until somebody comes."""
    for unit in (WORKER, GATEWAY):
        assert "celadon-db-upgrade.service" in unit.value("Unit", "After").split()
        assert "celadon-db-upgrade.service" in unit.value("Unit", "Wants").split()
        assert unit.value("Service", "Restart") == "always"
        assert unit.value("Unit", "StartLimitIntervalSec") == "0"
