"""The table keeps who has paused a rollout, and tells a run that was reset of the pause that lasts."""

from datetime import UTC, datetime
from typing import Any

from celadon.domain.decisions.authority import Authority
from celadon.domain.language.commands import BakeCommand, PauseCommand
from celadon.domain.language.contracts import PAUSE, RESUME
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.pause import Pause
from celadon.domain.language.states import Channel
from celadon.domain.language.steps import JudgeStep, Message, Step
from celadon.table.rollouts.route_sets import ask_for_edge, judge
from tests.invariants.attempts import SIGNED, TRUSTING
from tests.table.rows import NOW, Opened, Rows

FAR = datetime(2999, 1, 1, tzinfo=UTC)


async def ask(
    rows: Rows, opened: Opened, verb: str, *, run: str = "run-2", by: str = "ann", **given: Any
) -> RefusalCode | None:
    """Ask as a verified person does, and return why it does not count."""
    kind = PauseCommand if verb == PAUSE else BakeCommand
    who = {"by": by, "issuer": "idp", "door": "api", "rights": ["pause"], "valid_until": FAR, "signature": SIGNED}
    command = kind.model_validate(who | {"reason": "latencies"} | given, strict=False)
    message = Message(verb=verb, command=command, came_by=Channel.UPDATE, request_id=f"{verb}-{by}")
    step = JudgeStep(deployment="chat", rollout=opened.begun.rollout, messages=(message,), at=NOW, run=run)
    authority: Authority = TRUSTING
    async with rows.table.transaction() as tx:
        [refusal] = (await judge(tx, step, authority)).refusals
    return None if refusal is None else refusal.code


async def told(rows: Rows, opened: Opened) -> Pause | None:
    """Return the pause of which a run hears that was reset."""
    async with rows.table.transaction() as tx:
        return (await ask_for_edge(tx, Step(deployment="chat", rollout=opened.begun.rollout))).paused


async def test_a_run_that_was_reset_hears_of_the_signed_pause_that_counted_before(rows: Rows) -> None:
    await rows.live()
    opened = await rows.ready("run-2")
    assert await ask(rows, opened, PAUSE) is None

    assert await ask(rows, opened, PAUSE, run="run-3") is RefusalCode.REQUEST_SPENT

    since = await rows.value("select since from pauses")
    assert await told(rows, opened) == Pause(by="ann", door=Channel.API, reason="latencies", since=since)


async def test_it_hears_who_has_changed_the_end(rows: Rows) -> None:
    await rows.live()
    opened = await rows.ready("run-2")
    await ask(rows, opened, PAUSE)
    await ask(rows, opened, PAUSE, by="ben", until=FAR)

    pause = await told(rows, opened)

    assert pause is not None
    assert (pause.by, pause.until, pause.until_by) == ("ann", FAR, "ben")


async def test_it_hears_of_no_pause_that_was_resumed_or_has_ended(rows: Rows) -> None:
    await rows.live()
    opened = await rows.ready("run-2")
    assert await told(rows, opened) is None
    await ask(rows, opened, PAUSE)
    await ask(rows, opened, RESUME)
    assert await told(rows, opened) is None
    await ask(rows, opened, PAUSE, by="ben", until=datetime(2020, 1, 1, tzinfo=UTC))

    assert await told(rows, opened) is None
