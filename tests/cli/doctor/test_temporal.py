"""Search attributes that are not registered."""

import pytest
from temporalio.api.operatorservice.v1 import RemoveSearchAttributesRequest
from temporalio.client import Client

from celadon.client.search_attributes import missing_search_attributes
from celadon.domain.language.contracts import SEARCH_ATTRIBUTES
from tests.cli.doctor.conftest import Doctor, not_fine
from tests.table.rows import Rows


async def test_all_of_a_new_namespace_are_registered(
    doctor: Doctor,
    own_temporal: str,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await rows.live()
    await rows.router("edge-1", 1000)
    monkeypatch.setenv("TEMPORAL_ADDRESS", own_temporal)
    client = await Client.connect(own_temporal)
    assert await missing_search_attributes(client) == tuple(SEARCH_ATTRIBUTES)

    code, found = await doctor()
    assert (code, not_fine(found)) == (1, {"search attributes": "wrong"})
    assert await missing_search_attributes(client) == tuple(SEARCH_ATTRIBUTES)

    code, mended = await doctor("--fix")
    assert (code, not_fine(mended)) == (0, {"search attributes": "mended"})
    assert await missing_search_attributes(client) == ()

    assert (await doctor())[0] == 0


async def test_one_that_was_removed_is_registered_again(doctor: Doctor, temporal: Client, well: Rows) -> None:
    del well
    await temporal.operator_service.remove_search_attributes(
        RemoveSearchAttributesRequest(namespace=temporal.namespace, search_attributes=["CeladonPhase"]),
    )

    _, found = await doctor()
    code, mended = await doctor("--fix")

    assert found["search attributes"]["told"] == "not registered: CeladonPhase"
    assert (code, mended["search attributes"]["done"]) == (0, "registered CeladonPhase")
    assert (await doctor())[0] == 0
