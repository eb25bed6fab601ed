"""A deployment with both colours, its latest rollout and its routers."""

# ruff: noqa: PLC0415 - looking needs no database

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

from celadon.domain.decisions.approvals import tell_approvals
from celadon.domain.decisions.narration import growth_told, window_in_words
from celadon.domain.decisions.traffic_settings import changes_between
from celadon.domain.language.durations import format_duration
from celadon.domain.language.messages import RefusedMessage, RolloutStatus
from celadon.domain.language.moments import utc
from celadon.domain.language.next_rollout import WaitingRollout
from celadon.domain.language.opening import Opening
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import RolloutPhase
from celadon.domain.language.traffic import DEFAULT_SETTINGS, TrafficSettings
from celadon.service.command import Tone
from celadon.service.principal import Principal
from celadon.service.rollout_view import NO_WORKFLOW, RolloutView, WorkflowAnswer, who_must_act
from celadon.service.rollout_words import in_words
from celadon.service.views.events import EventRow, event_row
from celadon.service.views.freezes import freeze_phrases
from celadon.service.views.phrases import WHOLE, Countdown, Phrase, Room, Shown, live_phrase
from celadon.service.views.rollout import RolloutSummary, rollout_summary
from celadon.service.views.sets import SetDetail, errors_of, set_detail
from celadon.table.records.deployments import DeploymentView, RouterView

if TYPE_CHECKING:
    from celadon.service.service import Service


_COUNTDOWNS: Final = {"bake": "bake ends"}
"""What timers are called whose own names would not say what comes."""


_WAITS_FOR_SWITCH: Final = frozenset(
    {RolloutPhase.PROVISIONING, RolloutPhase.VERIFYING, RolloutPhase.AWAITING_PROMOTION}
)


class RouterDetail(Shown):
    """A live router, and whether it serves what is live."""

    name: str
    mark: str
    state: Phrase
    is_silent: bool
    """Whether it has not acknowledged the present epoch."""
    epoch: str


class RefusedRow(Shown):
    """A message that changed nothing."""

    at: datetime
    text: str


class Warned(Shown):
    """Something that a person should look after."""

    text: str
    tone: Tone
    help: str = ""
    """What helps, where that is not the rollout's next step anyway; may be empty."""


class DeploymentDetail(Shown):
    """A deployment at one moment."""

    name: str
    lifecycle: str
    live: Phrase
    epoch: int
    replicas: int
    hosts: tuple[str, ...]
    """Host names of its own."""
    traffic: tuple[str, ...]
    """How routers treat its requests, where that is not the default."""
    frozen: bool
    freezes: tuple[Phrase, ...]
    """Those that hold or are to come."""
    waits_for: str
    """Who moves the rollout on; empty when that has ended or there is none."""
    rollout: RolloutSummary | None
    timers: tuple[Countdown, ...]
    next: Phrase | None
    """The rollout that waits for its turn; ``None`` when none does."""
    notes: tuple[Phrase, ...]
    """What else the workflow knows: who decided what, and what is waited for."""
    next_step: str
    sets: tuple[SetDetail, ...]
    has_routers: bool
    """Whether any router is live."""
    router_summary: Phrase
    routers: tuple[RouterDetail, ...]
    """Those that are shown."""
    refused: tuple[RefusedRow, ...]
    """The last messages that changed nothing; the audit log has them with the rollout's next step."""
    refused_total: int
    events: tuple[EventRow, ...]
    """The newest lines of the audit log about the deployment and its latest rollout, newest first."""
    warnings: tuple[Warned, ...]


class UnregisteredDetail(Shown):
    """A deployment whose first rollout is not in the table yet."""

    name: str
    """Empty when nobody has told it."""
    text: str
    next_step: str
    refused: tuple[RefusedRow, ...]
    refused_total: int


