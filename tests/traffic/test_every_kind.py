"""What holds of each kind of traffic alike: through a switch, a switch back and a drain."""

import asyncio
from collections import Counter

import pytest

from tests.traffic.bodies import LARGE
from tests.traffic.deployment import Deployment, ends
from tests.traffic.kinds import KINDS, Kind

pytestmark = pytest.mark.parts

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)

SWITCHES = 3
SILENCE_SECONDS = 45
"""Longer than the 5 to 30 s after which servers and proxies often give up on a connection."""


@every_kind
async def test_what_runs_at_a_switch_ends_on_its_own_colour(kind: Kind, deployment: Deployment) -> None:
    on_blue = await deployment.begin(kind, 2, LARGE)
    await deployment.switch()
    on_green = await deployment.begin(kind, 1, LARGE)
    await deployment.switch_back()
    on_blue_again = await deployment.begin(kind, 1, LARGE)
    assert await ends(on_green) == {"green": 1}
    assert await ends(on_blue + on_blue_again) == {"blue": 3}
    deployment.ledger.assert_each_once()


@every_kind
async def test_what_drains_is_counted_to_zero(kind: Kind, deployment: Deployment) -> None:
    on_blue = await deployment.begin(kind, 3)
    await deployment.switch()
    await deployment.runs(deployment.blue_set, 3)
    await ends([on_blue.pop()])
    await deployment.runs(deployment.blue_set, 2)
    on_green = await deployment.begin(kind, 2)
    await ends(on_blue)
    await deployment.is_drained(deployment.blue_set)
    await deployment.switch_back()
    await deployment.runs(deployment.green_set, 2)
    await ends(on_green)
    await deployment.is_drained(deployment.green_set)


@every_kind
async def test_switches_and_switches_back_lose_nothing_and_run_nothing_twice(
    kind: Kind, deployment: Deployment
) -> None:
    async with deployment.under(kind) as flow:
        for _ in range(SWITCHES):
            await flow.more()
            await deployment.switch()
            await flow.more()
            await deployment.switch_back()
    deployment.ledger.assert_each_once()
    assert flow.answers == {number: colour for number, [colour] in deployment.ledger.arrivals.items()}
    assert min(Counter(flow.answers.values()).values()) >= SWITCHES


@every_kind
async def test_a_client_that_leaves_in_the_middle_is_noticed_and_counted_no_more(
    kind: Kind, deployment: Deployment
) -> None:
    leaver, stayer = await deployment.begin(kind, 2)
    await deployment.switch()
    await deployment.runs(deployment.blue_set, 2)
    await leaver.leave()
    await deployment.runs(deployment.blue_set, 1)
    assert await stayer.end() == "blue"
    await deployment.is_drained(deployment.blue_set)
    assert deployment.ledger.broken == {leaver.number: 1}
    assert deployment.ledger.finished == {stayer.number: 1}


async def test_a_long_silence_across_a_switch_ends_no_kind(deployment: Deployment) -> None:
    running = [exchange for kind in KINDS.values() for exchange in await deployment.begin(kind, 1)]
    await asyncio.sleep(SILENCE_SECONDS / 2)
    await deployment.switch()
    await asyncio.sleep(SILENCE_SECONDS / 2)
    await deployment.runs(deployment.blue_set, len(KINDS))
    assert await ends(running) == {"blue": len(KINDS)}
    await deployment.is_drained(deployment.blue_set)
    deployment.ledger.assert_each_once()
