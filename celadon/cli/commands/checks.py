"""``doctor``: a check-up."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from typing import Annotated

import typer

from celadon.cli.options import DataDirOption, OutputOption
from celadon.cli.output import OutputFormat
from celadon.cli.running import run


def doctor(
    data_dir: DataDirOption = None,
    *,
    fix: Annotated[bool, typer.Option("--fix", help="Repair what can be repaired safely.")] = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Check that every part is there and works, and that nothing was left behind; without --fix change nothing.

    Postgres and its tables, Temporal and its search attributes, a living keeper, routers and what they refused, sets
    that failed, rollouts without a workflow and workflows without a rollout, signals that were
    not delivered, replicas without a deployment.

    --fix upgrades the tables, registers search attributes, ends what was left of terminated rollouts, delivers
    signals when no keeper lives, and ends stray processes of replicas. It never touches what a living keeper owns, and
    says what is left to a person. Exits 1 when something is wrong that was not repaired.

    Examples:
    ```console
    celadon doctor
    celadon doctor --fix
    celadon doctor -o json | jq '.findings[] | select(.verdict != "fine")'
    ```
    """
    from celadon.cli.doctor.check_up import check_up

    run(lambda: check_up(data_dir, output, fix=fix), output)
