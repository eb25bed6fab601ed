"""Data loaders: what many deployments of one query ask for is read in one statement."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from strawberry.dataloader import DataLoader

from celadon.api.serving import ApiService
from celadon.service.principal import Principal
from celadon.service.rollout_view import WorkflowAnswer
from celadon.service.views.deployment import ask_workflow
from celadon.service.views.deployments import ListedDeployment
from celadon.table.core.labels import named, within
from celadon.table.read import of_deployments
from celadon.table.read.overview import list_deployments
from celadon.table.read.router_list import behind_of
from celadon.table.records.events import DeploymentEvent
from celadon.table.records.revisions import RevisionRecord
from celadon.table.records.rollouts import RolloutRecord
from celadon.table.records.route_sets import RouteRecord, RouteSetRecord
from celadon.table.records.routers import AcknowledgementRecord, BehindLine

MOST_ROWS: Final = 200
"""How many rows one read answers with at most: pages of many deployments are read in several, others between them."""

RowT = TypeVar("RowT")
_Query: TypeAlias = Callable[..., Awaitable[defaultdict[str, list[RowT]]]]


class Loaders:
    """The loaders of one request; what they have read lasts as long as it."""

    def __init__(self, service: ApiService, who: Principal) -> None:
        """Read for ``who``; the deployments themselves were read in the caller's scope."""
        self._service = service
        self._who = who
        self._pages: dict[tuple[object, ...], DataLoader[str, Any]] = {}
        self.lines: DataLoader[str, ListedDeployment | None] = DataLoader(self._lines)
        self.workflows: DataLoader[str, WorkflowAnswer] = DataLoader(self._workflows)

    def routes(self, limit: int, after: str | None) -> DataLoader[str, list[RouteRecord]]:
        """Return the loader of so many replicas, of those that come after one."""
        return self._page(of_deployments.routes_of, after=after, limit=limit)

    def route_sets(self, limit: int, after: int | None) -> DataLoader[str, list[RouteSetRecord]]:
        """Return the loader of so many sets, of those above a number."""
        return self._page(of_deployments.route_sets_of, after=after, limit=limit)

    def revisions(self, limit: int, before: int | None) -> DataLoader[str, list[RevisionRecord]]:
        """Return the loader of so many last revisions below a number."""
        return self._page(of_deployments.revisions_of, before=before, limit=limit)

    def acknowledgements(self, limit: int, after: str | None) -> DataLoader[str, list[AcknowledgementRecord]]:
        """Return the loader of what so many routers serve, of those that come after one."""
        return self._page(of_deployments.acknowledgements_of, after=after, limit=limit)

    def events(self, limit: int, before: int | None) -> DataLoader[str, list[DeploymentEvent]]:
        """Return the loader of so many last lines of the audit log below a number."""
        return self._page(of_deployments.events_of, before=before, limit=limit)

    def rollouts(self, limit: int, before: int | None) -> DataLoader[str, list[RolloutRecord]]:
        """Return the loader of so many last rollouts below a number."""
        return self._page(of_deployments.rollouts_of, before=before, limit=limit)

    def behind(self, limit: int, after: str | None) -> DataLoader[str, list[BehindLine]]:
        """Return the loader, by router, of so many deployments that it is behind with, of those after a name."""

        async def load(nodes: list[str]) -> list[list[BehindLine]]:
            lines = await self._service.read(
                self._who,
                lambda tx, scope: behind_of(tx, nodes, scope, after=after, limit=limit),
            )
            return [lines[node] for node in nodes]

        return self._kept(("behind", limit, after), load, limit)

    def _page(self, query: _Query[RowT], limit: int, **page: str | int | None) -> DataLoader[str, list[RowT]]:
        async def load(names: list[str]) -> list[list[RowT]]:
            pages = await self._service.read(self._who, lambda tx, _: query(tx, names, limit=limit, **page))
            return [pages[name] for name in names]

        return self._kept((query, limit, *page.values()), load, limit)

    def _kept(
        self,
        key: tuple[object, ...],
        load: Callable[[list[str]], Awaitable[list[list[RowT]]]],
        limit: int,
    ) -> DataLoader[str, list[RowT]]:
        """Return the one loader of a page: what is selected twice is read once."""
        if key not in self._pages:
            self._pages[key] = DataLoader(load, max_batch_size=max(1, MOST_ROWS // limit))
        return self._pages[key]

    async def _lines(self, names: list[str]) -> list[ListedDeployment | None]:
        lines = await self._service.read(
            self._who,
            lambda tx, scope: list_deployments(tx, within(scope), named(names), limit=len(names)),
        )
        by_name = {line.deployment: ListedDeployment.of(line) for line in lines}
        return [by_name.get(name) for name in names]

    async def _workflows(self, names: list[str]) -> Sequence[WorkflowAnswer | BaseException]:
        return await asyncio.gather(
            *(ask_workflow(self._service, self._who, name) for name in names),
            return_exceptions=True,
        )
