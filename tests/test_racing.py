"""What a task can do after a group of tasks in it has failed."""

import asyncio

import pytest

from celadon.racing import task_group, wait_at_most


async def _fail() -> None:
    raise ValueError("broken")


async def _fail_in_a_group() -> None:
    async with task_group() as group:
        group.create_task(_fail())


async def test_a_group_raises_what_its_tasks_have_raised() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        await _fail_in_a_group()
    assert [str(error) for error in raised.value.exceptions] == ["broken"]


async def test_a_timeout_after_a_group_that_failed_is_a_timeout() -> None:
    async def survive() -> str:
        with pytest.raises(ExceptionGroup):
            await _fail_in_a_group()
        await wait_at_most(asyncio.Event(), 0.01)
        return "survived"

    assert await asyncio.create_task(survive()) == "survived"


async def test_a_group_that_failed_leaves_no_request_to_cancel() -> None:
    async def survive() -> int:
        with pytest.raises(ExceptionGroup):
            await _fail_in_a_group()
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert await asyncio.create_task(survive()) == 0


async def test_who_waits_for_a_group_can_be_cancelled() -> None:
    async def wait() -> None:
        async with task_group() as group:
            group.create_task(asyncio.sleep(3600))

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
