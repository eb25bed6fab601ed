"""A deployment's own policy: changing it, for the rollouts that begin from then on."""

from collections.abc import Callable, Collection

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.own_policy import policy_changes, with_keys
from celadon.domain.language.base_models import Record
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.limits import echo
from celadon.domain.language.permissions import Verb
from celadon.domain.language.plan import FieldChange
from celadon.domain.language.policy import BlueGreenPolicy, resolve_policy
from celadon.table.core.author import Author
from celadon.table.core.defaults import hold_defaults
from celadon.table.core.locks import lock_deployment
from celadon.table.core.policies import read_policy, resolve_for
from celadon.table.notifications.notification_outbox import check_rules
from celadon.table.rollouts.admission import admit_policy
from celadon.table.rollouts.audit import write_event
from celadon.table.rollouts.rights import rights_to_policy

_SHOWN_BYTES = 300


class ChangedPolicy(Record):
    """A layer of policies after a change."""

    policy: BlueGreenPolicy
    """With the keys alone that it gives."""
    changes: tuple[FieldChange, ...]
    """Nothing when it was the same already; then nothing was written."""

    @property
    def evidence(self) -> dict[str, str]:
        """What the audit log says of each change, by key."""
        return {one.field: echo(f"{one.before} → {one.after}", _SHOWN_BYTES) for one in self.changes}


async def set_policy(
    tx: AsyncSession,
    deployment: str,
    given: BlueGreenPolicy,
    unset: Collection[str],
    author: Author,
    require: Callable[[Verb, str], None],
) -> ChangedPolicy:
    """Give a deployment's own policy other keys. A rollout under way keeps the policy that it began with.

    Args:
        tx: the transaction.
        deployment: whose policy.
        given: keys that it gets.
        unset: keys that it loses, so that the defaults apply.
        author: who changes it, for the audit log.
        require: refuses what the sender has no right to; it is told why the right is necessary.

    Raises:
        RefusedError: there is no such deployment, it is being destroyed or was, the policy contradicts itself, a target
            is not there, or the sender may not.

    """
    locked = await lock_deployment(tx, deployment)
    row = locked.row
    if row.lifecycle.is_deleted:
        raise refuse(
            RefusalCode.DEPLOYMENT_DELETED,
            f"deployment {deployment} is {row.lifecycle.value}",
            "start it anew with the policy that it shall have, once it is destroyed",
        )
    own, defaults = read_policy(row.policy), await hold_defaults(tx)
    try:
        wanted = with_keys(own, given, unset)
    except ValueError as error:
        raise refuse(
            RefusalCode.POLICY_CONFLICT,
            f"the policy would contradict itself: {error}",
            f"see the policy with 'celadon policy show {deployment}'",
        ) from error
    resolved = resolve_for(deployment, defaults, wanted)
    await check_rules(tx, resolved)
    if resolved.max_total_replicas != resolve_policy(defaults, own).max_total_replicas:
        await admit_policy(tx, locked, resolved)
    for right in rights_to_policy(deployment, (defaults, own), (defaults, wanted), has_blue=row.live_set is not None):
        require(right.verb, right.why)
    changes = policy_changes(own, wanted, defaults)
    if not changes:
        return ChangedPolicy(policy=own, changes=())
    row.policy = wanted.model_dump(mode="json")
    changed = ChangedPolicy(policy=wanted, changes=changes)
    await write_event(tx, deployment, None, "policy_changed", author=author, evidence=changed.evidence)
    return changed
