"""Commands that a schedule may give, and what each of them is asked with."""

# ruff: noqa: PLC0415 - the registry reads the modules that use this one

from collections.abc import Mapping

from pydantic import BaseModel

from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.limits import quoted
from celadon.domain.language.payload import parse_payload
from celadon.service.command import AnyCommand, Scope


def scheduled_command(verb: str) -> AnyCommand:
    """Return the command that a schedule gives.

    Raises:
        RefusedError: there is none of this verb, or it needs somebody who looks.

    """
    from celadon.service.registry import command_named, commands

    command = command_named(verb)
    if command is None or not command.can_be_scheduled:
        verbs = ", ".join(one.verb for one in commands() if one.can_be_scheduled)
        raise refuse(
            RefusalCode.UNKNOWN_MESSAGE,
            f"no schedule gives the command {quoted(verb)}",
            f"schedule one of: {verbs}",
        )
    return command


def scheduled_request(command: AnyCommand, deployment: str, argument: Mapping[str, object]) -> BaseModel:
    """Return what a command that a schedule gives is asked with.

    Raises:
        RefusedError: the argument does not parse, or names another deployment.

    """
    kind: type[BaseModel] = command.request
    if command.scope is not Scope.FLEET:
        return parse_payload(kind, argument)
    named = argument.get("deployment", deployment)
    if named != deployment:
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            f"the argument names the deployment {quoted(named)}, and the schedule is of {deployment}",
            "leave it out",
        )
    return parse_payload(kind, {**argument, "deployment": deployment})
