"""Signals that rollouts are owed and that Temporal has not taken."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from temporalio.service import RPCError

from celadon.cli.doctor.findings import Diagnosis, Mended, fine, mendable, wrong
from celadon.cli.doctor.keepers_writes import write_as_keeper
from celadon.cli.session import Session
from celadon.client.rollouts import signals_are_exhausted
from celadon.client.running_workflows import RunState, run_state
from celadon.domain.language.moments import span
from celadon.table.read.inspection import Inspection
from celadon.table.replicas.outbox import OwedSignal, count_owed_signals, read_owed_signals, signal_taken

_CHECK: Final = "signals"
_TAKEN_WITHIN: Final = timedelta(seconds=30)
_BATCH: Final = 500


def check_signals(session: Session, inspection: Inspection, *, temporal_answers: bool) -> Diagnosis:
    """Find signals that wait too long; the mend sends them, but only where no keeper lives that does."""
    outbox = inspection.outbox
    if outbox.oldest_at is None or inspection.at - outbox.oldest_at < _TAKEN_WITHIN:
        return fine(_CHECK, f"{outbox.owed} owed to rollouts")
    finding = f"{outbox.owed} owed to rollouts, the oldest for {span(inspection.at - outbox.oldest_at)}"
    why = "rollouts wait for news of their replicas and routers that they do not hear"
    if inspection.keeper is not None and inspection.keeper.alive:
        next_step = "a keeper is at work and sends them: see in its worker's log why Temporal does not take them"
        return wrong(_CHECK, finding, why=why, next_step=next_step)
    next_step = "start a worker, whose keeper sends them"
    if not temporal_answers:
        return wrong(_CHECK, finding, why=why, next_step=next_step)

    async def mend() -> Mended:
        return await _send_all(session)

    return mendable(_CHECK, finding, why=why, next_step=next_step, remedy="send them, as a keeper does", mend=mend)


async def _send_all(session: Session) -> Mended:
    """Send signals in their order until none is owed; a rollout may hear one twice, which it bears.

    Those of a workflow that cannot take one at the moment are passed over, and stay owed.
    """
    client = await session.temporal()
    rollouts = await session.rollouts()
    taken = gone = 0
    passed_over: dict[str, str] = {}
    while owed := await session.read(lambda tx: read_owed_signals(tx, _BATCH, passed_over)):
        for one in owed:
            if one.workflow_id in passed_over:
                continue
            try:
                heard = await rollouts.signal(one.workflow_id, one.signal, dict(one.payload))
                state = RunState.RUNNING if heard else await run_state(client, one.workflow_id)
            except RPCError as error:
                if not signals_are_exhausted(error):
                    return await _stopped(session, taken, gone, f"Temporal did not take the next one ({error.message})")
                passed_over[one.workflow_id] = f"{one.workflow_id} takes none until it goes on in a new run"
                continue
            if state is RunState.UNKNOWN:
                # Another Temporal than the workers', perhaps; a signal that was dropped here would be lost.
                passed_over[one.workflow_id] = f"Temporal does not know {one.workflow_id}"
                continue
            taken, gone = taken + heard, gone + (not heard)
            await _forget(session, one)
    if passed_over:
        return await _stopped(session, taken, gone, _first_of(list(passed_over.values())))
    return Mended(done=_told(taken, gone))


def _first_of(reasons: Sequence[str]) -> str:
    others = len(reasons) - 1
    return f"{reasons[0]} (and {others} other workflows)" if others else reasons[0]


async def _stopped(session: Session, taken: int, gone: int, why: str) -> Mended:
    left = await session.read(count_owed_signals)
    return Mended(
        done=_told(taken, gone), left=f"{why}; {left} are still owed: start a worker, whose keeper sends them"
    )


async def _forget(session: Session, owed: OwedSignal) -> None:
    await write_as_keeper(session.table, lambda tx, fence: signal_taken(tx, fence, owed))


def _told(taken: int, gone: int) -> str:
    dropped = f"; dropped {gone} whose workflow does not run any more" if gone else ""
    return f"sent {taken}{dropped}"
