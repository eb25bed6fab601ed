"""What the sender of a rollout must be allowed to do, by what the rollout would do."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.automatic_switch import asks_for_gate, eased_keys, verbs_of_policy
from celadon.domain.language.base_models import Record
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.permissions import Verb
from celadon.domain.language.revision import Revision
from celadon.domain.language.states import DeploymentLifecycle
from celadon.table.core.models import Deployment
from celadon.table.core.policies import read_policy, resolve_for
from celadon.table.rollouts.revisions import find_revision


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
) -> tuple[NeededRight, ...]:
    """Return the rights that a rollout takes, judged by the policy that it resolves to.

    Args:
        tx: the transaction; that of a start which is carried out has locked the deployment.
        deployment: its row, or ``None`` when there is none.
        request: what is asked for.
        is_new: whether the row was made for this very request.

    Raises:
        RefusedError: the policy contradicts itself.

    """
    needed = [NeededRight(verb=Verb.START)]
    if deployment is None or is_new or deployment.lifecycle is DeploymentLifecycle.DESTROYED:
        why = f"there is no deployment {request.deployment} yet"
        needed.append(NeededRight(verb=Verb.CREATE, why=why))
        resolve_for(request.deployment, request.policy)
        switches = "its policy lets rollouts switch without a person"
        needed += [NeededRight(verb=verb, why=switches) for verb in verbs_of_policy(request.policy)]
        return tuple(needed)
    if isinstance(request.revision, Revision) and await find_revision(tx, deployment.name, request.revision) is None:
        needed.append(NeededRight(verb=Verb.CREATE, why=_NEW_REVISION.format(deployment=deployment.name)))
    if request.replicas is not None and request.replicas != deployment.replicas:
        why = f"the request wants {request.replicas} replicas, and it has {deployment.replicas}"
        needed.append(NeededRight(verb=Verb.SCALE, why=why))
    own_layer = read_policy(deployment.policy)
    own = resolve_for(deployment.name, own_layer)
    wanted = resolve_for(deployment.name, own_layer, request.policy)
    has_blue = deployment.live_set is not None
    eased = eased_keys(
        own,
        wanted,
        own_gated=has_blue or asks_for_gate(own, own_layer),
        wanted_gated=has_blue or asks_for_gate(wanted, own_layer, request.policy),
    )
    if eased:
        why = f"{', '.join(eased)} of the request let it switch by itself where its own policy would not, or not yet"
        needed.append(NeededRight(verb=Verb.PROMOTE, why=why))
    return tuple(needed)


async def rights_to_request(tx: AsyncSession, request: RolloutRequest) -> tuple[NeededRight, ...]:
    """Return the rights that a rollout takes as things stand, for a door that tells its caller at once.

    Raises:
        RefusedError: the policy contradicts itself.

    """
    deployment = await tx.scalar(select(Deployment).where(Deployment.name == request.deployment))
    return await rights_to_start(tx, deployment, request)


_NEW_REVISION = (
    "it has no revision with this content; register it with 'celadon revision add {deployment}', then start the "
    "rollout with the same content or the revision's number"
)
