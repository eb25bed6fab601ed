"""Which workers are believed that gave a command for the author of a schedule."""

from collections.abc import Iterator

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.client.signatures import verifies_with, worker_key_of
from celadon.domain.decisions.authority import Authority
from celadon.domain.language.commands import Command
from celadon.domain.language.messages import StartMemo
from celadon.domain.language.states import Channel
from celadon.domain.language.steps import BeginStep, JudgeStep, Message, Step, SwitchStep
from celadon.table.rollouts.schedules import public_keys


async def believing(tx: AsyncSession, authority: Authority, step: Step | BeginStep) -> Authority:
    """Return an authority that also believes the workers whose signatures a step shows, by their keys in the table.

    Where nothing of the step came by a schedule, the table is asked for nothing.
    """
    identities = {
        identity
        for signed in _signed(step)
        if signed.door is Channel.SCHEDULE and (identity := worker_key_of(signed.signature))
    }
    if not identities:
        return authority
    keys = await public_keys(tx, identities)
    return authority.believing(lambda text, signature: verifies_with(keys, text, signature))


def _signed(step: Step | BeginStep) -> Iterator[Command | StartMemo]:
    """Yield what of a step somebody may have signed."""
    if isinstance(step, BeginStep):
        if step.memo is not None:
            yield step.memo
        return
    messages: list[Message | None] = [note.message for note in step.notes]
    if isinstance(step, JudgeStep):
        messages += step.messages
    if isinstance(step, SwitchStep):
        messages.append(step.message)
    yield from (one.command for one in messages if one is not None)
