"""End freezes, those that hold and those that are to come."""

# ruff: noqa: PLC0415 - declaring a command needs no database

from collections.abc import Iterator
from typing import Self

from pydantic import model_validator

from celadon.domain.language.base_models import StrictModel
from celadon.domain.language.commands import Reason
from celadon.domain.language.names import DeploymentName
from celadon.domain.language.permissions import Verb
from celadon.service.change_log import log_change
from celadon.service.command import Call, Command, Form, Graph, Line, Option, Rest, Scope, Terminal, Tone
from celadon.service.freezing import TERMINAL_SCOPE, check_whose, permit_freezing, whose, wrongly_scoped
from celadon.table.records.changes import Unfrozen


class UnfreezeRequest(StrictModel):
    """Asks to end the freezes of one deployment, or those of all."""

    deployment: DeploymentName | None = None
    """The deployment's name; none with all."""
    all: bool = False
    """The freezes of all deployments; those of single ones stay."""
    reason: Reason = ""

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        check_whose(self.deployment, all_of_them=self.all)
        return self


async def unfreeze(call: Call[UnfreezeRequest]) -> Unfrozen:
    """End the freezes."""
    from celadon.table.rollouts.freezes import UnfreezeOrder
    from celadon.table.rollouts.freezes import unfreeze as unfreeze_deployments

    request = call.request
    author = call.service.author(call.who, request.reason)
    async with permit_freezing(call, request.deployment, Verb.UNFREEZE) as tx:
        unfrozen = await unfreeze_deployments(tx, UnfreezeOrder(deployment=request.deployment, **dict(author)))
    log_change(
        "unfrozen",
        deployment=request.deployment,
        freezes=unfrozen.ended,
        by=call.who.name,
        reason=request.reason,
    )
    return unfrozen


def _summary(result: Unfrozen) -> Iterator[Line]:
    count = len(result.ended)
    what = "1 freeze has" if count == 1 else f"{count} freezes have"
    yield Line(strong="Ended", text=f": {what} ended of {whose(result.deployment)}; timers that are due promote now.")
    if result.left:
        yield Line(
            strong="Still frozen",
            text=f": {len(result.left)} of all deployments, which end with: celadon unfreeze --all",
            tone=Tone.WARN,
        )


COMMAND = Command(
    verb="unfreeze",
    scope=Scope.FLEET,
    place=85,
    about="End the freezes of a deployment, or those of all; timers that came due meanwhile promote.",
    right=Verb.UNFREEZE,
    more_rights=lambda request: (Verb.FREEZE_ALL,) if request.all else (),
    request=UnfreezeRequest,
    result=Unfrozen,
    run=unfreeze,
    summary=lambda result: tuple(_summary(result)),
    rest=Rest(path="/unfreeze", name="unfreeze"),
    graph=Graph(
        mutation="unfreeze",
        subject="",
        about_input="Asks to end the freezes of one deployment, or those of all.",
        about_payload="Freezes have ended.",
        about_answer="The freezes that have ended, or why none has.",
        shown={"ended": "ended", "left": "left"},
    ),
    terminal=Terminal(
        check=wrongly_scoped,
        options={
            "deployment": TERMINAL_SCOPE,
            "all": Option(help="End the freezes of all deployments; those of single ones stay."),
        },
        help="""End all freezes of one deployment, or those of all with --all; those that are to come never begin.

        Timers that came due meanwhile promote at once, so this takes the role approver or admin.

        Examples:
        ```console
        celadon unfreeze chat --reason "the load test is over"
        celadon unfreeze --all
        ```
        """,
    ),
    form=Form(
        title="Unfreeze",
        what="All freezes of this deployment end, those too that are to come. Timers that came due meanwhile promote.",
        button="End the freeze",
        only_if=lambda state: any(not one.everywhere for one in state.deployment.freezes),
    ),
)
