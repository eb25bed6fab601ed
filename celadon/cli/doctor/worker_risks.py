"""What the worker's settings let others do that they need not."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from celadon.cli.doctor.findings import Diagnosis, odd
from celadon.domain.language.states import WorkerRisk
from celadon.table.read.inspection import Inspection

_CHECK: Final = "worker's settings"

_TOLD: Final[Mapping[str, tuple[str, str, str]]] = MappingProxyType(
    {
        WorkerRisk.UNSIGNED_ALL: (
            "messages that nobody has signed may do everything (CELADON_UNSIGNED=all)",
            "whoever reaches Temporal starts rollouts of any command, and so runs programs on the workers' machines",
            "set CELADON_UNSIGNED=decisions, or none, and start the worker again",
        ),
        WorkerRisk.NO_KEYS: (
            "no signature is believed (CELADON_VERIFY_KEYS_FILE is not set)",
            "the audit log shows every sender as declared, and the API starts no revision that is not registered",
            "make a pair of keys (docs/security.md), name the private one at the API and the public one at the worker",
        ),
    },
)


def check_worker_risks(inspection: Inspection) -> tuple[Diagnosis, ...]:
    """Say of each risk what it lets others do and how it is taken away; nothing when there is none."""
    keeper = inspection.keeper
    if keeper is None or not keeper.alive:
        return ()
    return tuple(
        odd(_CHECK, finding, why=why, next_step=next_step)
        for risk in keeper.risks
        if risk in _TOLD
        for finding, why, next_step in [_TOLD[risk]]
    )
