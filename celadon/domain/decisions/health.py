"""What the answers of its probes make of a replica."""

from celadon.domain.language.base_models import Record
from celadon.domain.language.health_check import HealthCheck
from celadon.domain.language.states import RouteHealthStatus


class HealthRecord(Record):
    """What the probes of one replica have said so far."""

    status: RouteHealthStatus = RouteHealthStatus.NOT_CHECKED
    successes: int = 0
    failures: int = 0
    """Answers of one kind in a row; at most one of the two is above 0."""


def judge(record: HealthRecord, check: HealthCheck, *, passed: bool) -> HealthRecord:
    """Return the record after one more probe.

    A replica that was never healthy is ``unhealthy`` only after ``failure_threshold`` failures, so that one which
    still loads its weights is told apart from one that broke.
    """
    if passed:
        successes = record.successes + 1
        recovers_at_once = record.status is RouteHealthStatus.DEGRADED
        healthy = recovers_at_once or record.status is RouteHealthStatus.HEALTHY or successes >= check.success_threshold
        return HealthRecord(status=RouteHealthStatus.HEALTHY if healthy else record.status, successes=successes)
    failures = record.failures + 1
    if failures >= check.failure_threshold:
        status = RouteHealthStatus.UNHEALTHY
    elif record.status in {RouteHealthStatus.HEALTHY, RouteHealthStatus.DEGRADED}:
        status = RouteHealthStatus.DEGRADED
    else:
        status = record.status
    return HealthRecord(status=status, failures=failures)
