"""Where a rollback goes when no rollout is under way, and whether it is inside the rollback window."""

from typing import Final

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.rollback_window import Past, Promoted, judge_window, revisions_back
from celadon.domain.language.base_models import Record
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.names import RevisionNumber
from celadon.domain.language.states import RolloutOutcome
from celadon.table.core.clock import database_now
from celadon.table.core.defaults import read_defaults
from celadon.table.core.models import Deployment, Rollout
from celadon.table.core.policies import read_policy, resolve_for
from celadon.table.rollouts.live import revision_of

_LOOKS_BACK: Final = 500
"""So many promoted rollouts are read: far more than any window has revisions."""


class JudgedRollback(Record):
    """What the table says of a rollback before it begins."""

    is_inside: bool
    """Whether it needs no gate."""
    is_widened: bool = False
    """Whether it is inside only by the window of the request."""
    why: str
    """For people."""


async def judge_rollback(tx: AsyncSession, deployment: Deployment, request: RolloutRequest) -> JudgedRollback | None:
    """Return whether a request is inside the rollback window, by the database's clock; ``None`` when it is no rollback.

    Args:
        tx: the transaction; that of a rollout which begins has locked the deployment.
        deployment: its row.
        request: what is asked for.

    Raises:
        RefusedError: nothing is live, the revision is live already, or the policy contradicts itself.

    """
    if not request.rollback or not isinstance(request.revision, int):
        return None
    live = await _live_revision(tx, deployment)
    revision = RevisionNumber(request.revision)
    if revision == live:
        raise refuse(
            RefusalCode.ALREADY_LIVE,
            f"r{revision} of {deployment.name} is live already",
            f"see what was live before with 'celadon rollout history {deployment.name}'",
        )
    back, now = await _revisions_back(tx, deployment, live), await database_now(tx)
    layer = read_policy(deployment.policy)
    defaults = await read_defaults(tx)
    own = resolve_for(deployment.name, defaults, layer).rollback_window
    wanted = resolve_for(deployment.name, defaults, layer, request.policy).rollback_window
    verdict = judge_window(back, revision, own, now)
    if not verdict.is_inside and wanted != own:
        widened = judge_window(back, revision, wanted, now)
        return JudgedRollback(is_inside=widened.is_inside, is_widened=widened.is_inside, why=widened.why)
    return JudgedRollback(is_inside=verdict.is_inside, why=verdict.why)


async def rollback_target(tx: AsyncSession, deployment: Deployment) -> RevisionNumber:
    """Return the revision that was live last before the present one, and that traffic was not taken back from since.

    Raises:
        RefusedError: nothing is live, or nothing was live before.

    """
    live = await _live_revision(tx, deployment)
    back = await _revisions_back(tx, deployment, live)
    if not back:
        raise refuse(
            RefusalCode.NO_BLUE,
            f"there is no revision to go back to: before r{live} none was live that traffic was not taken back from",
            f"name one of 'celadon revision list {deployment.name}' with --to-revision",
        )
    return back[0].revision


async def _live_revision(tx: AsyncSession, deployment: Deployment) -> RevisionNumber:
    live = await revision_of(tx, deployment.live_set)
    if live is None:
        raise refuse(
            RefusalCode.NO_BLUE,
            f"nothing of {deployment.name} is live, so there is nothing to go back from",
            f"start a rollout with one of 'celadon revision list {deployment.name}'",
        )
    return live


async def _revisions_back(tx: AsyncSession, deployment: Deployment, live: RevisionNumber) -> tuple[Past, ...]:
    rows = await tx.execute(
        select(Rollout.to_revision, Rollout.switched_at, Rollout.rollback_window)
        .where(
            Rollout.deployment == deployment.name,
            Rollout.switched_at.is_not(None),
            # What is live may have been left by a rollout whose workflow was terminated.
            or_(Rollout.outcome == RolloutOutcome.PROMOTED, Rollout.green_set == deployment.live_set),
        )
        .order_by(Rollout.id.desc())
        .limit(_LOOKS_BACK),
    )
    promoted = [
        Promoted(
            revision=RevisionNumber(row.to_revision),
            switched_at=row.switched_at,
            goes_back=row.rollback_window is not None,
        )
        for row in rows
    ]
    return revisions_back(reversed(promoted), live)
