"""Change a deployment's own policy."""

# ruff: noqa: PLC0415 - declaring a command needs no database

from celadon.domain.language.permissions import Verb
from celadon.service.command import Call, Command, Graph, Line, Rest, Scope, Terminal
from celadon.service.policy_keys import ChangedKeys, OtherKeys, summary_of_keys


class SetPolicyRequest(OtherKeys):
    """Asks for other keys of a deployment's own policy; keys that are not named stay as they are."""


class SetPolicyResult(ChangedKeys):
    """The answer to other keys of a deployment's own policy."""

    deployment: str
    """The deployment's name."""


async def set_policy(call: Call[SetPolicyRequest]) -> SetPolicyResult:
    """Change the deployment's own policy, for rollouts that begin from now on."""
    from celadon.table.rollouts.own_policy import set_policy as change

    request, who = call.request, call.who
    async with call.service.serving(call, [Verb.SET_POLICY]) as tx:
        changed = await change(
            tx,
            call.subject,
            request.policy,
            request.unset,
            call.service.author(who, request.reason),
            lambda verb, why: who.require([verb], why),
        )
    return SetPolicyResult(
        deployment=call.subject, changed=bool(changed.changes), changes=changed.changes, policy=changed.policy
    )


def _summary(result: SetPolicyResult) -> tuple[Line, ...]:
    name = result.deployment
    return summary_of_keys(
        result,
        unchanged=f"The policy of {name} is so already; nothing was changed.",
        changed=f"The policy of {name} is changed for rollouts that begin from now on; one under way keeps its own "
        f"('celadon reschedule {name}' changes its timers).",
    )


COMMAND = Command(
    verb="set_policy",
    scope=Scope.DEPLOYMENT,
    place=105,
    about="Change keys of a deployment's own policy; a rollout under way keeps the policy that it began with.",
    right=Verb.SET_POLICY,
    request=SetPolicyRequest,
    result=SetPolicyResult,
    run=set_policy,
    summary=_summary,
    rest=Rest(method="PATCH", path="/deployments/{name}/policy", name="set_policy", takes_id=False, twice_is_once=True),
    graph=Graph(
        mutation="set_deployment_policy",
        about_payload="A deployment's own policy is so.",
        about_answer="What changed, or why nothing did.",
        shown={"deployment": "@deployment", "changed": "changed", "changes": "changes", "policy": "policy"},
    ),
    terminal=Terminal(words=("policy", "set"), is_there=False),
)
