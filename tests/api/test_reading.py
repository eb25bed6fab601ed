"""Turns at reading: how many a caller has, and who comes next."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from celadon.api.problems import HttpRefusal
from celadon.api.reading import MOST_WAITING_PER_CALLER, AnswerPieces, ReadTurns

DEADLINE_SECONDS = 60


@asynccontextmanager
async def reading(
    turns: ReadTurns, caller: str, order: list[str]
) -> AsyncIterator[tuple[asyncio.Task[None], asyncio.Event]]:
    """Read as ``caller`` until told to end."""
    end = asyncio.Event()

    async def read() -> None:
        async with turns.turn(caller):
            order.append(caller)
            await end.wait()

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    try:
        yield task, end
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(order: list[str], wanted: list[str]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while order != wanted:
            assert order == wanted[: len(order)]
            await asyncio.sleep(0.01)


async def test_a_caller_has_no_more_turns_than_its_share_and_others_have_theirs() -> None:
    turns, order = ReadTurns(most=3, most_per_caller=1), list[str]()
    async with AsyncExitStack() as held:
        for caller in ("ann", "ann", "ann", "bob", "cid"):
            await held.enter_async_context(reading(turns, caller, order))
        await until(order, ["ann", "bob", "cid"])


async def test_who_has_not_read_for_longest_comes_next() -> None:
    turns, order = ReadTurns(most=1, most_per_caller=1), list[str]()
    async with AsyncExitStack() as held:
        opened = [
            await held.enter_async_context(reading(turns, caller, order))
            for caller in ("ann", "ann", "ann", "bob", "cid")
        ]
        for _, end in opened:
            end.set()
        await until(order, ["ann", "bob", "cid", "ann", "ann"])


async def test_a_caller_rests_after_a_read_and_others_do_not_wait_for_it() -> None:
    turns, order = ReadTurns(most=1, most_per_caller=1), list[str]()
    async with reading(turns, "ann", order) as (_, first_end), reading(turns, "ann", order) as (second, second_end):
        await asyncio.sleep(0.2)
        first_end.set()
        await asyncio.sleep(0)
        async with reading(turns, "bob", order) as (_, end):
            end.set()
            await until(order[:2], ["ann", "bob"])
        second_end.set()
        await second
    assert order == ["ann", "bob", "ann"]


async def test_whoever_stops_waiting_leaves_no_gap() -> None:
    turns, order = ReadTurns(most=1, most_per_caller=1), list[str]()
    async with (
        reading(turns, "ann", order) as (_, end),
        reading(turns, "bob", order) as (waiting, _),
        reading(turns, "cid", order),
    ):
        waiting.cancel()
        await asyncio.sleep(0)
        end.set()
        await until(order, ["ann", "cid"])


async def test_whoever_stops_as_its_turn_is_given_gives_it_back() -> None:
    turns, order = ReadTurns(most=1, most_per_caller=1), list[str]()
    async with AsyncExitStack() as held:
        first = turns.turn("ann")
        await first.__aenter__()
        second, _ = await held.enter_async_context(reading(turns, "bob", order))
        await held.enter_async_context(reading(turns, "cid", order))
        # Bob's turn is given here, and he has not woken yet.
        await first.__aexit__(None, None, None)
        second.cancel()
        await until(order, ["cid"])


async def test_too_many_waiting_reads_of_a_caller_are_refused_and_those_of_others_are_not() -> None:
    turns, order = ReadTurns(most=1, most_per_caller=1), list[str]()
    async with AsyncExitStack() as held:
        for _ in range(MOST_WAITING_PER_CALLER + 1):
            await held.enter_async_context(reading(turns, "ann", order))
        with pytest.raises(HttpRefusal, match="wait for their turn"):
            async with turns.turn("ann"):
                pass
        _, end = await held.enter_async_context(reading(turns, "bob", order))
        end.set()


async def test_pieces_of_answers_are_made_one_at_a_time_callers_in_turn() -> None:
    pieces, order = AnswerPieces(), list[str]()

    async def make(caller: str) -> None:
        await pieces.piece(caller)
        order.append(caller)

    async with asyncio.timeout(DEADLINE_SECONDS):
        await asyncio.gather(*(make(caller) for caller in ("ann", "ann", "ann", "bob")))
    assert order == ["ann", "ann", "bob", "ann"]


async def test_a_piece_that_nobody_waits_for_any_more_is_left_out() -> None:
    pieces = AnswerPieces()
    waiting = [asyncio.create_task(pieces.piece("ann")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await asyncio.gather(waiting[0], waiting[2])
        await pieces.piece("ann")
