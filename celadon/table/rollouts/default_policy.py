"""The defaults of an installation, changed for the rollouts that begin from then on."""

from collections.abc import Callable, Collection
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.own_policy import default_changes, with_keys
from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.domain.language.permissions import Verb
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.table.core.author import Author
from celadon.table.core.defaults import bar_stored_policies, read_defaults
from celadon.table.core.deployment_rules import is_destroyed
from celadon.table.core.models import DefaultChange, DefaultPolicy, Deployment, RolloutEvent
from celadon.table.core.policies import read_policy, resolve_for
from celadon.table.notifications.notification_outbox import check_rules
from celadon.table.rollouts.admission import find_unkeepable
from celadon.table.rollouts.audit import selected_line
from celadon.table.rollouts.own_policy import ChangedPolicy
from celadon.table.rollouts.rights import NeededRight, rights_to_policy

CHANGED = "defaults_changed"

_NEW = "new"
"""Stands for deployments that are created later and say nothing; no text depends on it."""


class _Concerned(NamedTuple):
    """Deployments whose own policies are the same, one of which is named."""

    deployment: str
    own: BlueGreenPolicy
    has_blue: bool


async def set_defaults(
    tx: AsyncSession,
    given: BlueGreenPolicy,
    unset: Collection[str],
    author: Author,
    require: Callable[[Verb, str], None],
) -> ChangedPolicy:
    """Give the installation's defaults other keys. A rollout under way keeps the policy that it began with.

    Args:
        tx: the transaction; it has locked no deployment.
        given: keys that the defaults get.
        unset: keys that they lose, so that Celadon's own values apply.
        author: who changes them, for the audit log.
        require: refuses what the sender has no right to; it is told why the right is necessary.

    Raises:
        RefusedError: the defaults contradict themselves, or what a deployment says itself, a target is not there, or
            the sender may not.

    """
    await bar_stored_policies(tx)
    before = await read_defaults(tx)
    try:
        after = with_keys(before, given, unset)
        changes = default_changes(before, after)
    except ValueError as error:
        raise refuse(
            RefusalCode.POLICY_CONFLICT,
            f"the defaults would contradict themselves: {error}",
            "see the defaults with 'celadon policy show --default'",
        ) from error
    await check_rules(tx, resolve_for(_NEW, after))
    if after.max_total_replicas is not None and after.max_total_replicas != before.max_total_replicas:
        unkeepable = await find_unkeepable(tx, after.max_total_replicas)
        if unkeepable is not None:
            raise refuse(RefusalCode.POLICY_CONFLICT, unkeepable.message, unkeepable.next_step)
    for right in await _rights(tx, before, after):
        require(right.verb, right.why)
    if not changes:
        return ChangedPolicy(policy=before, changes=())
    changed = ChangedPolicy(policy=after, changes=changes)
    await _write(tx, before, changed, author)
    return changed


async def _rights(tx: AsyncSession, before: BlueGreenPolicy, after: BlueGreenPolicy) -> tuple[NeededRight, ...]:
    """Return what the change takes by what it does to any deployment, and to those that are created later.

    Raises:
        RefusedError: a deployment could not keep the defaults.

    """
    needed: dict[Verb, NeededRight] = {}
    silent = BlueGreenPolicy()
    later = [_Concerned(_NEW, silent, has_blue) for has_blue in (False, True)]
    for one in (*later, *await _deployments(tx)):
        if not _is_kept(one, before):
            continue
        try:
            rights = rights_to_policy(one.deployment, (before, one.own), (after, one.own), has_blue=one.has_blue)
        except RefusedError as error:
            raise _not_kept(one.deployment, error) from error
        for right in rights:
            needed.setdefault(right.verb, right)
    return tuple(needed.values())


async def _deployments(tx: AsyncSession) -> tuple[_Concerned, ...]:
    """Return the own policies that there are, each once: most deployments say the same."""
    has_blue = Deployment.live_set.is_not(None)
    rows = await tx.execute(
        select(func.min(Deployment.name).label("name"), Deployment.policy, has_blue.label("has_blue"))
        .where(~is_destroyed)
        .group_by(Deployment.policy, has_blue)
        .order_by("name")
    )
    return tuple(_Concerned(row.name, read_policy(row.policy), row.has_blue) for row in rows)


def _is_kept(one: _Concerned, defaults: BlueGreenPolicy) -> bool:
    """Whether the deployment has a policy at all by these defaults; one that has none changes nothing."""
    try:
        resolve_for(one.deployment, defaults, one.own)
    except RefusedError:
        return False
    return True


def _not_kept(deployment: str, error: RefusedError) -> RefusedError:
    return refuse(
        RefusalCode.POLICY_CONFLICT,
        f"deployment {deployment} could not keep these defaults: {error.refusal.message}",
        f"change its own policy first ('celadon policy show {deployment}'), or set other defaults",
    )


async def _write(tx: AsyncSession, before: BlueGreenPolicy, changed: ChangedPolicy, author: Author) -> None:
    """Store the defaults, with a line in their own log and one in that of each deployment."""
    stored = changed.policy.model_dump(mode="json")
    await tx.execute(
        insert(DefaultPolicy)
        .values(id=0, policy=stored)
        .on_conflict_do_update(index_elements=["id"], set_={"policy": stored})
    )
    tx.add(
        DefaultChange(
            actor=author.by,
            issuer=author.issuer,
            door=author.door,
            verified=author.verified,
            reason=author.reason,
            before=before.model_dump(mode="json"),
            after=stored,
        )
    )
    await tx.flush()
    line = {"deployment": Deployment.name, **selected_line(CHANGED, author, changed.evidence)}
    lines = select(*line.values()).where(~is_destroyed).order_by(Deployment.name)
    await tx.execute(insert(RolloutEvent).from_select([*line], lines))
