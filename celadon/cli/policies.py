"""``celadon policy show`` and ``set``."""

from pathlib import Path

import typer

from celadon.cli.access.opening import open_access
from celadon.cli.columns import table_of
from celadon.cli.deployment_file import read_policy_file, with_settings
from celadon.cli.giving import CommandArguments, give
from celadon.cli.output import OutputFormat, print_answer
from celadon.cli.target import TargetChoice
from celadon.domain.language.moments import moment
from celadon.ending import ExitCode
from celadon.service.commands.set_defaults import COMMAND as SET_DEFAULTS
from celadon.service.commands.set_policy import COMMAND as SET_POLICY
from celadon.service.file_places import Content
from celadon.service.views.policy import ShownPolicy, defaults_rows, policy_rows
from celadon.terminal import Table, Text


async def show_policy(deployment: str | None, target: TargetChoice, output: OutputFormat) -> ExitCode:
    """Show every key of a deployment's policy, or of the installation's defaults, with its layer.

    Raises:
        CommandError: there is no Celadon.
        RefusedError: there is no such deployment.

    """
    async with open_access(target) as access:
        shown = await access.policy(deployment)
    print_answer(shown, output, lambda: [policy_table(shown), *([changes_table(shown)] if shown.changes else [])])
    return ExitCode.DONE


def policy_table(shown: ShownPolicy) -> Table:
    """Return a policy, with what is not Celadon's own value standing out."""
    table = table_of("KEY", "VALUE", "FROM")
    for one in policy_rows(shown.policy):
        style = "bold" if one.is_set else ""
        table.add_row(Text(one.key, style=style), Text(one.value, style=style), one.layer)
    return table


def changes_table(shown: ShownPolicy) -> Table:
    """Return the last changes of the defaults, newest first."""
    table = table_of("CHANGED (UTC)", "BY", "WHAT", "WHY")
    for one in defaults_rows(shown.changes):
        table.add_row(moment(one.at), Text(one.by), Text(", ".join(one.changes)), Text(one.reason or "-"))
    return table


async def change_policy(  # noqa: PLR0913 - each is an option that a person can give
    deployment: str | None,
    settings: tuple[str, ...],
    file: Path | None,
    unset: tuple[str, ...],
    *,
    reason: str,
    by: str | None,
    target: TargetChoice,
    output: OutputFormat,
) -> ExitCode:
    """Change keys of a deployment's own policy, or of the installation's defaults.

    Raises:
        BadParameter: a setting is none.
        CommandError: the file cannot be read, or there is no Celadon.
        RefusedError: it was refused; it says why.

    """
    read = Content({}, {}) if file is None else read_policy_file(file)
    try:
        policy = with_settings(read, settings, of_policy=True)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="KEY=VALUE") from error
    values = {"policy": policy, "unset": unset, "reason": reason}
    if deployment is None:
        return await give(SET_DEFAULTS, CommandArguments(subject="", values=values, by=by), target, output)
    return await give(SET_POLICY, CommandArguments(subject=deployment, values=values, by=by), target, output)
