"""The moments at which a rollout is struck, how each is reached and held, and how the rollout goes on from it.

All subjects of a volley go through the stages together, so that moments which last by themselves are reached just
before the strike, and a router that stands still (which holds every acknowledgement) does so last.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from tests.chaos.holds import locked_row, stopped_process
from tests.chaos.site import until
from tests.chaos.subject import REACH_SECONDS, Subject

Act = Callable[[Subject], Awaitable[None]]

HELD_ROUTER: Final = "router-2"
"""Takes no load, so that it may stand still."""

LOCK_DEPLOYMENT: Final = "select 1 from deployments where name = :name for no key update"
LOCK_ROLLOUT: Final = "select 1 from rollouts where id = :rollout for update"


class Stage(IntEnum):
    """When something is done before the strike."""

    EARLY = 0
    LATE = 1
    SOON = 2
    LAST = 3


async def _nothing(_: Subject) -> None:
    return


@dataclass(frozen=True, eq=False)
class Moment:
    """One moment of a rollout."""

    name: str
    means: str
    phase: RolloutPhase | None
    """What the table says at the strike; nothing while the rollout has no row."""
    reach: dict[Stage, Act]
    go_on: Act = _nothing
    """What a person does after the strike."""
    outcome: RolloutOutcome = RolloutOutcome.PROMOTED
    """How the rollout ends when nothing is struck."""
    blue_runs: bool = True
    green_runs: bool = True
    green_takes_over: bool = False
    """Whether green is live at the strike or becomes so by the step that is under way."""
    confirm: Act = field(default=_nothing)
    """Makes sure, right before the strike, that the moment is still held."""


async def _start(subject: Subject) -> None:
    await subject.start()


async def _wait(subject: Subject) -> None:
    await subject.wait_for_promotion()


async def _promote_later(subject: Subject) -> None:
    await subject.promote_when_it_waits()


async def _answered(subject: Subject) -> None:
    await subject.answered()


async def _lock(subject: Subject, statement: str, **values: object) -> None:
    subject.blocks = await subject.holds.enter_async_context(locked_row(subject.site, statement, **values))


async def _until_blocked(subject: Subject) -> None:
    await until(subject.blocks, f"a step of {subject.name} waits for the lock", REACH_SECONDS)


async def _begin(subject: Subject) -> None:
    await _lock(subject, LOCK_DEPLOYMENT, name=subject.name)
    await subject.start()
    await _until_blocked(subject)


async def _provisioning(subject: Subject) -> None:
    gate = subject.gate("start")
    subject.holds.callback(gate.touch)
    await subject.start("--starts-with", str(gate))
    await subject.until_phase(RolloutPhase.PROVISIONING)


async def _verifying(subject: Subject) -> None:
    gate = subject.gate("health")
    subject.holds.callback(gate.touch)
    await subject.start("--healthy-with", str(gate))
    await subject.until_phase(RolloutPhase.VERIFYING)


async def _paused(subject: Subject) -> None:
    await subject.wait_for_promotion(auto_promote=True, promote_after="150s")
    await subject.pause()


async def _resume(subject: Subject) -> None:
    await subject.resume()
    await subject.promote_when_it_waits()


async def _recorded(subject: Subject) -> None:
    await subject.wait_for_promotion(approvals={"count": 2})
    subject.people = ("ann", "ben")
    await subject.promote("ann")


async def _growing(subject: Subject) -> None:
    gate = subject.gate("growth")
    gate.touch()
    await subject.start("--starts-with", str(gate), preview_replicas=1)
    await subject.until_phase(RolloutPhase.AWAITING_PROMOTION)
    gate.unlink()
    subject.holds.callback(gate.touch)


async def _grow(subject: Subject) -> None:
    await subject.promote()
    await subject.until_phase(RolloutPhase.VERIFYING)


async def _before_commit(subject: Subject) -> None:
    current = await subject.current()
    await _lock(subject, LOCK_ROLLOUT, rollout=current.rollout)
    subject.ask_for_promotion()
    await _until_blocked(subject)


async def _after_commit(subject: Subject) -> None:
    await subject.holds.enter_async_context(stopped_process(subject.site.children()[HELD_ROUTER]))
    subject.ask_for_promotion()
    await subject.until_phase(RolloutPhase.BAKING)


async def _bake(subject: Subject) -> None:
    await subject.promote()


async def _wait_long_bake(subject: Subject) -> None:
    await subject.wait_for_promotion(bake="10s")


async def _abort(subject: Subject) -> None:
    await subject.abort()


async def _back_before_commit(subject: Subject) -> None:
    current = await subject.current()
    await _lock(subject, LOCK_ROLLOUT, rollout=current.rollout)
    subject.ask_for_rollback()
    await _until_blocked(subject)


async def _wait_for_rollback(subject: Subject) -> None:
    await subject.answer_of_rollback()


async def _drain(subject: Subject) -> None:
    await subject.wait_for_promotion(bake="0s")
    await subject.hold_a_stream()
    await subject.promote()
    await subject.until_phase(RolloutPhase.DRAINING)


async def _finish(subject: Subject) -> None:
    current = await subject.current()
    await _lock(subject, LOCK_ROLLOUT, rollout=current.rollout)
    subject.gate("stream").touch()
    await _until_blocked(subject)


async def _wait_longer_bake(subject: Subject) -> None:
    await subject.wait_for_promotion(bake="30s")


async def _go_live(subject: Subject) -> None:
    await subject.promote()

    async def served() -> bool:
        return await subject.answers() == subject.label

    await until(served, f"{subject.name} serves green", REACH_SECONDS)


async def _switch_back(subject: Subject) -> None:
    await _go_live(subject)
    await subject.hold_a_stream()
    await subject.roll_back()
    await subject.until_phase(RolloutPhase.ROLLING_BACK)


MOMENTS: Final = (
    Moment(
        name="begin",
        means="inside begin: its transaction waits for the deployment's row",
        phase=None,
        reach={Stage.LAST: _begin},
        go_on=_promote_later,
        green_runs=False,
        confirm=_until_blocked,
    ),
    Moment(
        name="provisioning",
        means="greens end as soon as they start",
        phase=RolloutPhase.PROVISIONING,
        reach={Stage.SOON: _provisioning},
        go_on=_promote_later,
        green_runs=False,
    ),
    Moment(
        name="verifying",
        means="greens run, their health check fails",
        phase=RolloutPhase.VERIFYING,
        reach={Stage.EARLY: _verifying},
        go_on=_promote_later,
    ),
    Moment(
        name="awaiting",
        means="green waits for its promotion",
        phase=RolloutPhase.AWAITING_PROMOTION,
        reach={Stage.EARLY: _wait},
        go_on=_promote_later,
    ),
    Moment(
        name="aborted",
        means="green waits for its promotion; the answer to the strike is an abort",
        phase=RolloutPhase.AWAITING_PROMOTION,
        reach={Stage.EARLY: _wait},
        go_on=_abort,
        outcome=RolloutOutcome.ABORTED,
    ),
    Moment(
        name="paused",
        means="green waits for a timer, which stands still; it is resumed after the strike and promoted",
        phase=RolloutPhase.AWAITING_PROMOTION,
        reach={Stage.EARLY: _paused},
        go_on=_resume,
    ),
    Moment(
        name="recorded",
        means="one of two approvals is recorded; the second is given after the strike",
        phase=RolloutPhase.AWAITING_PROMOTION,
        reach={Stage.EARLY: _recorded},
        go_on=_promote_later,
    ),
    Moment(
        name="growing",
        means="promoted with one of two greens; the second one ends as soon as it starts",
        phase=RolloutPhase.VERIFYING,
        reach={Stage.EARLY: _growing, Stage.SOON: _grow},
        go_on=_promote_later,
    ),
    Moment(
        name="uncommitted",
        means="inside switch: everything is written, the commit waits for the rollout's row",
        phase=RolloutPhase.AWAITING_PROMOTION,
        reach={Stage.EARLY: _wait, Stage.LAST: _before_commit},
        go_on=_answered,
        green_takes_over=True,
        confirm=_until_blocked,
    ),
    Moment(
        name="unanswered",
        means="inside switch: committed, one router stands still and has not acknowledged",
        phase=RolloutPhase.BAKING,
        reach={Stage.EARLY: _wait, Stage.LAST: _after_commit},
        go_on=_answered,
        green_takes_over=True,
    ),
    Moment(
        name="baking",
        means="green serves, blue is warm",
        phase=RolloutPhase.BAKING,
        reach={Stage.EARLY: _wait_long_bake, Stage.SOON: _bake},
        green_takes_over=True,
    ),
    Moment(
        name="draining",
        means="inside drain: a stream runs on blue",
        phase=RolloutPhase.DRAINING,
        reach={Stage.EARLY: _drain},
        green_takes_over=True,
    ),
    Moment(
        name="finish",
        means="inside finish: its transaction waits for the rollout's row",
        phase=RolloutPhase.DRAINING,
        reach={Stage.EARLY: _drain, Stage.LATE: _finish},
        blue_runs=False,
        green_takes_over=True,
        confirm=_until_blocked,
    ),
    Moment(
        name="uncommitted_back",
        means="inside switch_back: everything is written, the commit waits for the rollout's row",
        phase=RolloutPhase.BAKING,
        reach={Stage.EARLY: _wait_longer_bake, Stage.SOON: _go_live, Stage.LAST: _back_before_commit},
        go_on=_wait_for_rollback,
        outcome=RolloutOutcome.ROLLED_BACK,
        green_takes_over=True,
        confirm=_until_blocked,
    ),
    Moment(
        name="rolling_back",
        means="switched back after the switch, a stream runs on green",
        phase=RolloutPhase.ROLLING_BACK,
        reach={Stage.EARLY: _wait_longer_bake, Stage.SOON: _switch_back},
        outcome=RolloutOutcome.ROLLED_BACK,
    ),
)
