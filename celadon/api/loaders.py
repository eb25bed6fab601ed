"""Data loaders: what many deployments of one query ask for is read in one statement."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession
from strawberry.dataloader import DataLoader

from celadon.api.desk import Desk
from celadon.api.principal import Principal
from celadon.table import listing
from celadon.table.labels import named, within
from celadon.table.overview import list_deployments
from celadon.table.records.deployments import DeploymentLine
from celadon.table.records.events import DeploymentEvent
from celadon.table.records.revisions import RevisionRecord
from celadon.table.records.rollouts import RolloutRecord
from celadon.table.records.route_sets import RouteRecord, RouteSetRecord
from celadon.table.records.routers import AcknowledgementRecord

RowT = TypeVar("RowT")


class Loaders:
    """The loaders of one request; what they have read lasts as long as it."""

    def __init__(self, desk: Desk, who: Principal) -> None:
        """Read for ``who``; the deployments themselves were read in the caller's scope."""
        self._desk = desk
        self._who = who
        self.lines: DataLoader[str, DeploymentLine | None] = DataLoader(self._lines)
        self.routes: DataLoader[str, list[RouteRecord]] = self._of(listing.routes_of)
        self.route_sets: DataLoader[str, list[RouteSetRecord]] = self._of(listing.route_sets_of)
        self.revisions: DataLoader[str, list[RevisionRecord]] = self._of(listing.revisions_of)
        self.acknowledgements: DataLoader[str, list[AcknowledgementRecord]] = self._of(listing.acknowledgements_of)
        self._events: dict[tuple[int, int | None], DataLoader[str, list[DeploymentEvent]]] = {}
        self._rollouts: dict[int, DataLoader[str, list[RolloutRecord]]] = {}

    def events(self, limit: int, before: int | None) -> DataLoader[str, list[DeploymentEvent]]:
        """Return the loader of so many last lines of the audit log."""
        if (limit, before) not in self._events:
            self._events[limit, before] = self._of(
                lambda tx, names: listing.events_of(tx, names, before=before, limit=limit),
            )
        return self._events[limit, before]

    def rollouts(self, limit: int) -> DataLoader[str, list[RolloutRecord]]:
        """Return the loader of so many last rollouts."""
        if limit not in self._rollouts:
            self._rollouts[limit] = self._of(lambda tx, names: listing.rollouts_of(tx, names, limit))
        return self._rollouts[limit]

    def _of(
        self,
        query: Callable[[AsyncSession, list[str]], Awaitable[defaultdict[str, list[RowT]]]],
    ) -> DataLoader[str, list[RowT]]:
        async def load(names: list[str]) -> list[list[RowT]]:
            found = await self._desk.read(self._who, lambda tx, _: query(tx, names))
            return [found[name] for name in names]

        return DataLoader(load)

    async def _lines(self, names: list[str]) -> list[DeploymentLine | None]:
        found = await self._desk.read(
            self._who,
            lambda tx, scope: list_deployments(tx, within(scope), named(names)),
        )
        by_name = {line.deployment: line for line in found}
        return [by_name.get(name) for name in names]
