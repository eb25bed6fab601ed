"""What becomes of a start that finds something there: what is wanted already, or a rollout that is under way."""

from collections.abc import Callable, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.hosts import NOTHING_CLAIMABLE, HostRules
from celadon.domain.decisions.other_rollout import another_under_way
from celadon.domain.decisions.plan import UnderWay, is_already_there
from celadon.domain.decisions.successors import replaces_now, right_to_replace
from celadon.domain.language.base_models import Record
from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.names import RevisionNumber, RolloutId
from celadon.domain.language.next_rollout import StartState, WaitingRollout
from celadon.domain.language.permissions import Verb
from celadon.domain.language.policy import BlueGreenPolicy, OnNewRevision
from celadon.domain.language.revision import Revision
from celadon.domain.language.states import RolloutPhase
from celadon.table.core.author import Author
from celadon.table.core.defaults import read_defaults
from celadon.table.core.locks import LockedDeployment, lock_deployment
from celadon.table.core.models import Deployment, NextRolloutRow, Rollout
from celadon.table.core.policies import read_policy, resolve_for
from celadon.table.rollouts.admission import wanted_at_last
from celadon.table.rollouts.begin import JudgedStart, judge_start
from celadon.table.rollouts.hosts import refuse_claims
from celadon.table.rollouts.live import revision_of
from celadon.table.rollouts.next_rollouts import AskedStart, Wanted, place, shown, waiting_row
from celadon.table.rollouts.revisions import find_revision
from celadon.table.rollouts.traffic import changes_traffic


class Met(Record):
    """What a start has met, so that no rollout begins now."""

    state: StartState
    rollout: RolloutId | None
    """The rollout that is under way, if one is."""
    revision: RevisionNumber
    """The one that is asked for."""
    live: RevisionNumber | None
    waiting: WaitingRollout | None = None
    """What waits, where that is what is asked for."""
    replaced: WaitingRollout | None = None
    """What waited before, and waits no more."""


async def meet(  # noqa: PLR0913 - what is asked for, by whom, and what it may claim
    tx: AsyncSession,
    request: RolloutRequest,
    author: Author,
    rights: frozenset[Verb],
    *,
    require: Callable[[Verb, str], None],
    request_id: str,
    hosts: HostRules = NOTHING_CLAIMABLE,
) -> Met | None:
    """Answer a start that finds what it wants, or let it wait behind a rollout; ``None`` when it is to begin now.

    What waits was judged by every rule of a begin, and its revision is registered, in this transaction.

    Args:
        tx: the transaction.
        request: what is asked for.
        author: who asks.
        rights: what the author may do, as long as the request waits.
        require: refuses what the author has no right to; it is told why the right is necessary.
        request_id: of the request; a repeat finds what waits. Empty for none.
        hosts: which host names it may claim for the deployment.

    Raises:
        RefusedError: a rollout is under way and the policy lets nothing wait, or a rule of the begin refuses it.

    """
    there = await tx.scalar(select(Deployment.name).where(Deployment.name == request.deployment))
    if there is None:
        return None
    locked = await lock_deployment(tx, request.deployment)
    deployment = locked.row
    if deployment.lifecycle.is_deleted:
        return None
    under_way, wanted = await read_under_way(tx, deployment.name)
    waiting = await waiting_row(tx, deployment.name)
    live = await revision_of(tx, deployment.live_set)
    own = read_policy(deployment.policy)
    defaults = await read_defaults(tx)
    policy = resolve_for(deployment.name, defaults, own, request.policy)
    number = await _number_of(tx, request)
    rollout = None if under_way is None else RolloutId(under_way.id)
    phase = None if under_way is None else under_way.phase
    repeats = waiting is not None and bool(request_id) and waiting.request_id == request_id
    if number is not None and not request.rollback and (repeats or not request.restart):
        waits = None if waiting is None else way_of(waiting, (defaults, own), deployment.replicas)
        is_there = repeats or (
            not await changes_traffic(tx, deployment.name, request.traffic)
            and is_already_there(
                request, number, policy, live=live, replicas=deployment.replicas, under_way=wanted, waiting=waits
            )
        )
        if is_there:
            is_it = waiting is not None and waits is not None and (repeats or waits.to_revision == number)
            return Met(
                state=StartState.WAITS if repeats else StartState.ALREADY_THERE,
                rollout=rollout,
                revision=number,
                live=live,
                waiting=shown(waiting, phase) if is_it and waiting is not None else None,
            )
    if under_way is None:
        return None
    if policy.on_new_revision is OnNewRevision.REJECT or request.rollback:
        raise RefusedError(another_under_way(deployment.name))
    if policy.on_new_revision is OnNewRevision.REPLACE:
        _require_right_to_replace(under_way, rights, verified=author.verified, require=require)
    judged = await judge_turn(tx, locked, request, author.verified, require)
    await refuse_claims(tx, deployment.name, request.traffic, hosts)
    asked = AskedStart.of(request, judged.number, author, rights)
    wanted_next = Wanted(asked=asked, mode=policy.on_new_revision, request_id=request_id)
    placed = await place(tx, locked, under_way, wanted_next, author)
    return Met(
        state=StartState.WAITS,
        rollout=rollout,
        revision=judged.number,
        live=live,
        waiting=placed.waiting,
        replaced=placed.replaced,
    )


