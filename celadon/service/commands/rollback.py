"""Return traffic to blue after the switch."""

from typing import TYPE_CHECKING

from celadon.domain.language.commands import AbortCommand
from celadon.domain.language.contracts import ROLLBACK
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import RolloutPhase
from celadon.service.command import Call, Command, Form, Graph, Rest, Scope, Terminal
from celadon.service.way_back import (
    BACK,
    WENT_BACK,
    AbortRequest,
    AbortResult,
    go_back,
    notice_of_way_back,
    told_way_back,
)

if TYPE_CHECKING:
    from celadon.domain.language.progress import Progress


async def rollback(call: Call[AbortRequest]) -> AbortResult:
    """Return traffic to blue."""
    return await go_back(call, ROLLBACK, Verb.ROLLBACK)


def _is_refused(progress: "Progress") -> object:
    from celadon.domain.decisions.abort import refuse_abort  # noqa: PLC0415 - declaring a command needs no decision

    return refuse_abort(progress, AbortCommand(), rollback=True)


COMMAND = Command(
    verb="rollback",
    scope=Scope.ROLLOUT,
    place=50,
    about="Return traffic to blue after the switch.",
    right=Verb.ROLLBACK,
    request=AbortRequest,
    result=AbortResult,
    run=rollback,
    is_refused=_is_refused,
    told=told_way_back,
    noticed=notice_of_way_back,
    rest=Rest(),
    graph=Graph(mutation="rollback_deployment", **BACK),
    terminal=Terminal(
        doing="Rolling back",
        wait="Wait until the rollout has ended.",
        takes_id=True,
        signal=ROLLBACK,
        good_ends=WENT_BACK,
        help="""Return traffic to blue after the switch, while blue is still there.

        Examples:
        ```console
        celadon rollback chat --reason "p99 doubled"
        ```
        """,
    ),
    form=Form(
        title="Roll back to {blue}",
        what="All traffic returns to {blue} in one transaction.",
        button="Roll back to {blue}",
        tone="danger",
        only_if=lambda standing: (
            standing.phase is not RolloutPhase.SWITCHING
            and standing.record is not None
            and standing.record.blue_set is not None
        ),
    ),
)
