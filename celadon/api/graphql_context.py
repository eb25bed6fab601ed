"""What a GraphQL query has at hand."""

from strawberry.fastapi import BaseContext

from celadon.api.context import Caller, ServiceOf
from celadon.api.loaders import Loaders
from celadon.api.serving import ApiService
from celadon.service.principal import Principal


class GraphContext(BaseContext):
    """One request's caller, service and loaders."""

    def __init__(self, who: Principal, service: ApiService) -> None:
        """Serve ``who``."""
        super().__init__()
        self.who = who
        self.service = service
        self.loaders = Loaders(service, who)

    def renew(self) -> None:
        """Forget what was read: a mutation has changed it."""
        self.loaders = Loaders(self.service, self.who)


async def graph_context(who: Caller, service: ServiceOf) -> GraphContext:
    """Return the context of one request, whose caller is known."""
    return GraphContext(who, service)
