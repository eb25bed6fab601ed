"""What the sender of a rollout must be allowed to do, by what the rollout would do."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.approvals import eases_approvals
from celadon.domain.decisions.automatic_switch import (
    asks_for_gate,
    eased_keys,
    lets_people_switch_at_other_times,
    verbs_of_policy,
)
from celadon.domain.language.base_models import Record
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.permissions import Verb
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.revision import Revision
from celadon.domain.language.states import DeploymentLifecycle
from celadon.domain.language.traffic import Traffic
from celadon.table.core.defaults import read_defaults
from celadon.table.core.models import Deployment
from celadon.table.core.policies import read_policy, resolve_for
from celadon.table.rollouts.hosts import changes_hosts
from celadon.table.rollouts.revisions import find_revision
from celadon.table.rollouts.rollback import JudgedRollback, judge_rollback
from celadon.table.rollouts.traffic import changed_settings


class NeededRight(Record):
    """A right, and what makes it necessary."""

    verb: Verb
    why: str = ""
    """For people; empty when the request itself says it."""


async def rights_to_start(
    tx: AsyncSession,
    deployment: Deployment | None,
    request: RolloutRequest,
    *,
    is_new: bool = False,
    judged: JudgedRollback | None = None,
    defaults: BlueGreenPolicy,
) -> tuple[NeededRight, ...]:
    """Return the rights that a rollout takes, judged by the policy that it resolves to.

    Args:
        tx: the transaction; that of a start which is carried out has locked the deployment.
        deployment: its row, or ``None`` when there is none.
        request: what is asked for.
        is_new: whether the row was made for this very request.
        judged: what the table says of it when it is a rollback.
        defaults: what the installation gives to deployments that say nothing.

    Raises:
        RefusedError: the policy contradicts itself.

    """
    needed = [_right_to_begin(judged)]
    if deployment is None or is_new or deployment.lifecycle is DeploymentLifecycle.DESTROYED:
        why = f"there is no deployment {request.deployment} yet"
        needed.append(NeededRight(verb=Verb.CREATE, why=why))
        needed += await rights_to_traffic(tx, request.deployment, request.traffic)
        return (*needed, *rights_to_first_policy(request.deployment, request.policy, defaults))
    if judged is not None and judged.is_widened:
        why = "only the rollback_window of the request lets it switch without a gate, and not that of its own policy"
        needed.append(NeededRight(verb=Verb.PROMOTE, why=why))
    if isinstance(request.revision, Revision) and await find_revision(tx, deployment.name, request.revision) is None:
        needed.append(NeededRight(verb=Verb.CREATE, why=_NEW_REVISION))
    if request.replicas is not None and request.replicas != deployment.replicas:
        why = f"the request wants {request.replicas} replicas, and it has {deployment.replicas}"
        needed.append(NeededRight(verb=Verb.SCALE, why=why))
    own_layer = read_policy(deployment.policy)
    own = resolve_for(deployment.name, defaults, own_layer)
    wanted = resolve_for(deployment.name, defaults, own_layer, request.policy)
    has_blue = deployment.live_set is not None
    eased = eased_keys(
        own,
        wanted,
        own_gated=has_blue or asks_for_gate(own, defaults, own_layer),
        wanted_gated=has_blue or asks_for_gate(wanted, defaults, own_layer, request.policy),
    )
    if eased:
        why = f"{', '.join(eased)} of the request let it switch by itself where its own policy would not, or not yet"
        needed.append(NeededRight(verb=Verb.PROMOTE, why=why))
    elif lets_people_switch_at_other_times(own, wanted):
        why = "windows of the request let people promote it when its own policy would not"
        needed.append(NeededRight(verb=Verb.PROMOTE, why=why))
    if eases_approvals(own.approvals, wanted.approvals):
        why = "the request asks for fewer approvals than its own policy, or lets the requester's count"
        needed.append(NeededRight(verb=Verb.WAIVE_APPROVALS, why=why))
    needed += await rights_to_traffic(tx, deployment.name, request.traffic)
    return tuple(needed)


async def rights_to_traffic(tx: AsyncSession, deployment: str, traffic: Traffic | None) -> tuple[NeededRight, ...]:
    """Return what somebody must be allowed to do who says how clients reach a deployment: nothing for what holds.

    So a deployment file that names the hosts which the deployment has may be rolled out by everybody who may start.
    """
    needed: list[NeededRight] = []
    if await changes_hosts(tx, deployment, traffic):
        needed.append(NeededRight(verb=Verb.SET_HOSTS, why="the request gives it other hosts than it has"))
    keys = ", ".join(one.field for one in await changed_settings(tx, deployment, traffic))
    if keys:
        needed.append(NeededRight(verb=Verb.SET_TRAFFIC, why=f"the request changes {keys} of its traffic"))
    return tuple(needed)


def rights_to_first_policy(
    deployment: str, policy: BlueGreenPolicy, defaults: BlueGreenPolicy
) -> tuple[NeededRight, ...]:
    """Return what somebody must be allowed to do, besides creating it, who gives a new deployment its own policy.

    What the defaults let happen, whoever set them has allowed.

    Raises:
        RefusedError: the policy contradicts itself.

    """
    before, after = resolve_for(deployment, defaults), resolve_for(deployment, defaults, policy)
    switches = "its policy lets rollouts switch without a person"
    needed = [NeededRight(verb=verb, why=switches) for verb in verbs_of_policy(policy, defaults)]
    if eases_approvals(before.approvals, after.approvals):
        why = "its policy asks for fewer approvals than the installation's defaults, or lets the requester's count"
        needed.append(NeededRight(verb=Verb.WAIVE_APPROVALS, why=why))
    return tuple(needed)


def rights_to_policy(
    deployment: str,
    own: tuple[BlueGreenPolicy, ...],
    wanted: tuple[BlueGreenPolicy, ...],
    *,
    has_blue: bool,
) -> tuple[NeededRight, ...]:
    """Return what somebody must be allowed to do, besides changing policies, who changes layers of a policy.

    Args:
        deployment: its name.
        own: the layers of its policy, weakest first, each with the keys alone that it gives.
        wanted: the same as they are to be.
        has_blue: whether something is live, so that every rollout has a gate.

    Raises:
        RefusedError: the policy contradicts itself.

    """
    before, after = resolve_for(deployment, *own), resolve_for(deployment, *wanted)
    eased = eased_keys(
        before,
        after,
        own_gated=has_blue or asks_for_gate(before, *own),
        wanted_gated=has_blue or asks_for_gate(after, *wanted),
    )
    needed: list[NeededRight] = []
    if eased:
        why = f"with {', '.join(eased)} its rollouts would switch by themselves where they would not, or not yet"
        needed.append(NeededRight(verb=Verb.PROMOTE, why=why))
    elif lets_people_switch_at_other_times(before, after):
        needed.append(NeededRight(verb=Verb.PROMOTE, why="people could promote while its windows are closed now"))
    if eases_approvals(before.approvals, after.approvals):
        why = "its rollouts would need fewer approvals, or the requester's would count"
        needed.append(NeededRight(verb=Verb.WAIVE_APPROVALS, why=why))
    return tuple(needed)


def _right_to_begin(judged: JudgedRollback | None) -> NeededRight:
    if judged is None:
        return NeededRight(verb=Verb.START)
    return NeededRight(verb=Verb.ROLLBACK if judged.is_inside else Verb.START, why=judged.why)


async def rights_to_request(tx: AsyncSession, request: RolloutRequest) -> tuple[NeededRight, ...]:
    """Return the rights that a rollout takes as things stand, for a door that tells its caller at once.

    Raises:
        RefusedError: the policy contradicts itself, or there is nothing to roll back.

    """
    deployment = await tx.scalar(select(Deployment).where(Deployment.name == request.deployment))
    judged = None if deployment is None else await judge_rollback(tx, deployment, request)
    return await rights_to_start(tx, deployment, request, judged=judged, defaults=await read_defaults(tx))


_NEW_REVISION = (
    "it has no revision with this content; register it with 'celadon revision add -f FILE', then start the "
    "rollout with the same content or the revision's number"
)
