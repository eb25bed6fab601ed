"""What a request says of a deployment's traffic: its own host names, and how routers treat its requests.

Both belong to the deployment, and count from the moment at which the transaction commits.
"""

from collections.abc import Collection

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.hosts import HostRules
from celadon.domain.decisions.traffic_settings import changes_between, without
from celadon.domain.language.base_models import Record
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.plan import FieldChange
from celadon.domain.language.states import DeploymentLifecycle
from celadon.domain.language.traffic import Traffic, TrafficKey, TrafficSettings
from celadon.table.core.author import Asker
from celadon.table.core.epoch import raise_epoch
from celadon.table.core.locks import LockedDeployment, lock_deployment
from celadon.table.core.traffic_settings import columns_of, read_settings, settings_of
from celadon.table.rollouts.audit import write_event
from celadon.table.rollouts.hosts import apply_hosts, changes_hosts, try_hosts

TRAFFIC_CHANGED = "traffic_changed"
"""How the audit log calls other settings."""


class ChangedTraffic(Record):
    """The settings of a deployment after a change."""

    changes: tuple[FieldChange, ...]
    """What is other than before; nothing when the settings were so already."""
    settings: TrafficSettings
    """All of them."""


async def set_traffic(
    tx: AsyncSession, deployment: str, given: TrafficSettings, reset: Collection[TrafficKey], author: Asker
) -> ChangedTraffic:
    """Change how routers treat a deployment's requests; what is neither given nor reset stays.

    Raises:
        RefusedError: there is no such deployment, or it is being destroyed or was.

    """
    locked = await lock_deployment(tx, deployment)
    if locked.row.lifecycle in {DeploymentLifecycle.DESTROYING, DeploymentLifecycle.DESTROYED}:
        raise refuse(
            RefusalCode.DEPLOYMENT_DELETED,
            f"deployment {deployment} is {locked.row.lifecycle.value}, and gets no requests",
            "start it anew with the traffic that it shall have, once it is destroyed",
        )
    before = settings_of(locked.row)
    after = without(given.over(before), reset)
    await _change(tx, locked, before, after, author, None)
    return ChangedTraffic(changes=changes_between(before, after), settings=after)


async def apply_traffic(
    tx: AsyncSession,
    locked: LockedDeployment,
    traffic: Traffic | None,
    author: Asker,
    rules: HostRules,
    *,
    rollout: int | None = None,
) -> bool:
    """Do to a locked deployment what a request says of its traffic, and tell routers; false when it is so already.

    Raises:
        RefusedError: no deployment may claim one of the hosts, or another deployment has it.

    """
    if traffic is None:
        return False
    changed = await apply_hosts(tx, locked, traffic, author, rules, rollout=rollout)
    before = settings_of(locked.row)
    return await _change(tx, locked, before, traffic.over(before), author, rollout) or changed


async def try_traffic(tx: AsyncSession, locked: LockedDeployment, traffic: Traffic | None, rules: HostRules) -> None:
    """Ask every rule of the same, and tell nobody, for a plan that takes it back.

    Raises:
        RefusedError: as above.

    """
    if traffic is None:
        return
    await try_hosts(tx, locked, traffic, rules)
    await _store(tx, locked, traffic.over(settings_of(locked.row)))


async def changes_traffic(tx: AsyncSession, deployment: str, traffic: Traffic | None) -> bool:
    """Whether a request says something of a deployment's traffic that does not hold yet."""
    return await changes_hosts(tx, deployment, traffic) or bool(await changed_settings(tx, deployment, traffic))


async def changed_settings(tx: AsyncSession, deployment: str, traffic: Traffic | None) -> tuple[FieldChange, ...]:
    """Return the settings that a request would change, its hosts aside."""
    if traffic is None:
        return ()
    before = await read_settings(tx, deployment)
    return changes_between(before, traffic.over(before))


async def _change(
    tx: AsyncSession,
    locked: LockedDeployment,
    before: TrafficSettings,
    after: TrafficSettings,
    author: Asker,
    rollout: int | None,
) -> bool:
    changes = changes_between(before, after)
    if not changes:
        return False
    await _store(tx, locked, after)
    epoch = await raise_epoch(tx, locked.name)
    await tx.refresh(locked.row, ["epoch"])
    told = {one.field: f"{one.before} → {one.after}" for one in changes}
    evidence = {**told, "epoch": str(epoch)}
    await write_event(tx, locked.name, rollout, TRAFFIC_CHANGED, author=author, evidence=evidence)
    return True


async def _store(tx: AsyncSession, locked: LockedDeployment, settings: TrafficSettings) -> None:
    for column, value in columns_of(settings).items():
        setattr(locked.row, column, value)
    await tx.flush()
