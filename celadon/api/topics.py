"""What streams follow: one deployment, or all within a scope. Each is read once for all who follow it.

A topic keeps the last lines of the audit log and how things stand, and nothing for any single follower: who is slow
skips states that have passed, and reads lines that are no longer kept from the table.
"""

import asyncio
import contextlib
import json
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.client.rollouts import RolloutClient
from celadon.domain.language.names import RolloutId
from celadon.domain.language.not_found import no_such_deployment
from celadon.service.overview import ask_workflow, view_rollout
from celadon.service.principal import Principal
from celadon.service.rollout_view import NO_WORKFLOW, RolloutView, WorkflowAnswer
from celadon.service.views.deployments import ListedDeployment
from celadon.table.core.clock import database_now
from celadon.table.core.labels import named, within
from celadon.table.core.listen import ACKS_CHANNEL
from celadon.table.core.paging import LONGEST_PAGE
from celadon.table.read.event_order import Place, SettledLines, lines_after
from celadon.table.read.overview import list_deployments
from celadon.table.records.deployments import DeploymentLine
from celadon.table.records.rollouts import RolloutRecord

KEPT_LINES: Final = 500
KEPT_CHANGES: Final = 1000

WORKFLOW_SECONDS: Final = 15.0
"""Timers run down by themselves; each question to a workflow is billed where Temporal is rented."""


class StreamLine(NamedTuple):
    """A line of the audit log as streams send it."""

    place: Place
    event: str


class Topic(ABC):
    """What some streams follow together."""

    def __init__(self, place: Place) -> None:
        """Begin with the lines that come after ``place``."""
        self.place = place
        self.kept_from = place
        self.turn = 0
        self.failed = False
        self.due = asyncio.Event()
        self.took_seconds = 0.0
        self._lines: deque[StreamLine] = deque()
        self._news = asyncio.Event()

    @abstractmethod
    async def read(self, tx: AsyncSession) -> bool:
        """Read what is new; return whether there is more, or will be soon, that nobody is told of."""

    @abstractmethod
    async def ask(self) -> bool:
        """Ask who else knows, without a connection to the table, when what was read makes it worth while.

        Return whether the table must be read anew before anything can be said.
        """

    @abstractmethod
    def concerns(self, channel: str, deployment: str) -> bool:
        """Take note that a deployment has changed; return whether this topic shows it. Empty is any."""

    @abstractmethod
    def refuse_unseen(self, who: Principal) -> None:
        """Refuse a caller who may not see this any more.

        Raises:
            RefusedError: it may not.

        """

    def lines_after(self, place: Place) -> list[StreamLine]:
        """Return the kept lines that come after ``place``, which is none before ``kept_from``."""
        lines: list[StreamLine] = []
        for line in reversed(self._lines):
            if line.place <= place:
                break
            lines.append(line)
        return lines[::-1]

    async def news(self, seen: int, timeout_seconds: float) -> None:
        """Wait until something was published after the turn ``seen``, at most ``timeout_seconds``."""
        if self.turn != seen:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._news.wait()

    def publish(self) -> None:
        """Wake who follows."""
        self.turn += 1
        news, self._news = self._news, asyncio.Event()
        news.set()

    def keep(self, found: SettledLines) -> None:
        """Keep lines that were read, and forget the oldest."""
        self._lines.extend(lines_of(found))
        while len(self._lines) > KEPT_LINES:
            self.kept_from = self._lines.popleft().place
        self.place = found.last


class DeploymentTopic(Topic):
    """One deployment: its lines, and how it stands by table and workflow."""

    def __init__(self, place: Place, name: str, rollouts: RolloutClient) -> None:
        """Follow the deployment ``name``."""
        super().__init__(place)
        self.state = ""
        self.version = 0
        self._name = name
        self._rollouts = rollouts
        self._labels: Mapping[str, str] | None = None
        self._view: RolloutView | None = None
        self._shown = ""
        self._asked_at = 0.0
        self._has_lines = False
        self._gone: RolloutId | None = None
        """The rollout that no workflow carried on when it was asked for last."""

    def concerns(self, channel: str, deployment: str) -> bool:
        """Return whether it is this one."""
        del channel
        return deployment in {"", self._name}

    def refuse_unseen(self, who: Principal) -> None:
        """Refuse whoever may not see the deployment, or any more."""
        if self._labels is None or not who.sees(self._labels):
            raise no_such_deployment(self._name)

    async def read(self, tx: AsyncSession) -> bool:
        """Read lines and state in one transaction."""
        new_lines = await lines_after(tx, {}, self._name, self.place, LONGEST_PAGE)
        self._view = await view_rollout(tx, self._name, WorkflowAnswer())
        known = self._view is not None and self._view.deployment is not None
        self._labels = self._view.deployment.labels if known and self._view and self._view.deployment else None
        self._has_lines = self._has_lines or bool(new_lines.events)
        self.keep(new_lines)
        if new_lines.events or not known or self.turn == 0:
            self.publish()
        return new_lines.held_back or len(new_lines.events) == LONGEST_PAGE

    async def ask(self) -> bool:
        """Ask the workflow when something has changed, or it was not asked for long."""
        view = self._view
        if view is None or view.deployment is None:
            return False
        now = asyncio.get_running_loop().time()
        compared = view.model_dump(mode="json", exclude={"deployment": {"at", "events"}})
        # A router is seen every few seconds, which is nobody's news.
        for router in compared["deployment"]["routers"]:
            router.pop("seen_at", None)
        canonical = json.dumps(compared, sort_keys=True)
        if canonical == self._shown and not self._has_lines and now - self._asked_at < WORKFLOW_SECONDS:
            return False
        self._shown, self._asked_at, self._has_lines = canonical, now, False
        answer = await ask_workflow(self._rollouts, self._name)
        if self._may_have_ended(view.deployment.rollout, answer):
            self._shown = ""
            return True
        whole = view.model_copy(update={"workflow": answer})
        self.state = event_text("deployment", whole.model_dump_json())
        self.version += 1
        self.publish()
        return False

    def _may_have_ended(self, rollout: RolloutRecord | None, answer: WorkflowAnswer) -> bool:
        """Whether a rollout that no workflow carries on may have ended behind the reading of the table."""
        is_gone = rollout is not None and rollout.outcome is None and answer.unanswered_because == NO_WORKFLOW
        known, self._gone = self._gone, rollout.rollout if rollout is not None and is_gone else None
        return self._gone is not None and self._gone != known


