"""Attempts of steps that fail are counted: outages apart from what waiting does not heal."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.metrics import CountedSteps, StepMetrics
from celadon.table.core.outages import NotMigratedError, TableAwayError


class Failing(ActivityInboundInterceptor):
    """An activity that raises an error."""

    def __init__(self, error: Exception) -> None:
        """Raise this error."""
        self.error = error

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ARG002 - as the SDK has it
        """Fail."""
        raise self.error


@pytest.mark.parametrize(
    ("error", "outages", "faults"),
    [
        (TableAwayError("the connection was closed"), 1, 0),
        (TimeoutError(), 1, 0),
        (ConnectionResetError(), 1, 0),
        (NotMigratedError("run 'celadon db upgrade'"), 0, 1),
        (KeyError("green"), 0, 1),
        (ApplicationError("not yet"), 0, 1),
        (ApplicationError("frozen", type="FROZEN", non_retryable=True), 0, 0),
    ],
)
async def test_a_failed_attempt_is_counted_by_its_kind(error: Exception, outages: int, faults: int) -> None:
    registry = CollectorRegistry()
    counted = CountedSteps(StepMetrics(registry)).intercept_activity(Failing(error))

    async def execute() -> None:
        await counted.execute_activity(ExecuteActivityInput(fn=execute, args=(), executor=None, headers={}))

    environment = ActivityEnvironment()
    with pytest.raises(type(error)):
        await environment.run(execute)

    step = {"step": environment.info.activity_type}
    assert (registry.get_sample_value("celadon_step_outages_total", step) or 0) == outages
    assert (registry.get_sample_value("celadon_step_faults_total", step) or 0) == faults
