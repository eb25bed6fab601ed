"""A stack with several of each process."""

from pathlib import Path

import aiohttp
import pytest

from celadon.stack.addresses import StackAddresses
from celadon.stack.process_counts import ProcessCounts
from celadon.stack.settings import Port, StackSettings
from celadon.table.core.engine import Table
from celadon.table.core.models import Router
from tests.gateway.router import until
from tests.stack.stack_process import stack_process


def test_each_of_several_has_ports_of_its_own(tmp_path: Path) -> None:
    settings = StackSettings.load(tmp_path / "settings.json", workers=2, gateways=2, routers=3)

    assert len(set(settings.ports.values())) == len(settings.ports) == len(Port) + 1 + 1 + 2 * 2


def test_what_is_not_chosen_is_as_it_was_at_the_last_start(tmp_path: Path) -> None:
    StackSettings.load(tmp_path / "settings.json", routers=3)

    again = StackSettings.load(tmp_path / "settings.json", workers=2)

    assert again.shape == ProcessCounts(workers=2, routers=3)


@pytest.mark.stack
@pytest.mark.shared
async def test_each_router_serves_on_an_address_of_its_own_and_asks_its_gateway(reachable_directory: Path) -> None:
    async with stack_process(reachable_directory / "several", workers=2, gateways=2, routers=3) as process:
        addresses = await process.until_ready()

        assert {"worker-2", "gateway-2", "router-2", "router-3"} < set(addresses.children)
        async with aiohttp.ClientSession() as session:
            for router in addresses.routers:
                for url in (router.live, router.preview):
                    async with session.get(url) as answer:
                        assert answer.status == 404
        assert await _asked(addresses) == {router.node: router.gateway for router in addresses.routers}


async def _asked(addresses: StackAddresses) -> dict[str, str]:
    """Return which gateway each router asks, once all have been written down."""
    found: dict[str, str] = {}

    async def all_there() -> bool:
        async with Table(addresses.database_url, "celadon-tests") as table, table.transaction() as tx:
            rows = await tx.execute(Router.__table__.select())
            found.update({row.node: row.gateway.partition("/")[2] for row in rows})
        return len(found) == len(addresses.routers)

    await until(all_there)
    return found
