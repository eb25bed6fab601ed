"""A deployment's own host names: who may claim which, and the change of all of them at once.

That no two deployments have the same host, the table's unique key decides and no query before it: of two that claim one
at the same moment, the second waits for the first, and is refused once that has committed.
"""

from collections.abc import Collection, Iterable

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.hosts import HostRules
from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.domain.language.traffic import Traffic
from celadon.table.core.author import Asker
from celadon.table.core.epoch import raise_epoch
from celadon.table.core.hosts import hosts_of
from celadon.table.core.labels import labels_of
from celadon.table.core.locks import LockedDeployment, lock_deployment
from celadon.table.core.models import DeploymentHost
from celadon.table.rollouts.audit import write_event

HOSTS_CHANGED = "hosts_changed"
"""How the audit log calls it."""


async def set_hosts(
    tx: AsyncSession, deployment: str, hosts: Collection[str], author: Asker, rules: HostRules
) -> tuple[tuple[str, ...], bool]:
    """Give a deployment other host names of its own; return all that it has now, and whether that is a change.

    Raises:
        RefusedError: there is no such deployment, it is being destroyed or was, no deployment may claim one of the
            hosts, or another deployment has it.

    """
    locked = await lock_deployment(tx, deployment)
    if locked.row.lifecycle.is_deleted:
        raise refuse(
            RefusalCode.DEPLOYMENT_DELETED,
            f"deployment {deployment} is {locked.row.lifecycle.value}, and has no addresses",
            "start it anew with the hosts that it shall have, once it is destroyed",
        )
    wanted = Traffic(hosts=tuple(hosts))
    changed = await apply_hosts(tx, locked, wanted, author, rules)
    return await hosts_of(tx, deployment), changed


async def apply_hosts(
    tx: AsyncSession,
    locked: LockedDeployment,
    traffic: Traffic,
    author: Asker,
    rules: HostRules,
    *,
    rollout: int | None = None,
) -> bool:
    """Give a locked deployment the hosts that a request names, and tell routers; false when it has them already.

    Raises:
        RefusedError: no deployment may claim one of the hosts, or another deployment has it.

    """
    before = await hosts_of(tx, locked.name)
    if not await try_hosts(tx, locked, traffic, rules):
        return False
    epoch = await raise_epoch(tx, locked.name)
    await tx.refresh(locked.row, ["epoch"])
    after = await hosts_of(tx, locked.name)
    evidence = {"from": ", ".join(before), "to": ", ".join(after), "epoch": str(epoch)}
    await write_event(tx, locked.name, rollout, HOSTS_CHANGED, author=author, evidence=evidence)
    return True


async def try_hosts(tx: AsyncSession, locked: LockedDeployment, traffic: Traffic, rules: HostRules) -> bool:
    """Do the same, and tell nobody, for a plan that takes it back.

    Hosts that the deployment has already were allowed once, and stay allowed. New ones are claimed before others are
    given up, and in one order, so that deployments that exchange hosts never wait for one another.

    Raises:
        RefusedError: as above.

    """
    if traffic.hosts is None:
        return False
    before = await hosts_of(tx, locked.name)
    claimed = [one for one in traffic.hosts if one not in before]
    given_up = [one for one in before if one not in traffic.hosts]
    _refuse_unlisted(claimed, rules)
    if claimed:
        rows = [{"host": host, "deployment": locked.name} for host in claimed]
        statement = insert(DeploymentHost).values(rows).on_conflict_do_nothing().returning(DeploymentHost.host)
        taken = set(claimed) - set(await tx.scalars(statement))
        if taken:
            raise await _taken(tx, locked.name, min(taken), rules)
    if given_up:
        await tx.execute(delete(DeploymentHost).where(DeploymentHost.host.in_(given_up)))
    await tx.flush()
    return bool(claimed or given_up)


async def refuse_claims(tx: AsyncSession, deployment: str, traffic: Traffic | None, rules: HostRules) -> None:
    """Refuse hosts that a deployment could not have as things stand, for a door that tells its caller at once.

    Raises:
        RefusedError: as above.

    """
    if traffic is None or traffic.hosts is None:
        return
    before = await hosts_of(tx, deployment)
    claimed = [one for one in traffic.hosts if one not in before]
    _refuse_unlisted(claimed, rules)
    taken = await tx.scalar(select(func.min(DeploymentHost.host)).where(DeploymentHost.host.in_(claimed)))
    if taken is not None:
        raise await _taken(tx, deployment, taken, rules)


async def changes_hosts(tx: AsyncSession, deployment: str, traffic: Traffic | None) -> bool:
    """Whether a request names other hosts than a deployment has."""
    return traffic is not None and traffic.hosts is not None and traffic.hosts != await hosts_of(tx, deployment)


async def give_up_hosts(tx: AsyncSession, locked: LockedDeployment) -> tuple[str, ...]:
    """Take all host names from a deployment that is being deleted, and return them; others may claim them at once."""
    statement = delete(DeploymentHost).where(DeploymentHost.deployment == locked.name).returning(DeploymentHost.host)
    return tuple(sorted(await tx.scalars(statement)))


def _refuse_unlisted(hosts: Iterable[str], rules: HostRules) -> None:
    for host in hosts:
        refusal = rules.claimable.refuse(host)
        if refusal is not None:
            raise RefusedError(refusal)


async def _taken(tx: AsyncSession, deployment: str, host: str, rules: HostRules) -> RefusedError:
    """Return the refusal of a host that another deployment has, which it names only to who may see that one."""
    owner = await tx.scalar(select(DeploymentHost.deployment).where(DeploymentHost.host == host))
    labels = None if owner is None else await labels_of(tx, owner)
    whose = owner if labels is not None and rules.sees(labels) else "another deployment"
    return refuse(
        RefusalCode.HOST_TAKEN,
        f"{deployment} cannot have the host {host}: {whose} has it",
        "leave it out, or let the other deployment give it up first",
    )
