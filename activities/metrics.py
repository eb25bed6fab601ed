"""What a worker tells Prometheus of the steps that it tries, and the interceptor that counts them."""

from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from celadon.table.core.outages import TABLE_OUTAGES, DatabaseTrouble, trouble_of


class StepMetrics:
    """The metrics of steps in one registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Register them."""
        self.outages = Counter(
            "celadon_step_outages",
            "Attempts of steps that failed because the database could not be reached; they are made again.",
            ["step"],
            registry=registry,
        )
        self.faults = Counter(
            "celadon_step_faults",
            "Attempts of steps that failed for another reason, which waiting may not heal; they are made again.",
            ["step"],
            registry=registry,
        )

    def count(self, step: str, error: Exception) -> None:
        """Count a failed attempt; a refusal, and whatever else is final, is an answer."""
        if isinstance(error, ApplicationError) and error.non_retryable:
            return
        is_outage = isinstance(error, TABLE_OUTAGES) or trouble_of(error) is DatabaseTrouble.OUTAGE
        (self.outages if is_outage else self.faults).labels(step).inc()


class CountedSteps(Interceptor):
    """Counts the attempts of steps that fail; Temporal's SDK logs each with its trace."""

    def __init__(self, metrics: StepMetrics) -> None:
        """Count in these metrics."""
        self._metrics = metrics

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK's name
        """Stand around every activity."""
        return _Counted(next, self._metrics)


class _Counted(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, metrics: StepMetrics) -> None:  # noqa: A002 - the SDK's name
        super().__init__(next)
        self._metrics = metrics

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401 - as the SDK has it
        try:
            return await super().execute_activity(input)
        except Exception as error:
            self._metrics.count(activity.info().activity_type, error)
            raise
