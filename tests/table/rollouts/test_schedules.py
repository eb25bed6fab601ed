"""Schedules as rows: those that have fired once leave room for others, and go."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.permissions import Role
from celadon.domain.language.scheduling import MOST_SCHEDULES
from celadon.domain.language.states import Channel
from celadon.table.core.author import Author
from celadon.table.records.schedules import NewSchedule
from celadon.table.rollouts.schedules import create_schedule, forget_fired
from tests.table.rows import Rows

ANN: Final = Author(by="ann", door=Channel.API, reason="", issuer="idp", verified=True)
HOUR: Final = timedelta(hours=1)


def wanted(name: str, **given: Any) -> NewSchedule:
    said: dict[str, Any] = {
        "deployment": "chat",
        "command": "promote",
        "argument": {},
        "at": None,
        "cron": "",
        "zone": "UTC",
    }
    return NewSchedule(**said | {"name": name} | given)


async def made(rows: Rows, name: str, **given: Any) -> bool:
    async with rows.table.transaction() as tx:
        return await create_schedule(tx, wanted(name, **given), ANN, roles=[Role.ADMIN], scope={}, told=ANN)


async def names(rows: Rows) -> set[str]:
    return {one["name"] for one in await rows.rows("select name from schedules")}


async def test_schedules_that_have_fired_do_not_count(rows: Rows) -> None:
    await rows.live()
    ago = datetime.now(UTC) - HOUR
    for number in range(MOST_SCHEDULES):
        assert await made(rows, f"fired-{number}", at=ago)

    assert await made(rows, "tonight", at=datetime.now(UTC) + HOUR)


async def test_schedules_that_are_to_fire_count_and_one_whose_firing_may_be_late_too(rows: Rows) -> None:
    await rows.live()
    for number in range(MOST_SCHEDULES - 1):
        await made(rows, f"night-{number}", cron="0 3 * * *")
    await made(rows, "now", at=datetime.now(UTC) - timedelta(minutes=5))

    with pytest.raises(RefusedError) as refused:
        await made(rows, "one-more", at=datetime.now(UTC) + HOUR)

    assert refused.value.refusal.code is RefusalCode.TOO_MANY_SCHEDULES


async def test_a_schedule_that_has_fired_gives_its_name_to_another(rows: Rows) -> None:
    await rows.live()
    await made(rows, "tonight", at=datetime.now(UTC) - HOUR)

    assert await made(rows, "tonight", at=datetime.now(UTC) + HOUR)
    with pytest.raises(RefusedError) as refused:
        await made(rows, "tonight", at=datetime.now(UTC) + 2 * HOUR)

    assert refused.value.refusal.code is RefusalCode.SCHEDULE_EXISTS


async def test_only_the_last_ones_that_have_fired_are_kept(rows: Rows) -> None:
    await rows.live()
    now = datetime.now(UTC)
    for number in range(MOST_SCHEDULES + 2):
        await made(rows, f"fired-{number:02}", at=now - HOUR * (number + 1))
    await made(rows, "nightly", cron="0 3 * * *")

    async with rows.table.transaction() as tx:
        forgotten = await forget_fired(tx, "chat")

    assert forgotten == ("fired-20", "fired-21")
    assert await names(rows) == {"nightly", *(f"fired-{number:02}" for number in range(MOST_SCHEDULES))}
