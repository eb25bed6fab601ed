"""The provisioner ``static``: endpoints that exist already; somebody else starts and stops them."""

import asyncio
from collections.abc import Set as AbstractSet

from celadon.domain.decisions.reachable import Reach
from celadon.domain.language.masking import mask
from celadon.domain.language.names import RouteId
from celadon.domain.language.revision import Revision
from celadon.provisioners.protocol import Address, Ended, Listener, ListenerCheck, Observation, Place, Replica, Running


class StaticProvisioner:
    """Gives each replica of a set one of the revision's endpoints, in their order."""

    def __init__(self, reach: Reach = Reach()) -> None:  # noqa: B008 - it is frozen
        """Use the endpoints that ``reach`` does not refuse."""
        self._reach = reach

    def choose_place(
        self,
        revision: Revision,
        of_set: AbstractSet[Address],
        in_use: AbstractSet[Address],  # noqa: ARG002 - two revisions may list the same endpoint
    ) -> Place | None:
        """Return the first endpoint that the set does not use yet."""
        places = (Place(host, ports) for host, ports in revision.places())
        return next((place for place in places if not place.addresses & of_set), None)

    async def start(self, replica: Replica) -> None:
        """Do nothing: the endpoint exists."""

    async def look(self, replica: Replica) -> Observation:
        """Return that it runs, probes say whether that is true; or why no traffic may be sent there."""
        for address in replica.place.addresses:
            refusal = self._reach.refuse_endpoint(address.host, address.port)
            if refusal:
                return Ended(refusal)
        return Running()

    async def until_ended(self, replica: Replica) -> Ended:
        """Wait for ever: only probes see that an endpoint is gone."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError(f"the end of endpoint {replica.address} cannot be seen")

    async def check_listener(self, replica: Replica) -> ListenerCheck:  # noqa: ARG002 - part of the protocol
        """Return that all is well: who listens at an endpoint is whoever the revision means."""
        return ListenerCheck(Listener.OWN)

    def last_output(self, replica: Replica) -> str:  # noqa: ARG002 - part of the protocol
        """Return nothing: what an endpoint prints is seen elsewhere."""
        return ""

    def mask(self, replica: Replica, text: str) -> str:  # noqa: ARG002 - part of the protocol
        """Strike out what looks like a token."""
        return mask(text)

    async def stop(self, replica: Replica) -> None:
        """Do nothing: the endpoint is not ours."""

    async def forget(self, route: RouteId) -> None:
        """Do nothing: nothing is remembered."""

    async def remembered(self) -> frozenset[RouteId]:
        """Return nothing."""
        return frozenset()

    async def end_stray(self, route: RouteId) -> None:
        """Do nothing: nothing is remembered."""
