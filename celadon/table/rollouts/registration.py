"""Registering without rolling out: a deployment with its policy, a revision, labels."""

from collections.abc import Callable

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.hosts import NOTHING_CLAIMABLE, HostRules
from celadon.domain.decisions.reserved_names import refuse_reserved_name
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.names import RevisionNumber
from celadon.domain.language.permissions import Verb
from celadon.domain.language.revision import Revision
from celadon.domain.language.states import DeploymentLifecycle
from celadon.domain.language.traffic import Traffic
from celadon.table.core.author import Author
from celadon.table.core.defaults import hold_defaults
from celadon.table.core.hosts import hosts_of
from celadon.table.core.locks import lock_deployment
from celadon.table.core.models import Deployment
from celadon.table.core.policies import read_policy
from celadon.table.core.traffic_settings import settings_of
from celadon.table.records.deployments import NewDeployment
from celadon.table.rollouts.audit import write_event
from celadon.table.rollouts.revisions import register_revision
from celadon.table.rollouts.rights import rights_to_first_policy, rights_to_traffic
from celadon.table.rollouts.traffic import apply_traffic


async def create_deployment(
    tx: AsyncSession,
    wanted: NewDeployment,
    author: Author,
    require: Callable[[Verb, str], None],
    hosts: HostRules = NOTHING_CLAIMABLE,
) -> bool:
    """Create a deployment; false when there is one that is the same already.

    Args:
        tx: the transaction.
        wanted: what is to be there.
        author: who creates it, for the audit log.
        require: refuses what the sender has no right to; it is told why the right is necessary.
        hosts: which host names it may claim.

    Raises:
        RefusedError: the name is reserved, there is another one of this name, the policy contradicts itself, no
            deployment may claim a host or another one has it, or the sender may not.

    """
    traffic = Traffic(hosts=wanted.hosts, **dict(wanted.settings))
    for right in (
        *rights_to_first_policy(wanted.name, wanted.policy, await hold_defaults(tx)),
        *await rights_to_traffic(tx, wanted.name, traffic),
    ):
        require(right.verb, right.why)
    created = await tx.scalar(
        insert(Deployment)
        .values(
            name=wanted.name,
            replicas=wanted.replicas,
            lifecycle=DeploymentLifecycle.PENDING,
            policy=wanted.policy.model_dump(mode="json"),
            labels=wanted.labels,
        )
        .on_conflict_do_nothing()
        .returning(Deployment.name),
    )
    if created is None:
        row = (await lock_deployment(tx, wanted.name)).row
        _refuse_other(row, await hosts_of(tx, wanted.name), wanted)
        return False
    refuse_reserved_name(wanted.name)
    await _write(tx, wanted.name, "created", author, {"replicas": str(wanted.replicas)})
    await apply_traffic(tx, await lock_deployment(tx, wanted.name), traffic, author, hosts)
    return True


def _refuse_other(row: Deployment, hosts: tuple[str, ...], wanted: NewDeployment) -> None:
    there = NewDeployment(
        name=row.name,
        replicas=row.replicas,
        policy=read_policy(row.policy),
        labels={name: str(value) for name, value in row.labels.items()},
        hosts=hosts,
        settings=settings_of(row),
    )
    if row.lifecycle.is_deleted or there != wanted:
        raise refuse(
            RefusalCode.DEPLOYMENT_EXISTS,
            f"there is a deployment {wanted.name} already ({row.lifecycle.value}), and it is another one",
            "choose another name, or start a rollout of the one that is there",
        )


async def add_revision(tx: AsyncSession, deployment: str, revision: Revision, author: Author) -> RevisionNumber:
    """Register a revision; content that the deployment has had before keeps its number.

    Raises:
        RefusedError: there is no such deployment, or it is being destroyed.

    """
    locked = await lock_deployment(tx, deployment)
    row = locked.row
    if row.lifecycle.is_deleted:
        raise refuse(
            RefusalCode.DEPLOYMENT_DELETED,
            f"deployment {deployment} is {row.lifecycle.value}",
            "start a rollout with the revision itself once it is destroyed, which starts it anew",
        )
    number, _ = await register_revision(tx, locked, revision)
    await _write(tx, deployment, "revision_added", author, {"revision": str(number)})
    return number


async def set_labels(tx: AsyncSession, deployment: str, labels: dict[str, str], author: Author) -> bool:
    """Give a deployment other labels; false when it has them already.

    Raises:
        RefusedError: there is no such deployment.

    """
    row = (await lock_deployment(tx, deployment)).row
    if row.labels == labels:
        return False
    before = ", ".join(f"{name}={value}" for name, value in sorted(row.labels.items()))
    row.labels = labels
    after = ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
    await _write(tx, deployment, "labelled", author, {"from": before, "to": after})
    return True


async def _write(tx: AsyncSession, deployment: str, kind: str, author: Author, evidence: dict[str, str]) -> None:
    await write_event(
        tx,
        deployment,
        None,
        kind,
        author=author,
        evidence=evidence,
    )
