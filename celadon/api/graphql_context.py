"""What a GraphQL query has at hand."""

from strawberry.fastapi import BaseContext

from celadon.api.context import Caller, DeskOf
from celadon.api.desk import Desk
from celadon.api.loaders import Loaders
from celadon.service.principal import Principal


class GraphContext(BaseContext):
    """One request's caller, desk and loaders."""

    def __init__(self, who: Principal, desk: Desk) -> None:
        """Serve ``who`` at ``desk``."""
        super().__init__()
        self.who = who
        self.desk = desk
        self.loaders = Loaders(desk, who)

    def renew(self) -> None:
        """Forget what was read: a mutation has changed it."""
        self.loaders = Loaders(self.desk, self.who)


async def graph_context(who: Caller, desk: DeskOf) -> GraphContext:
    """Return the context of one request, whose caller is known."""
    return GraphContext(who, desk)
