"""Requests to the API that name an id: claimed once, answered once, remembered for a day."""

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from pydantic import JsonValue
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.base_models import Record
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.limits import quoted
from celadon.table.core.models import ApiRequest

REMEMBERED: Final = timedelta(days=1)


class RequestKey(Record):
    """Whose request it is, and under which id."""

    issuer: str
    """Who vouches for ``principal``."""
    principal: str
    request_id: str
    fingerprint: str
    """Of what is asked: ``fingerprint_of``."""


class RecordedRequest(Record):
    """A request as it was when it came first."""

    meant: dict[str, JsonValue]
    answer: dict[str, JsonValue] | None
    """Nothing while it has not been answered."""


def fingerprint_of(verb: str, content: Mapping[str, object]) -> str:
    """Return what tells one request from another."""
    canonical = json.dumps({"verb": verb, "content": content}, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


async def find_request(tx: AsyncSession, key: RequestKey) -> RecordedRequest | None:
    """Return the request that came first under this id; nothing when none did.

    Raises:
        RefusedError: another request came under this id.

    """
    row = await tx.scalar(
        select(ApiRequest)
        .where(
            ApiRequest.issuer == key.issuer,
            ApiRequest.principal == key.principal,
            ApiRequest.request_id == key.request_id,
            ApiRequest.created_at > func.now() - REMEMBERED,
        )
        .execution_options(populate_existing=True),
    )
    if row is None:
        return None
    if row.fingerprint != key.fingerprint:
        raise refuse(
            RefusalCode.REQUEST_ID_REUSED,
            f"the request id {quoted(key.request_id)} was given to another request before",
            "give each request an id of its own, and the same one only to repeat it",
        )
    return RecordedRequest(meant=row.meant, answer=row.answer)


async def claim_request(tx: AsyncSession, key: RequestKey, meant: Mapping[str, JsonValue]) -> RecordedRequest:
    """Remember what a request means, unless an equal one came first; return the first.

    Raises:
        RefusedError: another request came under this id.

    """
    await tx.execute(delete(ApiRequest).where(ApiRequest.created_at <= func.now() - REMEMBERED))
    await tx.execute(
        insert(ApiRequest)
        .values(
            issuer=key.issuer,
            principal=key.principal,
            request_id=key.request_id,
            fingerprint=key.fingerprint,
            meant=dict(meant),
        )
        .on_conflict_do_nothing(),
    )
    claimed = await find_request(tx, key)
    if claimed is None:
        raise LookupError(f"request {key.request_id} vanished while it was claimed")
    return claimed


async def answer_request(tx: AsyncSession, key: RequestKey, answer: Mapping[str, JsonValue]) -> None:
    """Remember the answer; the first one stays."""
    await tx.execute(
        update(ApiRequest)
        .where(
            ApiRequest.issuer == key.issuer,
            ApiRequest.principal == key.principal,
            ApiRequest.request_id == key.request_id,
            ApiRequest.answer.is_(None),
        )
        .values(answer=dict(answer)),
    )


async def forget_request(tx: AsyncSession, key: RequestKey) -> None:
    """Forget a request that was refused: nothing was changed, so its repeat is judged anew."""
    await tx.execute(
        delete(ApiRequest).where(
            ApiRequest.issuer == key.issuer,
            ApiRequest.principal == key.principal,
            ApiRequest.request_id == key.request_id,
            ApiRequest.answer.is_(None),
        ),
    )
