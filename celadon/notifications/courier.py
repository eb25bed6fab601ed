"""The courier: a service of every worker that delivers what the table owes.

It needs no lease: a delivery is claimed by one worker at a time (``SKIP LOCKED``), a claim that is not kept lapses, and
an event that is sent twice has the same id. So notifications flow while the keeper changes hands, and no target waits
for another: each has a task of its own, with few attempts at once.
"""

import asyncio
import random
import time
from datetime import timedelta
from typing import Final

import structlog

from celadon.domain.decisions.delivery import Attempt, RetrySchedule, Trouble, Verdict, judge
from celadon.domain.decisions.notification_text import Event
from celadon.notifications.metrics import NotificationMetrics
from celadon.notifications.sender import Sender
from celadon.racing import first_to_end, task_group, wait_at_most
from celadon.table.core.clock import database_now
from celadon.table.core.engine import Table
from celadon.table.core.listen import NOTIFICATIONS_CHANNEL, ChannelSubscription, Listener
from celadon.table.core.outages import TABLE_OUTAGES, NotMigratedError, describe
from celadon.table.notifications.deliveries import DeliveryClaim, Due, claim, mark, read_due, read_loads, read_target_of
from celadon.table.notifications.targets import NotifyTargetRecord

AT_ONCE: Final = 4
"""Attempts to one target at a time."""

CLAIM_GRACE: Final = timedelta(seconds=20)
"""How much longer than an attempt may take a claim lasts: for the transactions on both sides of it."""

_IDLE_SECONDS: Final = 5.0
"""How often it looks although nothing was heard: notifications are not kept while nobody listens."""

_FAULT_SECONDS: Final = 1.0

log = structlog.get_logger()


