"""Roll out once more what is live: the same revision, with new replicas."""

# ruff: noqa: PLC0415 - declaring a command needs neither a database nor Temporal

from celadon.domain.language.base_models import StrictModel
from celadon.domain.language.commands import Reason
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.names import DeploymentName
from celadon.domain.language.permissions import Verb
from celadon.service.command import Call, Command, DeploymentState, Form, Graph, Rest, Scope, Terminal
from celadon.service.commands.start import SHOWN, StartResult, start, start_summary


class RestartRequest(StrictModel):
    """Asks that what is live is rolled out once more."""

    reason: Reason = ""


async def restart(call: Call[RestartRequest]) -> StartResult:
    """Start a rollout of the revision that is live, by the deployment's own policy.

    Raises:
        RefusedError: nothing is live, or as a start.

    """
    from celadon.table.rollouts.live import live_revision_of

    async with call.service.serving(call, [Verb.START]) as tx:
        live = await live_revision_of(tx, call.subject)
    if live is None:
        raise refuse(
            RefusalCode.NOTHING_TO_RETRY,
            f"nothing of {call.subject} is live that could be rolled out once more",
            "roll out a revision with 'celadon deploy -f FILE', or what failed with 'celadon retry'",
        )
    request = RolloutRequest(
        deployment=DeploymentName(call.subject),
        revision=live,
        restart=True,
        reason=call.request.reason or f"restart of r{live}",
    )
    return await start(
        Call(
            who=call.who,
            subject="",
            request=request,
            request_id=call.request_id,
            target_rollout=call.target_rollout,
            service=call.service,
        )
    )


def _is_offered(state: DeploymentState) -> bool:
    if state.deployment.lifecycle.is_deleted or state.deployment.live_revision is None:
        return False
    latest = state.deployment.rollout
    return latest is None or latest.outcome is not None


COMMAND = Command(
    verb="restart",
    scope=Scope.DEPLOYMENT,
    place=55,
    about="Roll out once more the revision that is live; answers when the rollout is registered.",
    right=Verb.START,
    request=RestartRequest,
    result=StartResult,
    can_be_scheduled=True,
    run=restart,
    summary=start_summary,
    rest=Rest(status=202),
    graph=Graph(
        mutation="restart_deployment",
        about_payload="What is live is rolled out once more.",
        about_answer="The rollout that was started, or why none was.",
        shown=SHOWN,
    ),
    terminal=Terminal(
        takes_id=True,
        help="""Roll out once more the revision that is live, with new replicas.

        It goes as every rollout of the deployment goes: green starts beside blue, and its policy says who promotes.

        Examples:
        ```console
        celadon restart chat --reason "new certificates"
        ```
        """,
    ),
    form=Form(
        title="Restart",
        what="The revision that is live is rolled out once more, with new replicas.",
        button="Restart",
        only_if=_is_offered,
    ),
)
