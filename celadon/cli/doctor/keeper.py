"""Is a keeper at work."""

import shlex

from celadon.cli.doctor.findings import Diagnosis, fine, wrong
from celadon.cli.doctor.keepers_writes import HOLDER
from celadon.stack.addresses import StackAddresses
from celadon.table.read.inspection import Inspection


def check_keeper(inspection: Inspection, stack: StackAddresses | None) -> Diagnosis:
    """Say who keeps replicas, or what a person must start: a keeper lives in a worker, which doctor cannot start."""
    keeper = inspection.keeper
    if keeper is not None and keeper.alive:
        return fine("keeper", f"at work: {keeper.holder}")
    last = "" if keeper is None or keeper.holder.startswith(HOLDER) else f"; the last one was {keeper.holder}"
    return wrong(
        "keeper",
        f"nobody starts, probes or stops replicas{last}",
        why="rollouts make no progress, no promotion goes through, and a replica that dies is not replaced",
        next_step="start a worker: 'celadon worker'" if stack is None else start_on_stack("worker", stack),
    )


def start_on_stack(child: str, stack: StackAddresses) -> str:
    """Return how a child of a local stack comes back, which the stack itself sees to."""
    log, directory = shlex.quote(str(stack.data_dir / "logs" / f"{child}.log")), shlex.quote(str(stack.data_dir))
    return (
        f"the stack starts its {child} again by itself, so ask again in some seconds; when it stays so, see {log}, or "
        f"stop the stack and start it again with 'celadon up --data-dir {directory}'"
    )
