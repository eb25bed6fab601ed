"""The windows of a rollout's policy, at the database's moment."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.windows import binding_people, is_open, opening_times
from celadon.domain.language.approval import Approval
from celadon.domain.language.commands import PromoteCommand
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.moments import utc
from celadon.domain.language.opening import Opening, OpeningTimes
from celadon.domain.language.steps import SwitchAnswer, SwitchStep, WindowStep
from celadon.table.core.author import Asker
from celadon.table.core.clock import database_now
from celadon.table.core.locks import DeploymentLock, lock_deployment, own_rollout
from celadon.table.core.models import Rollout
from celadon.table.core.policies import read_policy
from celadon.table.rollouts.approvals import count_others, is_last
from celadon.table.rollouts.audit import write_notes


async def look_up_windows(tx: AsyncSession, step: WindowStep) -> OpeningTimes:
    """Return when a rollout's windows are open, for a timer that is due at the step's moment.

    Raises:
        RefusedError: the rollout no longer owns its deployment.

    """
    locked = await lock_deployment(tx, step.deployment)
    rollout = await own_rollout(tx, locked, step.rollout)
    await write_notes(tx, step)
    return opening_times(read_policy(rollout.policy).windows, await database_now(tx), step.due)


async def refuse_closed(
    tx: AsyncSession, lock: DeploymentLock, rollout: Rollout, step: SwitchStep, asker: Asker
) -> SwitchAnswer | None:
    """Refuse a switch while the windows that bind whoever asks are closed; ``None`` when none is.

    A timer is bound by all of them. A person is bound by those for everyone, and not with force; where others have
    approved before, by each of them with force too. An approval that is not the last one switches nothing, so that no
    window binds it. A first deployment that goes live without a gate is not bound: nothing serves that a switch could
    harm.
    """
    windows = read_policy(rollout.policy).windows
    message = step.message
    if message is not None:
        windows = binding_people(windows)
    if not windows or not rollout.gated or not await is_last(tx, lock, rollout, asker, message=message):
        return None
    unforced: tuple[Approval, ...] = ()
    if message is not None:
        unforced = tuple(one for one in await count_others(tx, lock, rollout, asker) if not one.force)
        if isinstance(message.command, PromoteCommand) and message.command.force and not unforced:
            return None
    now = await database_now(tx)
    if is_open(windows, now):
        return None
    times = opening_times(windows, now)
    return SwitchAnswer(
        refusal=_closed(step, times.timers, unforced),
        # A person's refusal changes nothing of what the rollout knows of its timers.
        openings=times if message is None else None,
    )


def _closed(step: SwitchStep, opening: Opening | None, unforced: Sequence[Approval]) -> Refusal:
    when = "no opening is in sight" if opening is None else f"they open at {utc(opening.opens_at)}"
    if unforced:
        people = ", ".join(one.by for one in unforced)
        return Refusal(
            code=RefusalCode.WINDOW_CLOSED,
            message=f"the windows of rollout {step.rollout} are closed; {when}; force counts when every approval says "
            f"it, and these are without force: {people}",
            next_step=f"promote again when they are open; or now with "
            f"'celadon promote {step.deployment} --force --reason WHY', once each of these has approved again "
            f"with it, or withdrawn with 'celadon withdraw {step.deployment}'",
        )
    again = "promote again then, or now" if opening is not None else "promote"
    return Refusal(
        code=RefusalCode.WINDOW_CLOSED,
        message=f"the windows of rollout {step.rollout} are closed; {when}",
        next_step=f"{again} with 'celadon promote {step.deployment} --force --reason WHY'",
    )
