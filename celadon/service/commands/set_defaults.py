"""Change the defaults of the installation."""

# ruff: noqa: PLC0415 - declaring a command needs no database

from celadon.domain.language.permissions import Verb
from celadon.service.change_log import log_change
from celadon.service.command import Call, Command, Graph, Line, Rest, Scope, Terminal
from celadon.service.policy_keys import ChangedKeys, OtherKeys, summary_of_keys


class SetDefaultsRequest(OtherKeys):
    """Asks for other keys of the installation's defaults; keys that are not named stay as they are."""


class SetDefaultsResult(ChangedKeys):
    """The answer to other keys of the installation's defaults."""


async def set_defaults(call: Call[SetDefaultsRequest]) -> SetDefaultsResult:
    """Change the defaults, for rollouts that begin from now on."""
    from celadon.table.rollouts.default_policy import set_defaults as change

    request, who = call.request, call.who
    async with call.service.transaction() as tx:
        changed = await change(
            tx,
            request.policy,
            request.unset,
            call.service.author(who, request.reason),
            lambda verb, why: who.require([verb], why),
        )
    if changed.changes:
        log_change("defaults_changed", by=who.name, keys=[one.field for one in changed.changes], reason=request.reason)
    return SetDefaultsResult(changed=bool(changed.changes), changes=changed.changes, policy=changed.policy)


def _summary(result: SetDefaultsResult) -> tuple[Line, ...]:
    return summary_of_keys(
        result,
        unchanged="The defaults are so already; nothing was changed.",
        changed="The defaults are changed for rollouts that begin from now on, where neither the deployment nor the "
        "request says otherwise; a rollout under way keeps its own policy.",
    )


COMMAND = Command(
    verb="set_defaults",
    scope=Scope.FLEET,
    place=106,
    about="Change keys of the installation's defaults, which count where a deployment says nothing itself.",
    right=Verb.SET_DEFAULTS,
    request=SetDefaultsRequest,
    result=SetDefaultsResult,
    run=set_defaults,
    summary=_summary,
    rest=Rest(method="PATCH", path="/policy", name="set_defaults", takes_id=False, twice_is_once=True),
    graph=Graph(
        mutation="set_default_policy",
        subject="",
        about_input="Asks for other keys of the installation's defaults.",
        about_payload="The installation's defaults are so.",
        about_answer="What changed, or why nothing did.",
        shown={"changed": "changed", "changes": "changes", "policy": "policy"},
    ),
    terminal=Terminal(words=("policy", "set", "--default"), is_there=False),
)
