"""The quick cells of the matrix of deaths; ``make chaos`` runs all of it."""

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from tests.chaos.faults import FAULTS, Fault
from tests.chaos.matrix import ROUTERS, Matrix
from tests.chaos.moments import MOMENTS
from tests.chaos.site import Site, running_site
from tests.chaos.verdict import Cell

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

QUICK_FAULTS: Final = (
    "worker killed",
    "gateway killed",
    "Envoys killed",
    "temporal killed",
    "postgres killed",
    "workflow terminated",
)
QUICK_MOMENTS: Final = ("provisioning", "uncommitted", "unanswered", "draining")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site(reachable_directory: Path) -> AsyncIterator[Site]:
    """Run one stack for all quick cells."""
    directory = reachable_directory / "chaos"
    async with running_site(directory, routers=ROUTERS) as site:
        yield site
    shutil.rmtree(directory)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def matrix(site: Site) -> Matrix:
    """Return the matrix with the quick moments."""
    return Matrix(site, [moment for moment in MOMENTS if moment.name in QUICK_MOMENTS])


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name in QUICK_FAULTS], ids=lambda one: one.name)
async def test_whatever_dies_the_rollout_ends_as_it_must_and_no_other_request_is_lost(
    matrix: Matrix,
    fault: Fault,
) -> None:
    cells = await matrix.strike(fault)

    assert [cell.moment for cell in cells] == list(QUICK_MOMENTS)
    assert all(cell.requests.sent for cell in cells)
    assert all(cell.ok for cell in cells), _told(cells)


def _told(cells: list[Cell]) -> str:
    return "\n".join(json.dumps(cell.model_dump(mode="json"), indent=1) for cell in cells if not cell.ok)
