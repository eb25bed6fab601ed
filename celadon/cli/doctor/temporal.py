"""Does Temporal answer, and does it know the search attributes of rollouts."""

from temporalio.service import RPCError

from celadon.cli.doctor.findings import Diagnosis, Mended, fine, mendable, wrong
from celadon.cli.session import Session
from celadon.client.connection import TemporalUnreachableError
from celadon.client.search_attributes import missing_search_attributes, register_search_attributes

_ATTRIBUTES = "search attributes"


async def check_temporal(session: Session) -> Diagnosis:
    """Connect."""
    try:
        client = await session.temporal()
    except TemporalUnreachableError as error:
        finding, _, next_step = str(error).removeprefix("Temporal ").rpartition("; ")
        return wrong(
            "Temporal",
            finding,
            why="rollouts are its workflows: none starts, and none that waits hears a promotion",
            next_step=next_step,
        )
    return fine("Temporal", f"answers at {client.service_client.config.target_host}, namespace {client.namespace}")


async def check_search_attributes(session: Session) -> Diagnosis:
    """Compare what the namespace knows with what rollouts set; the mend registers the rest."""
    client = await session.temporal()
    try:
        missing = await missing_search_attributes(client)
    except RPCError as error:
        return wrong(
            _ATTRIBUTES,
            f"cannot be listed: {error.message}",
            why="a rollout that sets one which is not registered cannot start",
            next_step="check that the namespace exists (TEMPORAL_NAMESPACE) and that you may read it",
        )
    if not missing:
        return fine(_ATTRIBUTES, "registered")

    async def mend() -> Mended:
        try:
            registered = await register_search_attributes(client)
        except RPCError as error:
            return Mended(
                done="",
                left=f"Temporal refused to register them ({error.message}): ask the namespace's owner to create "
                f"{', '.join(missing)} as Keyword",
            )
        return Mended(done=f"registered {', '.join(registered) or 'nothing: somebody else just had'}")

    return mendable(
        _ATTRIBUTES,
        f"not registered: {', '.join(missing)}",
        why="rollouts cannot start without them",
        next_step="start a worker, which registers them, or register them as Keyword with 'temporal operator "
        "search-attribute create'",
        remedy="register them in the namespace, as a worker does when it starts",
        mend=mend,
    )
