"""Static tokens of the API."""

from datetime import UTC, datetime, timedelta

import pytest

from celadon.domain.language.permissions import Role
from celadon.table.access.tokens import (
    NewToken,
    TokenNameTakenError,
    TokenRecord,
    create_token,
    find_token,
    list_tokens,
    revoke_token,
)
from celadon.table.core.engine import Table


async def created(table: Table, name: str = "ci", **fields: object) -> tuple[TokenRecord, str]:
    given = {"name": name, "roles": (Role.OPERATOR,), "scope": {"team": "search"}, "created_by": "ann", **fields}
    async with table.transaction() as tx:
        return await create_token(tx, NewToken.model_validate(given))


async def found(table: Table, text: str) -> TokenRecord | None:
    async with table.transaction() as tx:
        return await find_token(tx, text)


async def test_a_token_is_found_by_its_text_alone(table: Table) -> None:
    record, text = await created(table)
    seen = await found(table, text)
    assert seen is not None
    assert (seen.name, seen.roles, seen.scope) == ("ci", (Role.OPERATOR,), {"team": "search"})
    assert seen.last_used_at is not None
    for wrong in (text[:-1], text + "x", text.upper(), f"celadon_{record.id}_", "", "celadon", record.id):
        assert await found(table, wrong) is None


async def test_the_table_never_holds_the_secret(table: Table) -> None:
    _, text = await created(table)
    async with table.transaction() as tx:
        shown = "".join(record.model_dump_json() for record in await list_tokens(tx))
    assert text.rpartition("_")[2] not in shown


async def test_a_revoked_token_is_refused_for_ever(table: Table) -> None:
    _, text = await created(table)
    async with table.transaction() as tx:
        first = await revoke_token(tx, "ci")
    async with table.transaction() as tx:
        again = await revoke_token(tx, "ci")
    assert first is not None
    assert again is not None
    assert first.revoked_at == again.revoked_at
    assert await found(table, text) is None
    async with table.transaction() as tx:
        assert await revoke_token(tx, "nobody") is None


async def test_an_expired_token_is_refused(table: Table) -> None:
    _, text = await created(table, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert await found(table, text) is None


async def test_a_name_is_given_once(table: Table) -> None:
    await created(table)
    with pytest.raises(TokenNameTakenError):
        await created(table)