class Courier:
    """Delivers notifications until it is stopped."""

    def __init__(  # noqa: PLR0913 - what a service needs, each by its name
        self,
        *,
        table: Table,
        listener: Listener,
        sender: Sender,
        schedule: RetrySchedule,
        timeout: timedelta,
        metrics: NotificationMetrics,
        claim_grace: timedelta = CLAIM_GRACE,
    ) -> None:
        """Prepare; nothing happens before :meth:`run`.

        Args:
            table: the table.
            listener: an open listener on the table's notifications.
            sender: attempts a delivery; it is opened by :meth:`run`.
            schedule: when to try again, and when to give up.
            timeout: how long the sender takes at most.
            metrics: where to count.
            claim_grace: how much longer than an attempt may take a claim lasts.

        """
        self._table = table
        self._listener = listener
        self._sender = sender
        self._schedule = schedule
        self._lease = timeout + claim_grace
        self._metrics = metrics
        self._reading = metrics.trouble("reading", "notifications_not_read")
        self._stop = asyncio.Event()
        self._busy: set[str] = set()
        self._asked: set[str] = set()
        """Targets that something came for while they were busy."""
        self._served = asyncio.Event()
        """Set when a task has ended: what it put off is due sooner than the last look knew."""
        self._shown_at = float("-inf")

    def stop(self) -> None:
        """Ask :meth:`run` to end; attempts that run end first, within the sender's timeout."""
        self._stop.set()

    async def run(self) -> None:
        """Deliver until :meth:`stop`; faults and outages are logged and survived."""
        async with self._sender, task_group() as group, self._listener.subscribe(NOTIFICATIONS_CHANNEL) as heard:
            while not self._stop.is_set():
                self._served.clear()
                pause = await self._look(group)
                await first_to_end(
                    _hear(heard, pause), wait_at_most(self._stop, None), wait_at_most(self._served, None)
                )

    async def _look(self, group: asyncio.TaskGroup) -> float:
        """Set a task to work for each target that has something due; return after how many seconds to look again."""
        try:
            due = await self._read_due()
        except Exception as error:  # noqa: BLE001 - it is told; the worker does not end for it
            self._reading.tell(error)
            return _FAULT_SECONDS
        self._reading.is_over()
        for target in due.targets:
            self._asked.add(target)
            if target not in self._busy:
                self._busy.add(target)
                group.create_task(self._serve(target), name=f"notify-{target}")
        return _IDLE_SECONDS if due.next_in is None else min(_IDLE_SECONDS, due.next_in.total_seconds() + 0.01)

    async def _read_due(self) -> Due:
        async with self._table.transaction() as tx:
            due = await read_due(tx)
            if time.monotonic() >= self._shown_at + _IDLE_SECONDS:
                self._metrics.show(await read_loads(tx), await database_now(tx))
                self._shown_at = time.monotonic()
        return due

    async def _serve(self, target: str) -> None:
        """Deliver to one target until nothing is due there."""
        try:
            while target in self._asked and not self._stop.is_set():
                self._asked.discard(target)
                while not self._stop.is_set() and await self._deliver_some(target):
                    pass
        except* (*TABLE_OUTAGES, NotMigratedError) as errors:
            # What was sent and could not be marked is sent again, under its id, once the claim has lapsed.
            log.warning("notifications_not_delivered", target=target, error=describe(_first_of(errors)))
            await wait_at_most(self._stop, _FAULT_SECONDS)
        except* Exception:
            # One target's fault must take neither the others nor the worker down.
            log.exception("notifications_fault", target=target)
            self._metrics.faults.labels("delivery").inc()
            await wait_at_most(self._stop, _FAULT_SECONDS)
        finally:
            self._busy.discard(target)
            self._served.set()

    async def _deliver_some(self, target: str) -> bool:
        """Claim and attempt a few deliveries; false when there was nothing to claim."""
        async with self._table.transaction() as tx:
            claims = await claim(tx, target, limit=AT_ONCE, lease=self._lease)
            # Read after the claim, so that what was enabled and retried just now does not meet a target of before.
            record = await read_target_of(tx, target)
        async with task_group() as group:
            for claimed in claims:
                group.create_task(self._deliver(target, record, claimed))
        return bool(claims)

    async def _deliver(self, target: str, record: NotifyTargetRecord | None, claimed: DeliveryClaim) -> None:
        attempt = await self._attempt(record, claimed)
        async with self._table.transaction() as tx:
            judgement = judge(
                attempt,
                attempts=claimed.attempts,
                age=await database_now(tx) - claimed.due_at,
                schedule=self._schedule,
                jitter=random.random(),
            )
            await mark(tx, claimed, target, attempt, judgement)
        self._count(target, judgement.verdict)
        if judgement.verdict is not Verdict.DELIVERED:
            log.warning(
                "notification_not_taken",
                target=target,
                notification=claimed.notification,
                deployment=None if claimed.notice is None else claimed.notice.deployment,
                rollout=None if claimed.notice is None else claimed.notice.rollout,
                attempt=claimed.attempts,
                verdict=judgement.verdict.value,
                why=judgement.told,
            )

    async def _attempt(self, record: NotifyTargetRecord | None, claimed: DeliveryClaim) -> Attempt:
        """Attempt a delivery; one that cannot be read or sent for an unexpected reason keeps back no other."""
        if record is None or record.disabled_at is not None:
            return Attempt(trouble=Trouble.REMOVED, error="the target has been removed or disabled")
        if claimed.notice is None:
            log.error("notice_unreadable", notification=claimed.notification, why=claimed.unreadable_because)
            self._metrics.faults.labels("notice").inc()
            return Attempt(trouble=Trouble.UNREADABLE, error=claimed.unreadable_because)
        try:
            return await self._sender.send(record, Event(id=claimed.notification, at=claimed.at, notice=claimed.notice))
        except Exception as error:
            log.exception("notice_not_sent", notification=claimed.notification, target=record.name)
            self._metrics.faults.labels("notice").inc()
            return Attempt(trouble=Trouble.UNREADABLE, error=f"the worker cannot send it: {type(error).__name__}")

    def _count(self, target: str, verdict: Verdict) -> None:
        match verdict:
            case Verdict.DELIVERED:
                self._metrics.delivered.labels(target).inc()
            case Verdict.RETRY:
                self._metrics.failed_attempts.labels(target).inc()
            case Verdict.GIVE_UP | Verdict.DISABLE:
                self._metrics.failed_attempts.labels(target).inc()
                self._metrics.given_up.labels(target).inc()


def _first_of(errors: BaseExceptionGroup[Exception]) -> Exception:
    first = errors.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first


async def _hear(heard: ChannelSubscription, seconds: float) -> None:
    await heard.get(seconds)