class _Change(NamedTuple):
    version: int
    line: str | None
    """How the deployment stands, as JSON; nothing when it is no longer shown."""


class ScopeTopic(Topic):
    """All deployments with the labels of a scope: their lines, and which of them stand otherwise than before."""

    def __init__(self, place: Place, scope: Mapping[str, str]) -> None:
        """Follow the deployments within ``scope``."""
        super().__init__(place)
        self.version = 0
        self._scope = dict(scope)
        self._at: datetime | None = None
        self._noted: set[str] = set()
        self._known: dict[str, int] = {}
        self._changes: OrderedDict[str, _Change] = OrderedDict()
        self._forgotten_version = 0
        self._swept_to: str | None = None
        self.sweeps = True

    def concerns(self, channel: str, deployment: str) -> bool:
        """Note the deployment to be read; everything is looked through bit by bit when it may be any."""
        if channel == ACKS_CHANNEL:
            return False
        if deployment:
            self._noted.add(deployment)
        else:
            self.sweeps = True
        return True

    def refuse_unseen(self, who: Principal) -> None:
        """Refuse nobody: what is not in scope is not read."""

    def changes_after(self, version: int) -> str | None:
        """Return an event with what has changed after ``version``; nothing when that is no longer kept."""
        if version < self._forgotten_version:
            return None
        changes: list[tuple[str, _Change]] = []
        for name in reversed(self._changes):
            change = self._changes[name]
            if change.version <= version:
                break
            changes.append((name, change))
        lines = ",".join(change.line for _, change in changes if change.line is not None)
        removed = json.dumps(sorted(name for name, change in changes if change.line is None))
        at = json.dumps("" if self._at is None else self._at.isoformat())
        return event_text("deployments", f'{{"at":{at},"deployments":[{lines}],"next_after":null,"removed":{removed}}}')

    async def read(self, tx: AsyncSession) -> bool:
        """Read lines, the deployments that were noted, and when it is time the next ones of all, in one transaction."""
        new_lines = await lines_after(tx, self._scope, None, self.place, LONGEST_PAGE)
        noted = sorted(self._noted)[:LONGEST_PAGE]
        self._at = await database_now(tx)
        before = self.version
        if noted:
            lines = await list_deployments(tx, within(self._scope), named(noted))
            self._note(lines, gone=set(noted) - {line.deployment for line in lines})
            self._noted.difference_update(noted)
        if self.sweeps:
            self.sweeps = False
            page = await list_deployments(tx, within(self._scope), after=self._swept_to)
            self._note([line for line in page if self._known.get(line.deployment) is not None], gone=set())
            for line in page:
                self._known.setdefault(line.deployment, hash(line.model_dump_json()))
            self._swept_to = page[-1].deployment if len(page) == LONGEST_PAGE else None
        self.keep(new_lines)
        if new_lines.events or self.version != before or self.turn == 0:
            self.publish()
        return new_lines.held_back or len(new_lines.events) == LONGEST_PAGE or bool(self._noted)

    async def ask(self) -> bool:
        """Ask nobody: the list is of the table alone."""
        return False

    def _note(self, lines: tuple[DeploymentLine, ...] | list[DeploymentLine], gone: set[str]) -> None:
        version = self.version + 1
        for line in lines:
            stands = hash(line.model_dump_json())
            if self._known.get(line.deployment) != stands:
                self._known[line.deployment] = stands
                self._changed(line.deployment, _Change(version, ListedDeployment.of(line).model_dump_json()))
        for name in gone & self._known.keys():
            del self._known[name]
            self._changed(name, _Change(version, None))

    def _changed(self, name: str, change: _Change) -> None:
        self.version = change.version
        self._changes[name] = change
        self._changes.move_to_end(name)
        while len(self._changes) > KEPT_CHANGES:
            _, oldest = self._changes.popitem(last=False)
            self._forgotten_version = oldest.version


def lines_of(found: SettledLines) -> list[StreamLine]:
    """Return lines that were read as streams send them."""
    return [
        StreamLine(place, event_text("audit", event.model_dump_json(), event.id))
        for event, place in zip(found.events, found.places, strict=True)
    ]


def event_text(kind: str, data: str, identity: int | None = None) -> str:
    """Return a server-sent event; ``identity`` resumes a stream after it."""
    head = "" if identity is None else f"id: {identity}\n"
    return f"{head}event: {kind}\ndata: {data}\n\n"
