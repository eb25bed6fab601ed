"""The whole matrix: faults by moments, volley after volley on one stack for each number of workers."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tests.chaos.faults import Fault
from tests.chaos.moments import Moment
from tests.chaos.site import Site, running_site
from tests.chaos.subject import Subject
from tests.chaos.verdict import Cell
from tests.chaos.volley import Volley

ROUTERS = 2
"""One takes the load, one holds acknowledgements."""

_numbers = itertools.count(1)


class Matrix:
    """Subjects of one stack, one for each moment, that serve from volley to volley."""

    def __init__(self, site: Site, moments: Sequence[Moment]) -> None:
        """Prepare; deployments are made when they are needed first."""
        self._site = site
        self._moments = moments
        self._subjects: dict[Moment, Subject] = {}

    async def strike(self, fault: Fault) -> list[Cell]:
        """Run one volley; a subject of a cell that failed is left as evidence and replaced by another."""
        await self._site.until_healthy()
        moments = [moment for moment in self._moments if fault.concerns(moment)]
        fresh = {
            moment: Subject(self._site, f"{moment.name.replace('_', '-')}-{next(_numbers)}")
            for moment in moments
            if moment not in self._subjects
        }
        await asyncio.gather(*(subject.serve_first() for subject in fresh.values()))
        self._subjects |= fresh
        cells = await Volley(self._site, fault, {moment: self._subjects[moment] for moment in moments}).run()
        for cell, moment in zip(cells, moments, strict=True):
            if not cell.ok:
                del self._subjects[moment]
        return cells


async def run_matrix(
    directory: Path,
    faults: Sequence[Fault],
    moments: Sequence[Moment],
) -> AsyncIterator[tuple[Fault, list[Cell]]]:
    """Yield each fault's cells as they are judged."""
    for workers, group in itertools.groupby(sorted(faults, key=lambda one: one.workers), lambda one: one.workers):
        async with running_site(directory / f"{workers}-workers", workers=workers, routers=ROUTERS) as site:
            matrix = Matrix(site, moments)
            for fault in group:
                yield fault, await matrix.strike(fault)
