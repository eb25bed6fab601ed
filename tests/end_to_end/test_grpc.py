"""gRPC beside HTTP on a whole stack: rollouts, the way back and drains, seen by a client that keeps its connection."""

import asyncio
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from yarl import URL

from celadon.domain.language.commands import AbortCommand, PromoteCommand
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from tests.end_to_end.conftest import LiveDeployment, replica_processes, until
from tests.end_to_end.grpc_server import begun_calls, grpc_revision
from tests.gateway.grpc_replica import GrpcClient, finish, grpc_client, say

pytestmark = [pytest.mark.stack, pytest.mark.shared]

CALLERS = 8
NOTICED_SECONDS = 5.0
"""How much later than the kernel a router on a busy machine learns that a connection is closed."""


def router_port(deployment: LiveDeployment) -> int:
    port = URL(deployment.addresses.router).port
    assert port is not None
    return port


@dataclass
class Load:
    """Calls one after the other, numbered, and short chats, on one connection."""

    client: GrpcClient
    answers: list[str] = field(default_factory=list)
    chats: int = 0
    _ends: bool = False

    async def call(self) -> None:
        while not self._ends:
            self.answers.append(await self.client.generate(str(len(self.answers)).encode()))

    async def chat(self) -> None:
        while not self._ends:
            chat = self.client.chat()
            colours = {(await say(chat, str(number))).partition(":")[0] for number in range(10)}
            assert len(colours) == 1
            assert await finish(chat) is grpc.StatusCode.OK
            self.chats += 1

    async def more(self, calls: int = 30) -> None:
        """Wait for so many more answers and for some more chats."""
        wanted, chats = len(self.answers) + calls, self.chats + 3

        async def enough() -> bool:
            return len(self.answers) >= wanted and self.chats >= chats

        await until(enough, f"{calls} more calls are answered")

    def end(self) -> None:
        self._ends = True


@asynccontextmanager
async def under_calls(client: GrpcClient) -> AsyncIterator[Load]:
    """Call a deployment until the block ends; a call or a chat that fails fails the test."""
    load = Load(client)
    async with asyncio.TaskGroup() as group:
        group.create_task(load.call())
        group.create_task(load.chat())
        yield load
        load.end()


async def test_calls_and_chats_go_through_a_promotion_and_the_way_back_without_a_loss(
    deployment: LiveDeployment, tmp_path: Path
) -> None:
    await deployment.serve("r1", revision=grpc_revision(tmp_path, "r1"))
    async with grpc_client(router_port(deployment), deployment.name) as client, under_calls(client) as load:
        await load.more()
        await deployment.wait_for_promotion("r2", revision=grpc_revision(tmp_path, "r2"))
        key = deployment.addresses.preview_key
        async with grpc_client(router_port(deployment), deployment.name, x_celadon_preview=key) as preview:
            assert await preview.generate(b"-1") == "r2"
        await load.more()
        assert set(load.answers) == {"r1"}

        answer = await deployment.rollouts.promote(deployment.name, PromoteCommand())
        assert (answer.silent, await client.generate(b"-2")) == ((), "r2")
        await load.more()
        back = await deployment.rollouts.rollback(deployment.name, AbortCommand(by="ann"))
        assert (back.silent, await client.generate(b"-3")) == ((), "r1")
        await load.more()
        ended = await deployment.ended()
        await load.more()

    assert ended.result is not None
    assert (ended.result.outcome, ended.result.requests_cut) == (RolloutOutcome.ROLLED_BACK, 0)
    assert set(load.answers) == {"r1", "r2"}
    assert begun_calls(tmp_path) == dict.fromkeys(range(-3, len(load.answers)), 1)


@pytest.mark.parametrize(("drain_timeout", "cut"), [("2m", 0), ("3s", 1)])
async def test_a_chat_holds_the_drain_until_it_ends_or_until_its_timeout(
    drain_timeout: str, cut: int, deployment: LiveDeployment, tmp_path: Path
) -> None:
    await deployment.serve("r1", replicas=1, revision=grpc_revision(tmp_path, "r1"))
    async with grpc_client(router_port(deployment), deployment.name) as client:
        chat = client.chat()
        assert await say(chat, "one") == "r1: one"
        policy = {"bake": "0s", "drain_timeout": drain_timeout}
        await deployment.wait_for_promotion("r2", replicas=1, revision=grpc_revision(tmp_path, "r2"), **policy)
        await deployment.rollouts.promote(deployment.name, PromoteCommand())
        await deployment.phase(RolloutPhase.DRAINING)
        assert await client.generate(b"0") == "r2"
        if not cut:
            await asyncio.sleep(3)
            assert await say(chat, "two") == "r1: two"
            assert await finish(chat) is grpc.StatusCode.OK
        ended = await deployment.ended()
        if cut:
            assert await chat.code() is not grpc.StatusCode.OK

    assert ended.result is not None
    assert (ended.result.outcome, ended.result.requests_cut) == (RolloutOutcome.PROMOTED, cut)


async def test_a_killed_replica_takes_its_running_calls_along_and_none_runs_twice(
    deployment: LiveDeployment, tmp_path: Path
) -> None:
    await deployment.serve("r1", revision=grpc_revision(tmp_path, "r1"))
    numbers = itertools.count()
    failures: list[tuple[float, grpc.StatusCode]] = []
    answered = 0
    ends = False

    async def call_all_the_time(client: GrpcClient) -> None:
        nonlocal answered
        while not ends:
            try:
                await client.generate(str(next(numbers)).encode())
                answered += 1
            except grpc.aio.AioRpcError as error:
                failures.append((time.monotonic(), error.code()))

    async def until_answered(more: int) -> None:
        wanted = answered + more

        async def enough() -> bool:
            return answered >= wanted

        await until(enough, f"{more} more calls are answered")

    async with grpc_client(router_port(deployment), deployment.name) as client, asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(call_all_the_time(client))
        await until_answered(200)
        victim, *_ = await deployment.unfinished_routes()
        for pid in replica_processes(victim):
            os.kill(pid, signal.SIGKILL)
        killed_at = time.monotonic()
        await until_answered(1000)

        async def is_replaced() -> bool:
            return len((await deployment.unfinished_routes()).keys() - {victim}) == 2

        await until(is_replaced, "the dead one is replaced")
        await until_answered(200)
        ends = True

    assert {code for _, code in failures} <= {grpc.StatusCode.UNAVAILABLE}
    assert all(at < killed_at + NOTICED_SECONDS for at, _ in failures)
    assert set(begun_calls(tmp_path).values()) == {1}
