"""Enrolling routers: what gateways believe of them, and since when."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import case, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.enrolment import Enrolment
from celadon.domain.language.base_models import Record
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.names import RouterNode
from celadon.table.core.author import Author
from celadon.table.core.listen import ENROLMENTS_CHANNEL, notification
from celadon.table.core.models import Router, RouterEvent
from celadon.table.core.router_rules import is_enrolled

ENROLLED: Final = "enrolled"
RENEWED: Final = "renewed"
FORGOTTEN: Final = "forgotten"


class NewEnrolment(Record):
    """What is enrolled of a router."""

    node: RouterNode
    identity: str | None = None
    """What its certificate names; ``None`` for one that reaches its gateway by a Unix socket."""
    serial: str | None = None
    """The one certificate that was issued; ``None`` when others issue its certificates."""
    expires_at: datetime | None = None


async def enrol_router(tx: AsyncSession, wanted: NewEnrolment, author: Author) -> bool:
    """Let gateways believe a router; return whether it was not enrolled before.

    Of one that is enrolled already, the certificate before the new one counts until the next enrolment.

    Raises:
        RefusedError: another router bears the identity.

    """
    touched = Router.node == wanted.node
    if wanted.identity is not None:
        # The row that bears the identity too, in the order of all writers; it is compared under its lock.
        touched |= Router.identity == wanted.identity
    routers = await tx.execute(
        select(Router.node, is_enrolled.label("is_enrolled")).where(touched).order_by(Router.node).with_for_update(),
    )
    was_enrolled = False
    for row in routers:
        if row.node == wanted.node:
            was_enrolled = row.is_enrolled
        else:
            raise refuse(
                RefusalCode.IDENTITY_TAKEN,
                f"router {row.node} is enrolled with the identity {wanted.identity}",
                f"give router {wanted.node} a certificate of its own, or forget {row.node} first",
            )
    values = {"identity": wanted.identity, "serial": wanted.serial, "expires_at": wanted.expires_at}
    statement = (
        insert(Router)
        .values(node=wanted.node, enrolled_at=func.clock_timestamp(), **values)
        .on_conflict_do_update(
            index_elements=["node"],
            set_={
                **values,
                "enrolled_at": func.coalesce(Router.enrolled_at, func.clock_timestamp()),
                "previous_serial": case((Router.serial.is_distinct_from(wanted.serial), Router.serial)),
            },
        )
    )
    try:
        await tx.execute(statement)
    except IntegrityError as error:
        # Two routers that are new are enrolled at once: neither had a row that the other could have locked.
        raise refuse(
            RefusalCode.IDENTITY_TAKEN,
            f"another router was enrolled with the identity {wanted.identity} at the same moment",
            f"see 'celadon router list'; give router {wanted.node} a certificate of its own",
        ) from error
    kind = RENEWED if was_enrolled else ENROLLED
    # The stack enrols its own routers at each start, which changes nothing.
    if wanted.identity is not None or not was_enrolled:
        await write_router_event(tx, wanted.node, kind, author, wanted.model_dump(mode="json", exclude={"node"}))
    await _tell_gateways(tx, wanted.node)
    return not was_enrolled


async def end_enrolment(tx: AsyncSession, node: str, author: Author, evidence: Mapping[str, str]) -> None:
    """Let no gateway believe a router any more; the caller holds its row."""
    await tx.execute(
        update(Router)
        .where(Router.node == node)
        .values(enrolled_at=None, identity=None, serial=None, previous_serial=None, expires_at=None),
    )
    await write_router_event(tx, node, FORGOTTEN, author, evidence)
    await _tell_gateways(tx, node)


async def read_enrolments(tx: AsyncSession) -> dict[RouterNode, Enrolment]:
    """Return what is enrolled of every router, by name."""
    rows = await tx.execute(
        select(Router.node, Router.identity, Router.serial, Router.previous_serial).where(is_enrolled),
    )
    return {
        RouterNode(row.node): Enrolment(
            node=RouterNode(row.node),
            identity=row.identity,
            serials=tuple(one for one in (row.serial, row.previous_serial) if one is not None)
            if row.serial is not None
            else (),
        )
        for row in rows
    }


async def write_router_event(
    tx: AsyncSession,
    node: str,
    kind: str,
    author: Author,
    evidence: Mapping[str, object],
) -> None:
    """Write a line of the audit log of enrolments."""
    tx.add(
        RouterEvent(
            router=node,
            kind=kind,
            actor=author.by,
            door=author.door.value,
            verified=author.verified,
            reason=author.reason,
            evidence={name: value for name, value in evidence.items() if value is not None},
        ),
    )
    await tx.flush()


async def _tell_gateways(tx: AsyncSession, node: str) -> None:
    await tx.execute(notification(ENROLMENTS_CHANNEL, node))
