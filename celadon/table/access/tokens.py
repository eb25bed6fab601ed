"""Static tokens of the API: created once, kept as a hash, revoked for ever."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.base_models import Record
from celadon.domain.language.identity import check_name
from celadon.domain.language.permissions import Role
from celadon.table.core.clock import database_now
from celadon.table.core.models import ApiToken, ConsoleSession

PREFIX: Final = "celadon"
"""Begins every token, so that scanners of secrets find one that leaked."""

_USE_NOTED_EVERY: Final = timedelta(minutes=1)
_SECRET_BYTES: Final = 32
_SHAPE: Final = re.compile(rf"{PREFIX}_(?P<id>[0-9a-f]{{16}})_(?P<secret>[A-Za-z0-9_-]{{43}})")
"""As ``make_secret`` writes tokens: what has another shape is refused without a question to the database."""


class TokenRecord(Record):
    """A token as it may be shown: without its secret."""

    id: str
    name: str
    roles: tuple[Role, ...]
    scope: dict[str, str]
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    """To the minute."""
    revoked_at: datetime | None


class NewToken(Record):
    """What a token is to be."""

    name: str
    roles: tuple[Role, ...]
    scope: dict[str, str]
    created_by: str
    expires_at: datetime | None = None


class TokenNameTakenError(Exception):
    """There is or was a token of this name; names are never used twice, for the audit log's sake."""


def make_secret() -> tuple[str, str, str]:
    """Return a new token's id, its hash, and the token itself, which nobody can compute again."""
    identity, secret = secrets.token_hex(8), secrets.token_urlsafe(_SECRET_BYTES)
    return identity, _hash(secret), f"{PREFIX}_{identity}_{secret}"


async def create_token(tx: AsyncSession, wanted: NewToken) -> tuple[TokenRecord, str]:
    """Create a token; return it with its text, which is shown this once.

    Raises:
        TokenNameTakenError: the name was given before.
        ValueError: it can be nobody's name.

    """
    check_name(wanted.name)
    identity, secret_hash, text = make_secret()
    row = await tx.scalar(
        insert(ApiToken)
        .values(
            id=identity,
            name=wanted.name,
            secret_sha256=secret_hash,
            roles=[role.value for role in wanted.roles],
            scope=wanted.scope,
            created_by=wanted.created_by,
            expires_at=wanted.expires_at,
        )
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(ApiToken),
    )
    if row is None:
        raise TokenNameTakenError(wanted.name)
    return _record(row), text


async def list_tokens(tx: AsyncSession) -> tuple[TokenRecord, ...]:
    """Return every token, also those that are revoked or have expired, by name."""
    return tuple(_record(row) for row in await tx.scalars(select(ApiToken).order_by(ApiToken.name)))


async def revoke_token(tx: AsyncSession, name: str) -> TokenRecord | None:
    """Revoke a token and end its sessions of the console; nothing when there is none of this name.

    Twice keeps the first moment.
    """
    row = await tx.scalar(
        update(ApiToken)
        .where(ApiToken.name == name)
        .values(revoked_at=func.coalesce(ApiToken.revoked_at, func.now()))
        .returning(ApiToken),
    )
    if row is None:
        return None
    await tx.execute(
        update(ConsoleSession)
        .where(ConsoleSession.token == row.id, ConsoleSession.ended_at.is_(None))
        .values(ended_at=func.now()),
    )
    return _record(row)


async def find_token(tx: AsyncSession, text: str) -> TokenRecord | None:
    """Return the token that ``text`` is; nothing when it is none, was revoked, or has expired."""
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        return None
    row = await tx.get(ApiToken, shape["id"])
    if row is None or not hmac.compare_digest(row.secret_sha256, _hash(shape["secret"])):
        return None
    now = await database_now(tx)
    if not is_good(row, now):
        return None
    if row.last_used_at is None or row.last_used_at < now - _USE_NOTED_EVERY:
        row.last_used_at = now
    return _record(row)


async def rights_of_name(tx: AsyncSession, name: str) -> tuple[tuple[Role, ...], dict[str, str]] | None:
    """Return the roles and the scope of the token of a name as they are now; ``None`` when it lets nobody in."""
    row = await tx.scalar(select(ApiToken).where(ApiToken.name == name))
    if row is None or not is_good(row, await database_now(tx)):
        return None
    record = _record(row)
    return record.roles, record.scope


def has_shape(text: str) -> bool:
    """Whether ``text`` looks as tokens do; what does not is none, and needs no look into the table."""
    return _SHAPE.fullmatch(text) is not None


def is_good(row: ApiToken, now: datetime) -> bool:
    """Whether a token lets anybody in at ``now``: it was not revoked and has not expired."""
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > now)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _record(row: ApiToken) -> TokenRecord:
    return TokenRecord(
        id=row.id,
        name=row.name,
        roles=_roles(row.roles),
        scope={name: str(value) for name, value in row.scope.items()},
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )


def _roles(stored: Iterable[str]) -> tuple[Role, ...]:
    known = {role.value for role in Role}
    return tuple(Role(value) for value in stored if value in known)