def deployment_detail(view: RolloutView, now: datetime, room: Room = WHOLE) -> DeploymentDetail | UnregisteredDetail:
    """Return what people are shown of a deployment; ``now`` is the moment to which spans are counted."""
    deployment, status = view.deployment, view.status
    refused = () if status is None else status.refused
    shown_refusals = tuple(_refused(one) for one in refused[::-1][: room.refusals])
    refused_total = 0 if status is None else status.refused_total
    if deployment is None:
        known = view.workflow.status
        return UnregisteredDetail(
            name="" if known is None else known.deployment,
            text=f"its first rollout is not registered yet: {view.workflow.unanswered_because}"
            if known is None
            else "is new; its first rollout begins",
            next_step=view.next_step if known is None else "",
            refused=shown_refusals,
            refused_total=refused_total,
        )
    record = deployment.rollout
    under_way = record is not None and record.outcome is None
    told_apart = errors_of(one for one in deployment.sets if record is not None and one.rollout == record.rollout)
    return DeploymentDetail(
        name=deployment.deployment,
        lifecycle=in_words(deployment.lifecycle.value),
        live=live_phrase(deployment.live_revision),
        epoch=deployment.epoch,
        replicas=deployment.replicas,
        hosts=deployment.hosts,
        traffic=tuple(_traffic(deployment.traffic)),
        frozen=deployment.frozen,
        freezes=freeze_phrases(
            sorted(deployment.freezes, key=lambda one: one.begins_at), deployment.deployment, deployment.at
        ),
        waits_for=who_must_act(record, frozen=deployment.frozen, paused=deployment.paused)
        if view.stuck is None
        else "an operator: the rollout does not get on",
        rollout=None
        if record is None
        else rollout_summary(record, now, phase=view.phase, since=view.phase_since, errors=told_apart),
        timers=() if status is None else tuple(_timers(status)),
        next=None if deployment.next is None else waiting_phrase(deployment.next),
        notes=(*(() if status is None else _notes(status, deployment)), *_windows(deployment)),
        next_step=view.next_step,
        sets=tuple(
            set_detail(
                one, room, under_way=under_way, tells_output=record is not None and one.rollout == record.rollout
            )
            for one in deployment.sets
        ),
        has_routers=bool(deployment.routers),
        router_summary=_router_summary(deployment),
        routers=tuple(_router(one) for one in deployment.routers if room.settled_routers or not _is_settled(one)),
        refused=shown_refusals,
        refused_total=refused_total,
        events=tuple(
            event_row(event, told_apart)
            for event in deployment.events
            if record is None or event.rollout in {None, record.rollout}
        )[: room.events],
        warnings=tuple(_warnings(view, deployment, under_way=under_way)),
    )


def _traffic(settings: TrafficSettings) -> Iterator[str]:
    for change in changes_between(DEFAULT_SETTINGS, settings):
        yield f"{change.field} {change.after}"


def waiting_phrase(waiting: WaitingRollout) -> Phrase:
    """Return what waits for its turn: who asked for what, and what it waits for."""
    why = f" ({waiting.reason})" if waiting.reason else ""
    text = f"r{waiting.revision} by {waiting.requested_by}{why} waits for {waiting.waits_for}"
    return Phrase(text=text, tone=Tone.WARN if waiting.held else Tone.PLAIN)


def _timers(status: RolloutStatus) -> Iterator[Countdown]:
    for timer in status.timers:
        yield Countdown(what=_COUNTDOWNS.get(timer.name, timer.name), at=timer.fires_at)


def _notes(status: RolloutStatus | None, deployment: DeploymentView) -> Iterator[Phrase]:
    approvals = _approvals(deployment)
    if approvals:
        yield Phrase(text=approvals)
    if status is None:
        return
    if not status.timers and not status.holding and status.phase is RolloutPhase.AWAITING_PROMOTION:
        yield Phrase(text="no timer runs: a person decides", tone=Tone.WARN)
    if status.holding:
        yield Phrase(text=f"on hold: {status.holding}", tone=Tone.WARN)
    if status.growth is not None and status.phase is RolloutPhase.VERIFYING:
        yield Phrase(text=growth_told(status.growth))
    if status.timers_set is not None and status.phase in _WAITS_FOR_SWITCH:
        change = status.timers_set
        why = f": {change.reason}" if change.reason else ""
        yield Phrase(text=f"timers set by {change.by} at {utc(change.at)}{why}")
    if status.decision:
        yield Phrase(text=f"decided: {status.decision}")
    if status.abort_requested:
        yield Phrase(text=f"asked to go back: {status.abort_requested}", tone=Tone.WARN)


def _windows(deployment: DeploymentView) -> Iterator[Phrase]:
    times, rollout = deployment.openings, deployment.rollout
    if times is None or rollout is None:
        return
    timers, people = _opening(times.timers, times.at), _opening(times.people, times.at)
    if times.binds_people and timers.text == people.text:
        yield Phrase(text=f"windows for everyone: {people.text}", tone=people.tone)
    else:
        yield Phrase(text=f"windows for timers: {timers.text}", tone=timers.tone)
        if times.binds_people:
            yield Phrase(text=f"windows for people: {people.text}", tone=people.tone)
    for window in rollout.policy.windows:
        yield Phrase(text=f"window: {window_in_words(window)}")


