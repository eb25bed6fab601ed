"""Which rows of a deployment have had their time: asked by who deletes, and by who only counts."""

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Select, exists, func, or_, select
from sqlalchemy.orm import aliased

from celadon.domain.language.notification import DeliveryState
from celadon.domain.language.states import RolloutOutcome, RouteSetState
from celadon.table.core.deployment_rules import is_destroyed
from celadon.table.core.models import (
    Delivery,
    Deployment,
    NextRolloutRow,
    Notification,
    RevisionRow,
    Rollout,
    RolloutEvent,
    Route,
    RouteSet,
    ScheduleRow,
    SpentRequest,
)
from celadon.table.retention.limits import Doomed

FIRED_SCHEDULES_KEPT: Final = timedelta(days=8)
"""At least, for one that has fired once: Temporal shows its own for 7 days after that, and then removes it."""

_is_waited_for = exists().where(Delivery.notification == Notification.id, Delivery.state == DeliveryState.WAITING)


def old_routes(doomed: Doomed) -> Select[Any]:
    """Return replicas that ended long ago, of rollouts that have ended; a live set has had many that failed."""
    return (
        select(Route.id)
        .join(RouteSet, RouteSet.id == Route.set_id)
        .join(Rollout, Rollout.id == RouteSet.rollout)
        .where(
            RouteSet.deployment == doomed.deployment,
            Rollout.outcome.is_not(None),
            Route.ended_at < doomed.before,
        )
        .order_by(Route.id)
    )


def old_notifications(doomed: Doomed) -> Select[Any]:
    """Return what was told long ago, of rollouts that have ended, to everybody who was to be told."""
    return (
        select(Notification.id)
        .join(Rollout, Rollout.id == Notification.rollout)
        .where(
            Notification.deployment == doomed.deployment,
            Rollout.outcome.is_not(None),
            Notification.at < doomed.before,
            ~_is_waited_for,
        )
        .order_by(Notification.id)
    )


def old_spent_requests(doomed: Doomed) -> Select[*tuple[Any, ...]]:
    """Return ids of signed messages that counted long ago, in rollouts that have ended; their signatures lapsed."""
    return (
        select(SpentRequest.deployment, SpentRequest.verb, SpentRequest.request_id)
        .join(Rollout, Rollout.id == SpentRequest.rollout)
        .where(
            SpentRequest.deployment == doomed.deployment,
            SpentRequest.spent_at < doomed.before,
            Rollout.outcome.is_not(None),
        )
    )


def old_rollouts(doomed: Doomed) -> Select[Any]:
    """Return rollouts that ended long ago, of which nothing is there any more and nobody is still to be told.

    The rollout under way keeps the one that opened its blue, although blue may be gone: it may ask for the drain again.

    Of those that were promoted the newest stay, since a rollback may go back to them; a destroyed deployment has none
    to go back to.
    """
    other, under_way = aliased(Rollout), aliased(Rollout)
    newest = (
        select(other.id)
        .join(Deployment, Deployment.name == other.deployment)
        .where(
            other.deployment == doomed.deployment,
            other.outcome == RolloutOutcome.PROMOTED,
            ~is_destroyed,
        )
        .order_by(other.id.desc())
        .limit(doomed.retention.promoted)
    )
    is_there = exists().where(
        RouteSet.rollout == Rollout.id,
        or_(RouteSet.state != RouteSetState.GONE, RouteSet.gone_at >= doomed.before),
    )
    runs = exists().where(RouteSet.rollout == Rollout.id, Route.set_id == RouteSet.id, Route.ended_at.is_(None))
    # Its steps name both of its colours; blue's rollout need not be one that was promoted.
    is_blue = exists().where(
        RouteSet.rollout == Rollout.id,
        under_way.deployment == doomed.deployment,
        under_way.blue_set == RouteSet.id,
        under_way.outcome.is_(None),
    )
    tells = exists().where(Delivery.rollout == Rollout.id, Delivery.state == DeliveryState.WAITING)
    return (
        select(Rollout.id)
        .where(
            Rollout.deployment == doomed.deployment,
            Rollout.outcome.is_not(None),
            Rollout.completed_at < doomed.before,
            Rollout.id.not_in(newest),
            ~is_there,
            ~runs,
            ~is_blue,
            ~tells,
        )
        .order_by(Rollout.id)
    )


def old_events(doomed: Doomed) -> Select[Any]:
    """Return old lines of the audit log that belong to no rollout."""
    return (
        select(RolloutEvent.id)
        .where(
            RolloutEvent.deployment == doomed.deployment,
            RolloutEvent.rollout.is_(None),
            RolloutEvent.at < doomed.before,
        )
        .order_by(RolloutEvent.id)
    )


def old_revisions(doomed: Doomed) -> Select[Any]:
    """Return revisions beyond the newest ones that neither a rollout, nor what waits for its turn, nor a set names.

    The newest of all always stays, so that no number is given twice.
    """
    newer = aliased(RevisionRow)
    rank = (
        select(func.count())
        .select_from(newer)
        .where(newer.deployment == RevisionRow.deployment, newer.number > RevisionRow.number)
        .scalar_subquery()
    )
    is_named = or_(
        exists().where(Rollout.deployment == RevisionRow.deployment, Rollout.to_revision == RevisionRow.number),
        exists().where(Rollout.deployment == RevisionRow.deployment, Rollout.from_revision == RevisionRow.number),
        exists().where(RouteSet.deployment == RevisionRow.deployment, RouteSet.revision == RevisionRow.number),
        exists().where(
            NextRolloutRow.deployment == RevisionRow.deployment, NextRolloutRow.revision == RevisionRow.number
        ),
    )
    return (
        select(RevisionRow.number)
        .where(
            RevisionRow.deployment == doomed.deployment,
            RevisionRow.created_at < doomed.young,
            rank >= doomed.retention.revisions,
            ~is_named,
        )
        .order_by(RevisionRow.number)
    )


def old_schedules(doomed: Doomed) -> Select[Any]:
    """Return schedules that fired once and long ago; by then Temporal has removed its own, too."""
    return select(ScheduleRow.name).where(
        ScheduleRow.deployment == doomed.deployment,
        ScheduleRow.at < func.least(doomed.before, func.clock_timestamp() - FIRED_SCHEDULES_KEPT),
    )


def left_over_deployment(doomed: Doomed) -> Select[Any]:
    """Return the deployment itself when it is destroyed and nothing tells of it any more."""
    return select(Deployment.name).where(
        Deployment.name == doomed.deployment,
        is_destroyed,
        Deployment.created_at < doomed.before,
        ~exists().where(Rollout.deployment == Deployment.name),
        ~exists().where(RolloutEvent.deployment == Deployment.name),
        ~exists().where(Notification.deployment == Deployment.name),
    )