async def judge_turn(
    tx: AsyncSession,
    locked: LockedDeployment,
    request: RolloutRequest,
    verified: bool,  # noqa: FBT001 - as its call reads
    require: Callable[[Verb, str], None],
    *,
    asks_for_room: bool = False,
) -> JudgedStart:
    """Judge what waits as a begin does, but for the room: a rollout under way has it until its end."""
    return await judge_start(
        tx,
        locked,
        request,
        is_new=False,
        verified=verified,
        require=require,
        end_older=end_nothing,
        asks_for_room=asks_for_room,
    )


async def read_under_way(tx: AsyncSession, deployment: str) -> tuple[Rollout | None, UnderWay | None]:
    """Return the rollout of a deployment that has not ended, and what it is on its way to."""
    rollout = await tx.scalar(select(Rollout).where(Rollout.deployment == deployment, Rollout.outcome.is_(None)))
    if rollout is None:
        return None, None
    return rollout, UnderWay(
        to_revision=RevisionNumber(rollout.to_revision),
        replicas=wanted_at_last(rollout),
        phase=rollout.phase,
        policy=read_policy(rollout.policy),
    )


def way_of(waiting: NextRolloutRow, layers: Sequence[BlueGreenPolicy], replicas: int) -> UnderWay:
    """Return what waits as if it were under way, as things stand; ``layers`` of the policy are weaker than its own."""
    asked = AskedStart.of_stored(waiting.asked).request
    return UnderWay(
        to_revision=RevisionNumber(waiting.revision),
        replicas=replicas if asked.replicas is None else asked.replicas,
        phase=RolloutPhase.PROVISIONING,
        policy=resolve_for(waiting.deployment, *layers, asked.policy),
    )


def _require_right_to_replace(
    under_way: Rollout, rights: frozenset[Verb], *, verified: bool, require: Callable[[Verb, str], None]
) -> None:
    """Refuse who may not end the rollout under way: to close its green is to abort it, to end its bake to finish it."""
    needed = right_to_replace(under_way.phase)
    if needed is None:
        return
    require(*needed)
    if not replaces_now(OnNewRevision.REPLACE, under_way.phase, rights, verified=verified):
        raise refuse(
            RefusalCode.UNSIGNED,
            f"nobody vouches for the sender, and an unsigned request may not end the bake of rollout {under_way.id}",
            "set policy.on_new_revision to queue, or send it through the API or with the installation's key",
        )


async def _number_of(tx: AsyncSession, request: RolloutRequest) -> RevisionNumber | None:
    if isinstance(request.revision, Revision):
        return await find_revision(tx, request.deployment, request.revision)
    return RevisionNumber(request.revision)


async def end_nothing() -> None:
    """Leave the rollout that is under way alone: this one waits for its end."""
