"""Limits of the Temporal server, as far as they can be seen from outside."""

import pytest
from temporalio.testing import WorkflowEnvironment

from celadon.cli.doctor.temporal_limits import CHECK
from tests.cli.doctor.conftest import Doctor
from tests.table.rows import Rows


async def test_a_server_with_limits_is_fine_and_what_it_does_not_tell_is_named(doctor: Doctor, well: Rows) -> None:
    del well
    _, found = await doctor()

    assert found[CHECK]["verdict"] == "fine"
    assert "at most 262,144 bytes" in found[CHECK]["told"]
    assert "limit.blobSize.warn=262144, history.maximumBufferedEventsBatch=20000" in found[CHECK]["told"]


async def test_a_server_with_the_limits_of_its_own_is_told_what_to_set(
    doctor: Doctor,
    well: Rows,
    temporal_env: WorkflowEnvironment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del well
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_env.client.service_client.config.target_host)

    _, found = await doctor()

    assert (found[CHECK]["verdict"], found[CHECK]["told"]) == ("odd", "a payload may have 2,097,152 bytes")
    for setting in (
        "limit.blobSize.error=262144",
        "limit.blobSize.warn=262144",
        "history.maximumBufferedEventsBatch=20000",
        "history.maximumSignalsPerExecution=1000",
    ):
        assert setting in found[CHECK]["next_step"]
