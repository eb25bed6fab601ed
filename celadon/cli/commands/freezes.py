"""``freezes``: those of all deployments."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from celadon.cli.options import OutputOption
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.cli.target import TargetChoice
from celadon.cli.targeting import speaks_to_celadon


@speaks_to_celadon
def freezes(target: TargetChoice, output: OutputOption = OutputFormat.TEXT) -> None:
    """List the freezes of all deployments that hold or are to come, newest first.

    Those of one deployment stand in 'celadon rollout status'.

    Examples:
    ```console
    celadon freezes
    celadon freezes -o json | jq -r '.freezes[].reason'
    ```
    """
    from celadon.cli.freezes import show_freezes

    run(lambda: show_freezes(target, output), output)
