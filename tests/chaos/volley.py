"""One volley: all subjects brought to their moments, struck by one fault at once, and judged one by one."""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

import structlog

from celadon.domain.language.errors import RefusedError
from celadon.domain.language.states import RolloutOutcome
from tests.chaos.cleanliness import CLEAN_WITHIN, settle
from tests.chaos.evidence import evidence
from tests.chaos.expectations import expectation
from tests.chaos.faults import Damage, Fault
from tests.chaos.moments import Moment, Stage
from tests.chaos.processes import ProcessWatch
from tests.chaos.site import NotReachedError, Site, until
from tests.chaos.subject import Subject
from tests.chaos.verdict import Cell, Requests, judge_requests, misjudged

ENDS_WITHIN: Final = 240.0

log = structlog.get_logger()


class Volley:
    """One fault at several moments at once."""

    def __init__(self, site: Site, fault: Fault, subjects: Mapping[Moment, Subject]) -> None:
        """Prepare; nothing is started."""
        self._site = site
        self._fault = fault
        self._subjects = subjects
        self._wrong: dict[Moment, list[str]] = {moment: [] for moment in subjects}
        self._damage = Damage(site, subjects)
        self._processes = ProcessWatch()

    async def run(self) -> list[Cell]:
        """Reach the moments, strike, let the rollouts go on, and judge."""
        await asyncio.gather(*(subject.begin_round() for subject in self._subjects.values()))
        await self._reach()
        log.info("chaos_strikes", fault=self._fault.name)
        self._damage.struck_ns = time.monotonic_ns()
        await self._fault.strike(self._damage)
        recovering = asyncio.create_task(self._recover())
        cells = await asyncio.gather(*(self._carry_on(recovering, *one) for one in self._subjects.items()))
        return list(cells)

    async def _carry_on(self, recovering: asyncio.Task[None], moment: Moment, subject: Subject) -> Cell:
        """From the strike to the judgement, which waits until the stack has recovered."""
        await self._go_on(moment, subject)
        await recovering
        self._wrong[moment] += await settle(self._site, subject, self._processes)
        seconds = (time.monotonic_ns() - self._damage.struck_ns) / 1e9
        return await self._judge(moment, subject, seconds)

    async def _reach(self) -> None:
        for stage in Stage:
            await asyncio.gather(*(self._take_stage(stage, *one) for one in self._subjects.items()))
        await asyncio.gather(*(self._confirm(*one) for one in self._subjects.items()))

    async def _take_stage(self, stage: Stage, moment: Moment, subject: Subject) -> None:
        act = moment.reach.get(stage)
        if act is None or self._wrong[moment]:
            return
        try:
            await act(subject)
        except (NotReachedError, RefusedError, TimeoutError) as error:
            self._wrong[moment].append(f"the moment was not reached: {error}")

    async def _confirm(self, moment: Moment, subject: Subject) -> None:
        if self._wrong[moment]:
            return
        try:
            await moment.confirm(subject)
        except NotReachedError as error:
            self._wrong[moment].append(f"the moment was not held: {error}")
            return
        newest = await subject.newest()
        phase = newest.phase if newest is not None and newest.rollout > subject.before else None
        if phase is not moment.phase:
            self._wrong[moment].append(f"the moment has passed: the rollout is {phase}")

    async def _recover(self) -> None:
        try:
            await self._fault.recover(self._damage)
        except NotReachedError as error:
            for wrong in self._wrong.values():
                wrong.append(f"the fault did not heal: {error}")

    async def _go_on(self, moment: Moment, subject: Subject) -> None:
        """Release the moment, and do what a person does after it."""
        expected = expectation(self._fault, moment)
        try:
            await subject.release()
            if expected.next_one:
                await self._start_next(moment, subject)
            elif expected.begun_anew:
                await self._promote_anew(moment, subject)
            else:
                await moment.go_on(subject)
            await subject.until_ended(ENDS_WITHIN)
        except (NotReachedError, RefusedError, TimeoutError) as error:
            self._wrong[moment].append(f"it did not go on: {type(error).__name__}: {error}")
        except Exception as error:
            log.exception("chaos_person_failed", deployment=subject.name)
            self._wrong[moment].append(f"whoever promoted was told {type(error).__name__}: {error}")

    async def _start_next(self, moment: Moment, subject: Subject) -> None:
        """Wait until the keeper has cleaned up, and start the next rollout."""
        await self._let_the_caller_hear(subject)

        async def ended() -> bool:
            newest = await subject.newest()
            if newest is None or newest.rollout == subject.before:
                return moment.phase is None
            return newest.outcome is not None

        await until(ended, f"the keeper ends the terminated rollout of {subject.name}", CLEAN_WITHIN)
        newest = await subject.newest()
        last = 0 if newest is None else newest.rollout
        subject.label = f"{subject.label}-next"
        await subject.start(auto_promote=True, bake="0s")

        async def next_ended() -> bool:
            newest = await subject.newest()
            return newest is not None and newest.rollout > last and newest.outcome is RolloutOutcome.PROMOTED

        await until(next_ended, f"the next rollout of {subject.name} is promoted", ENDS_WITHIN)

    async def _promote_anew(self, moment: Moment, subject: Subject) -> None:
        """Promote the rollout that the reset workflow begins; a signed start whose rollout had ended counts no more."""
        await self._let_the_caller_hear(subject)
        description = await subject.handle.describe()

        async def begun() -> bool:
            rows = await self._site.rows(
                "select 1 from rollouts where deployment = :name and run_id = :run",
                name=subject.name,
                run=description.run_id,
            )
            return bool(rows)

        async def begun_or_refused() -> bool:
            if await begun():
                return True
            newest = await subject.newest()
            had_ended = newest is not None and newest.rollout != subject.before and newest.outcome is moment.outcome
            subject.start_is_spent = had_ended and await subject.was_refused_as_spent()
            return subject.start_is_spent

        await until(begun_or_refused, f"the reset workflow of {subject.name} begins a rollout", CLEAN_WITHIN)
        if not subject.start_is_spent:
            await subject.promote_when_it_waits()

    async def _let_the_caller_hear(self, subject: Subject) -> None:
        """Whoever waited for an answer of the rollout that is gone hears something, whatever it is."""
        if subject.asking is None:
            return
        try:
            async with asyncio.timeout(CLEAN_WITHIN):
                await subject.asking
        except RefusedError as refused:
            subject.refusals.append(str(refused))

    async def _judge(self, moment: Moment, subject: Subject, seconds: float) -> Cell:
        expected = expectation(self._fault, moment)
        outcome, wrong = await misjudged(self._site, subject, expected)
        problems = self._wrong[moment] + wrong
        try:
            requests = await self._judge_requests(subject)
        except TimeoutError:
            requests = Requests()
            problems.append("a stream did not end")
        if requests.lost:
            problems.append(f"{requests.lost} of {requests.sent} requests were lost, such as {requests.examples[0]}")
        return Cell(
            fault=self._fault.name,
            moment=moment.name,
            problems=problems,
            outcome=outcome,
            requests=requests,
            seconds=round(seconds, 1),
            refusals=subject.refusals,
            evidence={"expected": expected.why, **await evidence(self._site, subject)} if problems else {},
        )

    async def _judge_requests(self, subject: Subject) -> Requests:
        records = await subject.end_load()
        running = self._site.running_on(self._damage.killed)
        return judge_requests(subject.name, subject.seed, self._damage, running, records)
