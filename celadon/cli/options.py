"""Options and arguments that several commands take."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from pydantic import TypeAdapter, ValidationError

from celadon.cli.output import OutputFormat
from celadon.domain.durations import parse_duration
from celadon.domain.names import DeploymentName


def parse_duration_option(value: str) -> timedelta:
    """Read a duration of the command line."""
    try:
        duration = parse_duration(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if duration < timedelta(0):
        raise typer.BadParameter("a duration is never negative")
    return duration


def _check_deployment_name(value: str) -> str:
    """Refuse what can be no deployment's name."""
    try:
        return TypeAdapter[str](DeploymentName).validate_python(value)
    except ValidationError as error:
        raise typer.BadParameter(error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")) from error


DeploymentArgument: TypeAlias = Annotated[
    str,
    typer.Argument(help="The deployment's name.", callback=_check_deployment_name, metavar="DEPLOYMENT"),
]

OutputOption: TypeAlias = Annotated[
    OutputFormat,
    typer.Option("--output", "-o", help="For people, or one JSON object for programs."),
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
