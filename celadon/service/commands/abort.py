"""End a rollout without its green."""

from typing import TYPE_CHECKING

from celadon.domain.language.commands import AbortCommand
from celadon.domain.language.contracts import ABORT
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
    way_back_summary,
)

if TYPE_CHECKING:
    from celadon.domain.language.progress import Progress

_BEFORE_THE_SWITCH = frozenset({RolloutPhase.PROVISIONING, RolloutPhase.VERIFYING, RolloutPhase.AWAITING_PROMOTION})


async def abort(call: Call[AbortRequest]) -> AbortResult:
    """Abort the rollout under way."""
    return await go_back(call, ABORT, Verb.ABORT)


def _is_refused(progress: "Progress") -> object:
    from celadon.domain.decisions.abort import refuse_abort  # noqa: PLC0415 - declaring a command needs no decision

    return refuse_abort(progress, AbortCommand(), rollback=False)


COMMAND = Command(
    verb="abort",
    scope=Scope.ROLLOUT,
    place=40,
    about="Go back: before the switch green is closed, after it traffic returns to blue.",
    right=Verb.ABORT,
    request=AbortRequest,
    result=AbortResult,
    can_be_scheduled=True,
    run=abort,
    is_refused=_is_refused,
    summary=way_back_summary,
    page_notice=notice_of_way_back,
    rest=Rest(),
    graph=Graph(mutation="abort_rollout", **BACK),
    terminal=Terminal(
        doing="Aborting",
        wait="Wait until the rollout has ended.",
        takes_id=True,
        signal=ABORT,
        good_ends=WENT_BACK,
        help="""End the rollout under way without its green: before the switch green is closed, after it traffic returns to blue.

        Examples:
        ```console
        celadon abort chat
        celadon abort chat --rollout 7 --reason "wrong weights"
        ```
        """,  # noqa: E501 - a paragraph's first line is its summary
    ),
    form=Form(
        title="Abort",
        what="Closes {green}. What is live stays as it is.",
        button="Abort the rollout",
        tone="danger",
        only_if=lambda state: state.phase in _BEFORE_THE_SWITCH,
    ),
)
