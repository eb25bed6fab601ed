"""Logging in to the console by a link that works once: the link's code becomes a session, both kept as hashes."""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.permissions import Role
from celadon.domain.strictness import Record
from celadon.table.clock import database_now
from celadon.table.models import ConsoleLogin

SESSION_PREFIX: Final = "celadon-session"
CODE_WITHIN: Final = timedelta(hours=1)
"""How long a link may wait to be followed."""

SESSION_LASTS: Final = timedelta(hours=12)

_FORGOTTEN_AFTER: Final = timedelta(days=1)
_SECRET_BYTES: Final = 32
_PARTS: Final = 3


class SessionRecord(Record):
    """Who has logged in by a link."""

    name: str
    """As the audit log shows it."""
    roles: tuple[Role, ...]
    scope: dict[str, str]
    expires_at: datetime


async def create_login(tx: AsyncSession, name: str, roles: tuple[Role, ...], scope: dict[str, str]) -> str:
    """Return a code with which ``name`` can log in once, within an hour; logins that are long over are forgotten."""
    now = await database_now(tx)
    await tx.execute(
        delete(ConsoleLogin).where(
            func.coalesce(ConsoleLogin.session_expires_at, ConsoleLogin.code_expires_at) < now - _FORGOTTEN_AFTER,
        ),
    )
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
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    identity = await tx.scalar(
        update(ConsoleLogin)
        .where(
            ConsoleLogin.code_sha256 == _hash(code),
            ConsoleLogin.session_sha256.is_(None),
            ConsoleLogin.code_expires_at > func.now(),
        )
        .values(session_sha256=_hash(secret), session_expires_at=func.now() + SESSION_LASTS)
        .returning(ConsoleLogin.id),
    )
    return None if identity is None else f"{SESSION_PREFIX}_{identity}_{secret}"


async def find_session(tx: AsyncSession, text: str) -> SessionRecord | None:
    """Return whose session ``text`` is; nothing when it is none, has ended, or has expired."""
    row = await _row_of(tx, text)
    if row is None or row.session_expires_at is None or row.session_expires_at <= await database_now(tx):
        return None
    known = {role.value for role in Role}
    return SessionRecord(
        name=row.name,
        roles=tuple(Role(value) for value in row.roles if value in known),
        scope={name: str(value) for name, value in row.scope.items()},
        expires_at=row.session_expires_at,
    )


async def end_session(tx: AsyncSession, text: str) -> None:
    """End a session; what is none, or has ended, stays as it is."""
    row = await _row_of(tx, text)
    if row is not None:
        row.session_expires_at = await database_now(tx)


async def _row_of(tx: AsyncSession, text: str) -> ConsoleLogin | None:
    parts = text.split("_", _PARTS - 1)
    if len(parts) != _PARTS or parts[0] != SESSION_PREFIX:
        return None
    row = await tx.scalar(select(ConsoleLogin).where(ConsoleLogin.id == parts[1]))
    if row is None or row.session_sha256 is None or not hmac.compare_digest(row.session_sha256, _hash(parts[2])):
        return None
    return row


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
