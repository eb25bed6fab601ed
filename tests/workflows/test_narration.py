"""In Temporal's UI a rollout explains itself."""

from typing import TYPE_CHECKING

from temporalio.api.sdk.v1 import WorkflowMetadata

from celadon.domain.language.contracts import SEARCH_DEPLOYMENT, SEARCH_PHASE, SEARCH_REVISION

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout


async def test_current_details_hold_the_command_to_promote(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()

    metadata = await rollout.handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)

    assert (
        f"temporal workflow update execute -w rollout-{rollout.deployment} --name promote" in metadata.current_details
    )
    assert "blue, r1" in metadata.current_details


async def test_every_handler_that_people_use_has_a_description(rollout: "RunningRollout") -> None:
    await rollout.start()

    metadata = await rollout.handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)

    handlers = [*metadata.definition.signal_definitions, *metadata.definition.update_definitions]
    named = {one.name for one in handlers if one.name}
    assert {"promote", "abort", "rollback"} <= named
    assert [one.name for one in handlers if one.name and not one.description] == []


async def test_search_attributes_find_a_rollout_that_waits(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()

    description = await rollout.handle.describe()

    found = {pair.key.name: pair.value for pair in description.typed_search_attributes}
    assert found[SEARCH_DEPLOYMENT] == rollout.deployment
    assert found[SEARCH_REVISION] == "2"
    assert found[SEARCH_PHASE] == "awaiting_promotion"
