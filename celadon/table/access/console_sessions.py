"""Sessions of the console: opened by a login, ended by a logout, by time, or with the token that opened them.

The browser holds a random secret, the table its hash: neither a copy of the table nor a token in a cookie lets
anybody in.
"""

import hashlib
import hmac
import re
import secrets
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.base_models import Record
from celadon.domain.language.permissions import Role
from celadon.table.access.tokens import is_good
from celadon.table.core.clock import database_now
from celadon.table.core.models import ApiToken, ConsoleSession

SESSION_PREFIX: Final = "celadon-session"
SESSION_LASTS: Final = timedelta(hours=12)

_FORGOTTEN_AFTER: Final = timedelta(days=1)
_SEEN_NOTED_EVERY: Final = timedelta(minutes=1)
_SECRET_BYTES: Final = 32
_SHAPE: Final = re.compile(rf"{SESSION_PREFIX}_(?P<id>[0-9a-f]{{16}})_(?P<secret>[A-Za-z0-9_-]{{43}})")


class NewSession(Record):
    """Who has logged in, and by what."""

    name: str
    issuer: str
    """Who vouches for the name."""
    roles: tuple[Role, ...]
    scope: dict[str, str]
    token: str | None = None
    """The id of the static token that was shown; the session ends with it."""
    expires_at: datetime | None = None
    """When what was shown expires; a session ends after 12 hours at the latest."""


class SessionRecord(Record):
    """Who looks."""

    name: str
    """As the audit log shows it."""
    issuer: str
    roles: tuple[Role, ...]
    scope: dict[str, str]
    expires_at: datetime


async def open_session(tx: AsyncSession, wanted: NewSession) -> str:
    """Open a session; return what belongs into the cookie, which nobody can compute again."""
    now = await database_now(tx)
    await tx.execute(delete(ConsoleSession).where(ConsoleSession.expires_at < now - _FORGOTTEN_AFTER))
    identity, secret = secrets.token_hex(8), secrets.token_urlsafe(_SECRET_BYTES)
    latest = now + SESSION_LASTS
    tx.add(
        ConsoleSession(
            id=identity,
            secret_sha256=_hash(secret),
            name=wanted.name,
            issuer=wanted.issuer,
            roles=[role.value for role in wanted.roles],
            scope=wanted.scope,
            token=wanted.token,
            created_at=now,
            seen_at=now,
            expires_at=latest if wanted.expires_at is None else min(latest, wanted.expires_at),
        ),
    )
    await tx.flush()
    return f"{SESSION_PREFIX}_{identity}_{secret}"


async def find_session(tx: AsyncSession, text: str) -> SessionRecord | None:
    """Return whose session ``text`` is; nothing when it is none, has ended, or its token was revoked or expired."""
    row = await _row_of(tx, text)
    now = await database_now(tx)
    if row is None or row.ended_at is not None or row.expires_at <= now:
        return None
    if row.token is not None and not is_good(await tx.get_one(ApiToken, row.token), now):
        return None
    if row.seen_at < now - _SEEN_NOTED_EVERY:
        row.seen_at = now
    return SessionRecord(
        name=row.name,
        issuer=row.issuer,
        roles=tuple(role for role in Role if role.value in row.roles),
        scope={name: str(value) for name, value in row.scope.items()},
        expires_at=row.expires_at,
    )


async def end_session(tx: AsyncSession, text: str) -> None:
    """End a session; what is none, or has ended, stays as it is."""
    row = await _row_of(tx, text)
    if row is not None and row.ended_at is None:
        row.ended_at = await database_now(tx)


async def end_sessions(tx: AsyncSession, name: str | None = None) -> int:
    """End the sessions that are open, all or those of one ``name`` whoever vouches for it; return how many."""
    wanted = select(ConsoleSession.id).where(ConsoleSession.ended_at.is_(None), ConsoleSession.expires_at > func.now())
    if name is not None:
        wanted = wanted.where(ConsoleSession.name == name)
    ended = await tx.scalars(
        update(ConsoleSession)
        .where(ConsoleSession.id.in_(wanted))
        .values(ended_at=func.now())
        .returning(ConsoleSession.id),
    )
    return len(ended.all())


def has_shape(text: str) -> bool:
    """Whether ``text`` looks as sessions do; what does not is none, and needs no look into the table."""
    return _SHAPE.fullmatch(text) is not None


async def _row_of(tx: AsyncSession, text: str) -> ConsoleSession | None:
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        return None
    row = await tx.get(ConsoleSession, shape["id"])
    if row is None or not hmac.compare_digest(row.secret_sha256, _hash(shape["secret"])):
        return None
    return row


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
