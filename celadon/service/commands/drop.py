"""Drop the rollout that waits for its turn."""

# ruff: noqa: PLC0415 - declaring a command needs no database

from celadon.domain.language.base_models import Record, StrictModel
from celadon.domain.language.commands import Reason
from celadon.domain.language.next_rollout import WaitingRollout
from celadon.domain.language.permissions import Verb
from celadon.service.change_log import log_change
from celadon.service.command import Call, Command, Form, Graph, Line, Rest, Scope, Terminal


class DropRequest(StrictModel):
    """Asks that nothing waits any more behind the rollout that is under way."""

    reason: Reason = ""


class DropResult(Record):
    """The answer to a drop."""

    deployment: str
    """The deployment's name."""
    dropped: WaitingRollout
    """What waited, and will not begin."""


async def drop(call: Call[DropRequest]) -> DropResult:
    """Let nothing wait; the rollout that is under way goes on."""
    from celadon.domain.decisions.successors import nothing_waits
    from celadon.domain.language.errors import RefusedError
    from celadon.table.core.locks import lock_deployment
    from celadon.table.rollouts.next_rollouts import drop as drop_in_table

    async with call.service.serving(call, [Verb.ABORT]) as tx:
        author = call.service.author(call.who, call.request.reason)
        dropped = await drop_in_table(tx, await lock_deployment(tx, call.subject), author)
        if dropped is None:
            raise RefusedError(nothing_waits(call.subject))
    log_change(
        "successor_dropped",
        deployment=call.subject,
        next=dropped.id,
        by=call.who.name,
        reason=call.request.reason,
    )
    return DropResult(deployment=call.subject, dropped=dropped)


def _summary(result: DropResult) -> tuple[Line, ...]:
    one = result.dropped
    return (
        Line(
            strong="Dropped",
            text=f": r{one.revision} of {result.deployment}, which {one.requested_by} had asked for, waits no more.",
        ),
    )


COMMAND = Command(
    verb="drop",
    scope=Scope.DEPLOYMENT,
    place=45,
    about="Drop the rollout that waits for its turn; the one that is under way goes on.",
    right=Verb.ABORT,
    request=DropRequest,
    result=DropResult,
    run=drop,
    summary=_summary,
    rest=Rest(),
    graph=Graph(
        mutation="drop_waiting",
        about_payload="Nothing waits any more.",
        about_answer="What was dropped, or why nothing was.",
        shown={"deployment": "@deployment", "dropped": "dropped"},
    ),
    terminal=Terminal(
        help="""Drop the rollout that waits for its turn.

        The rollout that is under way goes on, and is aborted with 'celadon abort'; an abort leaves what waits alone,
        which then waits for 'celadon retry'.

        Examples:
        ```console
        celadon drop chat --reason "r5 is withdrawn"
        ```
        """,
    ),
    form=Form(
        title="Drop what waits",
        what="The rollout that waits for its turn does not begin; the one under way goes on.",
        button="Drop it",
        tone="danger",
        only_if=lambda state: state.deployment.next is not None,
    ),
)
