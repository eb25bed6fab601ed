"""Options and arguments that several commands take."""

# ruff: noqa: PLC0415 - what checks a value is loaded with the first value that is given

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

from celadon.cli.completion import complete_deployments
from celadon.cli.output import OutputFormat

_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,200}")


def parse_duration_option(value: str) -> timedelta:
    """Read a duration of the command line."""
    from celadon.domain.language.durations import parse_duration

    try:
        duration = parse_duration(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if duration < timedelta(0):
        raise typer.BadParameter("a duration is never negative")
    return duration


def parse_revision_option(value: str) -> int:
    """Read the number of a revision of the command line, also written as ``r2``."""
    from celadon.domain.language.names import revision_number

    number = revision_number(f"r{value.removeprefix('r')}")
    if not isinstance(number, int):
        raise typer.BadParameter(f"{value!r} is no revision: write its number, such as 2 or r2")
    return number


def check_deployment_name(value: str | None) -> str | None:
    """Refuse what can be no deployment's name."""
    from celadon.domain.language.names import DeploymentName

    return None if value is None else _check_words(DeploymentName, value)


DeploymentArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        help="The deployment's name.",
        callback=check_deployment_name,
        metavar="DEPLOYMENT",
        autocompletion=complete_deployments,
    ),
]

DeploymentOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--deployment",
        help="Only this deployment.",
        callback=check_deployment_name,
        metavar="DEPLOYMENT",
        autocompletion=complete_deployments,
        show_default="all",
    ),
]


def check_person_option(value: str | None) -> str | None:
    """Refuse what can be nobody's name."""
    from celadon.domain.language.commands import Person

    return None if value is None else _check_words(Person, value)


def check_reason_option(value: str | None) -> str | None:
    """Refuse what can be no reason."""
    from celadon.domain.language.commands import Reason

    return None if value is None else _check_words(Reason, value)


def _check_words(kind: Any, value: str) -> str:  # noqa: ANN401 - types are values here
    from pydantic import TypeAdapter, ValidationError

    from celadon.domain.language.error_words import what_is_wrong

    try:
        return TypeAdapter[str](kind).validate_python(value)
    except ValidationError as error:
        raise typer.BadParameter(what_is_wrong(error.errors(include_url=False)[0])) from error


OutputOption: TypeAlias = Annotated[
    OutputFormat,
    typer.Option("--output", "-o", help="A table for people, or one object for programs."),
]

DataDirOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="The local stack to speak to; else DATABASE_URL and TEMPORAL_ADDRESS, else CELADON_DATA_DIR, "
        "else .celadon.",
        show_default=False,
        metavar="DIR",
    ),
]


def _check_request_id(value: str | None) -> str | None:
    """Refuse what cannot travel in a header."""
    if value is not None and not _REQUEST_ID.fullmatch(value):
        raise typer.BadParameter("a request id has 1 to 200 letters, digits and signs of ASCII, without spaces")
    return value


RequestIdOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--request-id",
        metavar="ID",
        callback=_check_request_id,
        help="A repeat with the same id gets the first answer.",
        show_default="a new one",
    ),
]

TimeoutOption: TypeAlias = Annotated[
    timedelta | None,
    typer.Option(
        "--timeout",
        parser=parse_duration_option,
        metavar="DURATION",
        help="With --wait: how long at most; what was begun goes on.",
        show_default="no limit",
    ),
]


ValidForOption: TypeAlias = Annotated[
    timedelta | None,
    typer.Option(
        "--valid-for",
        parser=parse_duration_option,
        metavar="DURATION",
        help="How long the certificate is valid, for example 90d.",
        show_default="365d",
    ),
]


YesOption: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first; needed without a terminal.")]

ByOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="NAME",
        callback=check_person_option,
        help="Who decides; goes into the audit log.",
        show_default="whose token it is, or your login name",
    ),
]
ReasonOption: TypeAlias = Annotated[
    str,
    typer.Option("--reason", metavar="TEXT", callback=check_reason_option, help="Why; goes into the audit log."),
]
RolloutOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--rollout",
        min=1,
        metavar="N",
        help="The rollout that you mean; refused when another one is under way.",
        show_default="the one under way",
    ),
]
ReasonOrFilesOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--reason",
        metavar="TEXT",
        callback=check_reason_option,
        help="Why; goes into the audit log.",
        show_default=False,
    ),
]
RequestedByOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--requested-by",
        metavar="NAME",
        callback=check_person_option,
        help="Who asks.",
        show_default="whose token it is, else the file's, else your login name",
    ),
]
SetOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a key of the request, for example replicas=5 or policy.bake=30s. May be repeated.",
    ),
]