def _opening(opening: Opening | None, now: datetime) -> Phrase:
    if opening is None:
        return Phrase(text="closed, and no opening is in sight", tone=Tone.WARN)
    if opening.opens_at > now:
        return Phrase(text=f"closed until {utc(opening.opens_at)}", tone=Tone.WARN)
    return Phrase(text="open" if opening.closes_at is None else f"open until {utc(opening.closes_at)}")


def _approvals(deployment: DeploymentView) -> str:
    """Return who has approved and how many must, by the table, until the rollout has ended."""
    rollout = deployment.rollout
    rule = None if rollout is None or rollout.outcome is not None else rollout.policy.approvals
    return "" if rule is None else f"approvals: {tell_approvals(rule, deployment.approvals)}"


def _router_summary(deployment: DeploymentView) -> Phrase:
    routers = deployment.routers
    if not routers:
        return Phrase(text="routers: none is live, so nobody can reach the deployment", tone=Tone.WARN)
    serving = sum(one.acknowledged for one in routers)
    return Phrase(
        text=f"{serving} of {len(routers)} serve epoch {deployment.epoch}",
        tone=Tone.GOOD if serving == len(routers) else Tone.WARN,
    )


def _is_settled(one: RouterView) -> bool:
    return one.acknowledged and not one.nack


def _router(one: RouterView) -> RouterDetail:
    if one.nack:
        state = Phrase(text=f"refused its configuration: {one.nack}", tone=Tone.BAD)
    elif one.acknowledged:
        state = Phrase(text="serves what is live", tone=Tone.GOOD)
    else:
        state = Phrase(text="silent", tone=Tone.WARN)
    return RouterDetail(
        name=one.router,
        mark="✔" if _is_settled(one) else "◌",
        state=state,
        is_silent=not one.acknowledged,
        epoch="none yet" if one.epoch is None else str(one.epoch),
    )


def _refused(one: RefusedMessage) -> RefusedRow:
    by = f" by {one.by}" if one.by else ""
    return RefusedRow(at=one.at, text=f"{one.message}{by} ({one.door.value}): {one.refusal}")


def _warnings(view: RolloutView, deployment: DeploymentView, *, under_way: bool) -> Iterator[Warned]:
    if deployment.panic:
        yield Warned(
            text="CeladonPanic: too few live replicas are healthy, so unhealthy ones get traffic too", tone=Tone.BAD
        )
    if not deployment.keeper_alive:
        yield Warned(
            text="no keeper is at work: start a worker ('celadon worker'), or nothing starts, stops or is replaced",
            tone=Tone.BAD,
        )
    if under_way and view.stuck is not None:
        yield Warned(text=f"the rollout does not get on: {view.stuck.told}", tone=Tone.BAD, help=view.stuck.next_step)
    elif under_way and view.workflow.unanswered_because:
        text = (
            "its workflow is gone from Temporal: the keeper ends the rollout and cleans up within a minute"
            if view.workflow.unanswered_because == NO_WORKFLOW
            else f"only the table is shown, the workflow is silent: {view.workflow.unanswered_because}"
        )
        yield Warned(text=text, tone=Tone.WARN)
    if deployment.rollout is not None and deployment.rollout.awaits_epoch is not None:
        patience = format_duration(deployment.rollout.policy.router_ack_timeout)
        yield Warned(text=f"blue is kept: routers were silent for {patience} after the switch", tone=Tone.WARN)


async def read_deployment(service: "Service", who: Principal, name: str) -> RolloutView:
    """Return a deployment as table and workflow know it: colours, replicas, timers, acknowledgements, requests.

    Raises:
        RefusedError: there is none, or the caller may not see it.

    """
    from celadon.service.overview import view_rollout

    answer = await ask_workflow(service, who, name)
    async with service.turn(who), service.transaction() as tx:
        is_there = await service.is_there(tx, who, name)
        view = await view_rollout(tx, name, answer) if is_there or service.shows_unregistered else None
    knows = answer.status is not None or answer.stuck is not None
    if view is None or (view.deployment is None and not knows):
        raise await service.not_found(name)
    return view


async def read_table_view(service: "Service", who: Principal, name: str) -> DeploymentView:
    """Return a deployment as the table alone knows it, also one that was destroyed; errors as above."""
    from celadon.table.read.overview import view_deployment

    async with service.reading(who, name) as tx:
        view = await view_deployment(tx, name)
    if view is None:
        raise await service.not_found(name)
    return view


async def ask_workflow(service: "Service", who: Principal, name: str) -> WorkflowAnswer:
    """Return what the workflow of a deployment's rollout answers; errors as above."""
    await service.permit(who, name, [Verb.READ])
    return await service.ask_workflow(name)
