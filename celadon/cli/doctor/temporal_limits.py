"""Do the Temporal server's limits bound what a flood of messages does to a rollout."""

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.service import RPCError

from celadon.cli.doctor.findings import Diagnosis, fine, odd
from celadon.cli.session import Session
from celadon.stack.temporal_server import LIMITS, LONGEST_PAYLOAD, MOST_BUFFERED_EVENTS, MOST_SIGNALS

CHECK = "Temporal's limits"

_WHY = (
    "a few messages as long as that fill a rollout's history, and the server terminates it; beside a flood of signals "
    "none of its tasks completes where the server buffers 100 events, as it does by default, and a worker that was "
    "away does not read the 10,000 signals that a run takes by default within the time of one task"
)
_SET = (
    f"set {', '.join(LIMITS)} in the dynamic configuration of the server (deploy/README.md); of Temporal Cloud, ask "
    "its support"
)


async def check_temporal_limits(session: Session) -> Diagnosis:
    """Compare the one limit that a server tells with what Celadon needs; the other is seen by its effect alone."""
    client = await session.temporal()
    try:
        described = await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace),
        )
    except RPCError as error:
        return odd(
            CHECK,
            f"cannot be read: {error.message}",
            why=_WHY.replace("as long as that", "of 2 MiB"),
            next_step=_SET,
        )
    longest = described.namespace_info.limits.blob_size_limit_error
    if 0 < longest <= LONGEST_PAYLOAD:
        return fine(CHECK, _fine(longest, is_of_stack=session.target.stack is not None))
    return odd(
        CHECK,
        f"a payload may have {longest:,} bytes" if longest else "the server does not tell how long a payload may be",
        why=_WHY,
        next_step="start the stack again" if session.target.stack is not None else _SET,
    )


def _fine(longest: int, *, is_of_stack: bool) -> str:
    size = f"a payload has at most {longest:,} bytes"
    if is_of_stack:
        return f"{size}, {MOST_BUFFERED_EVENTS:,} events are buffered, a run takes {MOST_SIGNALS:,} signals"
    return f"{size}; whether {', '.join(LIMITS[1:])} are set no server tells: see its dynamic configuration"
