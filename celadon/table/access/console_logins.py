"""Links that log in to the console once. Only a hash of a link's code is kept."""

import hashlib
import secrets
from datetime import timedelta
from typing import Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.identity import LINK_ISSUER, check_name
from celadon.domain.language.permissions import Role
from celadon.table.access.console_sessions import NewSession, open_session
from celadon.table.core.clock import database_now
from celadon.table.core.models import ConsoleLogin

CODE_WITHIN: Final = timedelta(hours=1)
"""How long a link may wait to be followed."""

_FORGOTTEN_AFTER: Final = timedelta(days=1)
_SECRET_BYTES: Final = 32


async def create_login(tx: AsyncSession, name: str, roles: tuple[Role, ...], scope: dict[str, str]) -> str:
    """Return a code with which ``name`` can log in once, within an hour; links that are long over are forgotten.

    Raises:
        ValueError: it can be nobody's name.

    """
    check_name(name)
    now = await database_now(tx)
    await tx.execute(delete(ConsoleLogin).where(ConsoleLogin.code_expires_at < now - _FORGOTTEN_AFTER))
    code = secrets.token_urlsafe(_SECRET_BYTES)
    tx.add(
        ConsoleLogin(
            id=secrets.token_hex(8),
            name=name,
            roles=[role.value for role in roles],
            scope=scope,
            code_sha256=_hash(code),
            code_expires_at=now + CODE_WITHIN,
        ),
    )
    await tx.flush()
    return code


async def redeem_login(tx: AsyncSession, code: str) -> str | None:
    """Return the session that a code opens; nothing when it is unknown, was used, or waited too long."""
    row = await tx.scalar(
        update(ConsoleLogin)
        .where(
            ConsoleLogin.code_sha256 == _hash(code),
            ConsoleLogin.used_at.is_(None),
            ConsoleLogin.code_expires_at > func.now(),
        )
        .values(used_at=func.now())
        .returning(ConsoleLogin),
    )
    if row is None:
        return None
    return await open_session(
        tx,
        NewSession(
            name=row.name,
            issuer=LINK_ISSUER,
            roles=tuple(role for role in Role if role.value in row.roles),
            scope={name: str(value) for name, value in row.scope.items()},
        ),
    )


async def void_logins(tx: AsyncSession, name: str | None = None) -> int:
    """Let links that nobody has followed open nothing, all or those of one ``name``; return how many."""
    waiting = select(ConsoleLogin.id).where(ConsoleLogin.used_at.is_(None), ConsoleLogin.code_expires_at > func.now())
    if name is not None:
        waiting = waiting.where(ConsoleLogin.name == name)
    ended = await tx.scalars(
        update(ConsoleLogin)
        .where(ConsoleLogin.id.in_(waiting))
        .values(code_expires_at=func.now())
        .returning(ConsoleLogin.id),
    )
    return len(ended.all())


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
