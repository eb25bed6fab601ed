"""Doctor says what the worker's settings let others do."""

from datetime import UTC, datetime

import pytest

from celadon.cli.doctor.findings import Verdict
from celadon.cli.doctor.worker_risks import check_worker_risks
from celadon.client.signatures import AuthoritySettings
from celadon.domain.decisions.authority import Unsigned
from celadon.domain.language.states import WorkerRisk
from celadon.table.core.engine import Table
from celadon.table.read.inspection import Inspection, inspect
from celadon.table.replicas.leases import take_lease


async def looked_at(table: Table, *risks: WorkerRisk) -> Inspection:
    async with table.transaction() as tx:
        await take_lease(tx, "keeper-1", risks)
    async with table.transaction() as tx:
        return await inspect(tx)


@pytest.mark.parametrize(
    ("risk", "variable"),
    [
        (WorkerRisk.UNSIGNED_ALL, "CELADON_UNSIGNED"),
        (WorkerRisk.NO_KEYS, "CELADON_VERIFY_KEYS_FILE"),
    ],
)
async def test_a_risk_is_told_with_what_takes_it_away(table: Table, risk: WorkerRisk, variable: str) -> None:
    [diagnosis] = check_worker_risks(await looked_at(table, risk))
    finding = diagnosis.finding
    assert finding.verdict is Verdict.ODD
    assert variable in finding.told + finding.next_step
    assert finding.why


async def test_without_a_risk_nothing_is_told(table: Table) -> None:
    assert check_worker_risks(await looked_at(table)) == ()


async def test_a_keeper_that_is_gone_tells_nothing(table: Table) -> None:
    inspection = await looked_at(table, WorkerRisk.NO_KEYS)
    assert inspection.keeper is not None
    gone = inspection.keeper.model_copy(update={"alive": False, "seen_at": datetime.now(UTC)})
    assert check_worker_risks(inspection.model_copy(update={"keeper": gone})) == ()


def test_the_settings_of_a_worker_say_which_risks_it_takes() -> None:
    assert AuthoritySettings(unsigned=Unsigned.ALL).risks() == (WorkerRisk.UNSIGNED_ALL, WorkerRisk.NO_KEYS)
    assert AuthoritySettings(unsigned=Unsigned.DECISIONS).risks() == (WorkerRisk.NO_KEYS,)
