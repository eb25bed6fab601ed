"""An Envoy that was killed or frozen: ``router list`` and ``doctor`` say the same of it, and not that all is well."""

import os
import signal
from collections.abc import Sequence

import pytest

from celadon.cli.doctor.findings import Verdict
from celadon.cli.doctor.routers import check_routers
from celadon.table.core.engine import Table
from celadon.table.read.inspection import inspect
from celadon.table.read.router_list import list_routers
from celadon.table.records.routers import RouterState
from tests.gateway.replica import Replica
from tests.gateway.router import Router, until
from tests.gateway.rows import add_deployment
from tests.gateway.test_process import empty_database, router, running_gateway, serves, settings, table

__all__ = ["empty_database", "router", "settings", "table"]

pytestmark = pytest.mark.parts


async def _told(table: Table) -> tuple[RouterState, Sequence[Verdict]]:
    """Return what the list says of the router, and what the check-up says, both of the same moment."""
    async with table.transaction() as tx:
        [line] = (await list_routers(tx)).routers
        inspection = await inspect(tx)
    # Between the two the clock may pass the moment at which a silent stream counts as down.
    assert {one.state for one in inspection.routers} == {line.state} or line.stream_is_up
    return line.state, [one.finding.verdict for one in check_routers(inspection, None)]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_dead_router_is_cut_off_for_the_list_and_wrong_for_the_check_up(
    table: Table,
    settings: object,
    router: Router,
    blue: Replica,
    how: signal.Signals,
) -> None:
    await add_deployment(table, "chat", blue.port)
    async with running_gateway(settings):  # type: ignore[arg-type]
        await until(lambda: serves(table, "chat", 1))
        assert await _told(table) == (RouterState.LIVE, [Verdict.FINE])

        assert router.process.pid is not None
        os.kill(router.process.pid, how)
        try:

            async def is_cut_off() -> bool:
                return await _told(table) == (RouterState.CUT_OFF, [Verdict.WRONG])

            await until(is_cut_off)
        finally:
            if how is signal.SIGSTOP:
                os.kill(router.process.pid, signal.SIGCONT)
