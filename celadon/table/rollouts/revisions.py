"""Revisions: registering them, reading what one is, and whether it can have so many replicas."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.new_revision import check_new_revision
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.names import RevisionNumber
from celadon.domain.language.revision import Provisioner, Revision
from celadon.table.core.locks import DeploymentLock
from celadon.table.core.models import RevisionRow


async def read_revision(tx: AsyncSession, deployment: str, number: int) -> Revision | None:
    """Return a revision of a deployment; nothing when it has none of this number."""
    content = await tx.scalar(
        select(RevisionRow.content).where(RevisionRow.deployment == deployment, RevisionRow.number == number),
    )
    return None if content is None else Revision.of_stored(content)


async def find_revision(tx: AsyncSession, deployment: str, wanted: Revision) -> RevisionNumber | None:
    """Return the number of the revision with the same content, or ``None`` when the deployment has none."""
    known = await tx.scalar(
        select(RevisionRow.number).where(RevisionRow.deployment == deployment, RevisionRow.digest == wanted.digest()),
    )
    return None if known is None else RevisionNumber(known)


async def register_revision(
    tx: AsyncSession,
    lock: DeploymentLock,
    wanted: Revision | int,
) -> tuple[RevisionNumber, Revision]:
    """Return the number of a revision; content that the deployment has had before keeps its number.

    Raises:
        RefusedError: the deployment has no revision of this number, or a revision that is given does not say how its
            health is known.

    """
    check_new_revision(wanted)
    deployment = lock.name
    if isinstance(wanted, int):
        revision = await read_revision(tx, deployment, wanted)
        if revision is None:
            last = await tx.scalar(select(func.max(RevisionRow.number)).where(RevisionRow.deployment == deployment))
            has = f"; its latest is r{last}" if last else ""
            if last and 1 <= wanted < last:
                raise refuse(
                    RefusalCode.NO_SUCH_REVISION,
                    f"revision {wanted} of {deployment} was pruned: it is older than the newest ones that are kept, "
                    f"and no rollout that is kept names it{has}",
                    f"give the revision itself, which gets a number again, or one of 'celadon revision list "
                    f"{deployment}'",
                )
            raise refuse(
                RefusalCode.NO_SUCH_REVISION,
                f"deployment {deployment} has no revision {wanted}{has}",
                f"list them with 'celadon revision list {deployment}', or give the revision itself",
            )
        return RevisionNumber(wanted), revision
    same = func.max(RevisionRow.number).filter(RevisionRow.digest == wanted.digest())
    last, known = (
        await tx.execute(select(func.max(RevisionRow.number), same).where(RevisionRow.deployment == deployment))
    ).one()
    if known is not None:
        return RevisionNumber(known), wanted
    number = (last or 0) + 1
    tx.add(
        RevisionRow(deployment=deployment, number=number, digest=wanted.digest(), content=wanted.content()),
    )
    await tx.flush()
    return RevisionNumber(number), wanted


def check_replicas(revision: Revision, replicas: int) -> None:
    """Refuse more replicas than a revision has endpoints.

    Raises:
        RefusedError: it lists fewer.

    """
    if revision.provisioner is Provisioner.STATIC and replicas > len(revision.endpoints):
        raise refuse(
            RefusalCode.POLICY_CONFLICT,
            f"{replicas} replicas are wanted, but the static revision lists {len(revision.endpoints)} endpoints",
            "list more endpoints or ask for fewer replicas",
        )
