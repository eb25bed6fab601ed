"""Are the sets of replicas well."""

from collections.abc import Iterator

from celadon.cli.doctor.findings import Diagnosis, wrong
from celadon.table.read.inspection import Inspection


def check_sets(inspection: Inspection) -> Iterator[Diagnosis]:
    """Name sets that the keeper has given up, and deployments in panic; both need another revision, so a person."""
    for failed in inspection.failed_sets:
        yield wrong(
            f"set {failed.route_set}",
            f"the {'live set' if failed.is_live else 'green'} of {failed.deployment} (r{failed.revision}) has "
            f"failed: {failed.last_error or 'its replicas could not be kept running'}",
            why="the keeper starts no more replicas for it",
            next_step=f"see 'celadon rollout status {failed.deployment}', then roll out a revision that works",
        )
    for name in inspection.panics:
        yield wrong(
            f"deployment {name}",
            "too few live replicas are healthy",
            why="unhealthy ones get traffic too, so requests fail",
            next_step=f"see 'celadon rollout status {name}'",
        )
