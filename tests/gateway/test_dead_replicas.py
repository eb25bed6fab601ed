"""Replicas that are dead and still published: no request is lost that was not running there, on the real Envoy."""

import asyncio
from collections import Counter

import pytest

from celadon.domain.decisions.publication import SetRole
from tests.gateway.conftest import Gateway, free_port
from tests.gateway.replica import Replica
from tests.gateway.router import Router
from tests.gateway.traffic import BLUE, publication

pytestmark = pytest.mark.parts

AT_ONCE = 20
ROUNDS = 20
MEBIBYTE = 1 << 20


@pytest.mark.parametrize("dead", [1, 3])
async def test_requests_find_the_replica_that_is_left(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    dead: int,
) -> None:
    """The dead ones have no request running, so a balancer by requests prefers them, also when it tries again."""
    ports = [blue.port, *(free_port() for _ in range(dead))]
    await gateway.tell(publication(2, {(BLUE, SetRole.LIVE): ports}))
    answers: Counter[int] = Counter()
    for _ in range(ROUNDS):
        found = await asyncio.gather(*(router.ask(method="POST") for _ in range(AT_ONCE)))
        answers.update(answer.status for answer in found)
    assert answers == {200: AT_ONCE * ROUNDS}


async def test_a_long_question_finds_the_replica_that_is_left_too(
    gateway: Gateway,
    router: Router,
    blue: Replica,
) -> None:
    """Envoy gives up trying again when it does not keep the body, by default from 1 MiB on."""
    await gateway.tell(publication(2, {(BLUE, SetRole.LIVE): [blue.port, free_port()]}))
    answers: Counter[int] = Counter()
    for _ in range(ROUNDS):
        answers[(await router.ask(method="POST", body=b"x" * (8 * MEBIBYTE))).status] += 1
    assert answers == {200: ROUNDS}
