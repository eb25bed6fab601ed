"""``doctor``: a check-up."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from celadon.cli.options import DataDirOption, OutputOption
from celadon.cli.output import OutputFormat
from celadon.cli.running import run


def doctor(data_dir: DataDirOption = None, output: OutputOption = OutputFormat.TEXT) -> None:
    """Check that everything is there and somebody is at work; says what to do next, changes nothing.

    Postgres and its tables, Temporal and its search attributes, a living keeper, owed signals, routers and what they
    refused, rollouts whose workflow is gone, sets that failed. Exits 1 when something is wrong.

    Examples:
    ```console
    celadon doctor
    celadon doctor -o json | jq '.findings[] | select(.verdict != "fine")'
    ```
    """
    from celadon.cli.doctor import check_up

    run(lambda: check_up(data_dir, output), output)
