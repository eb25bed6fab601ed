"""Let nothing be switched to green for a while."""

# ruff: noqa: PLC0415 - declaring a command needs no database

from typing import Self

from pydantic import model_validator

from celadon.domain.language.base_models import StrictModel
from celadon.domain.language.commands import Reason
from celadon.domain.language.moments import utc
from celadon.domain.language.names import DeploymentName
from celadon.domain.language.permissions import Verb
from celadon.domain.language.utc_moment import UtcMoment
from celadon.service.change_log import log_change
from celadon.service.command import Call, Command, Form, Graph, Line, Option, Rest, Scope, Terminal
from celadon.service.freezing import TERMINAL_SCOPE, check_whose, permit_freezing, whose, wrongly_scoped
from celadon.table.records.changes import Frozen


class FreezeRequest(StrictModel):
    """Asks that nothing is switched to green: of one deployment, or of all."""

    deployment: DeploymentName | None = None
    """The deployment's name; none with all."""
    all: bool = False
    """All deployments, those too that are created meanwhile."""
    begins_at: UtcMoment | None = None
    """When it begins, with the zone; at once when not given."""
    ends_at: UtcMoment | None = None
    """When it ends by itself, with the zone; when not given, once somebody ends it."""
    rollbacks: bool = True
    """Whether a rollback inside its window switches all the same."""
    reason: Reason = ""

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        check_whose(self.deployment, all_of_them=self.all)
        return self


async def freeze(call: Call[FreezeRequest]) -> Frozen:
    """Freeze the deployment, or all."""
    from celadon.table.rollouts.freezes import FreezeOrder
    from celadon.table.rollouts.freezes import freeze as freeze_deployments

    request = call.request
    author = call.service.author(call.who, request.reason)
    order = FreezeOrder(
        deployment=request.deployment,
        begins_at=request.begins_at,
        ends_at=request.ends_at,
        rollbacks=request.rollbacks,
        **dict(author),
    )
    async with permit_freezing(call, request.deployment, Verb.FREEZE) as tx:
        frozen = await freeze_deployments(tx, order)
    log_change(
        "frozen",
        deployment=request.deployment,
        freeze=frozen.freeze,
        by=call.who.name,
        begins_at=str(frozen.begins_at),
        ends_at=str(frozen.ends_at),
        reason=request.reason,
    )
    return frozen


def _end(result: Frozen) -> str:
    return "until somebody ends it" if result.ends_at is None else f"until {utc(result.ends_at)}"


def _summary(result: Frozen) -> tuple[Line, ...]:
    command = f"celadon unfreeze {result.deployment or '--all'}"
    return (
        Line(
            strong="Frozen",
            text=f": nothing of {whose(result.deployment)} is switched to green from "
            f"{utc(result.begins_at)} {_end(result)}. Aborts and ways back still work.",
        ),
        Line(text=f"End it with: {command}"),
    )


COMMAND = Command(
    verb="freeze",
    scope=Scope.FLEET,
    place=84,
    about="Let nothing be switched to green, of a deployment or of all; aborts and ways back still work.",
    right=Verb.FREEZE,
    more_rights=lambda request: (Verb.FREEZE_ALL,) if request.all else (),
    request=FreezeRequest,
    result=Frozen,
    run=freeze,
    summary=_summary,
    asks=lambda _, given: (
        "Nothing of any deployment is switched to green then. Freeze all?" if given.get("all") else ""
    ),
    rest=Rest(path="/freezes", name="freeze", status=201),
    graph=Graph(
        mutation="freeze",
        subject="",
        about_input="Asks that nothing is switched to green: of one deployment, or of all.",
        about_payload="Nothing is switched to green.",
        about_answer="The freeze that was made, or why none was.",
        shown={"freeze": "freeze", "begins_at": "begins_at", "ends_at": "ends_at"},
    ),
    terminal=Terminal(
        check=wrongly_scoped,
        options={
            "deployment": TERMINAL_SCOPE,
            "all": Option(help="Freeze all deployments, those too that are created meanwhile."),
            "begins_at": Option(
                flag="--from",
                help="When it begins, such as 2026-12-24T12:00:00+01:00.",
                metavar="MOMENT",
                default="at once",
            ),
            "ends_at": Option(
                flag="--until",
                help="When it ends by itself.",
                metavar="MOMENT",
                default="once somebody ends it",
            ),
            "rollbacks": Option(
                flag="--rollbacks/--no-rollbacks",
                help="Whether a rollback inside its window switches all the same.",
            ),
        },
        help="""Let nothing be switched to green: of one deployment, or of all with --all.

        Rollouts go on up to their promotion, wait there, and say why. A timer that comes due meanwhile promotes when
        the freeze ends, and a promotion deadline does not run out. A person's promotion is refused. Aborts, ways back
        and everything after a switch go on, and so does a rollback inside its window, unless --no-rollbacks says
        otherwise. A freeze that is to come needs nobody who begins or ends it.

        Examples:
        ```console
        celadon freeze chat --reason "load test until noon" --until "$(date -Iseconds -d '+2 hours')"
        celadon freeze --all --from "$(date -Iseconds -d '+1 day')" --until "$(date -Iseconds -d '+3 days')" --yes
        ```
        """,
    ),
    form=Form(
        title="Freeze",
        what="Nothing is switched to green until somebody ends it. Aborts and ways back still work.",
        button="Freeze the deployment",
        only_if=lambda state: not state.deployment.frozen and not state.deployment.lifecycle.is_deleted,
    ),
)
