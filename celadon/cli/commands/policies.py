"""``policy``: how rollouts go that say nothing themselves, of a deployment or of the whole installation."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from celadon.cli.completion import complete_deployments
from celadon.cli.options import ByOption, OutputOption, ReasonOption, check_deployment_name
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.cli.target import TargetChoice
from celadon.cli.targeting import speaks_to_celadon

_DefaultOption: TypeAlias = Annotated[
    bool, typer.Option("--default", help="The installation's defaults, instead of a deployment's own policy.")
]
_Deployment: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        help="The deployment's name; none with --default.",
        metavar="DEPLOYMENT",
        autocompletion=complete_deployments,
        show_default=False,
    ),
]

policy_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


@policy_app.command()
@speaks_to_celadon
def show(
    deployment: _Deployment = None,
    *,
    default: _DefaultOption = False,
    target: TargetChoice,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show every key of a deployment's policy, and the layer that gives its value.

    'default' is Celadon's own value, 'installation' stands in the installation's defaults, 'deployment' in the
    deployment's own policy. A rollout's request is the last layer: 'celadon plan -f FILE' shows all of them.

    Examples:
    ```console
    celadon policy show chat
    celadon policy show --default
    celadon policy show chat -o json | jq -r '.policy[] | select(.layer == "deployment") | .key'
    ```
    """
    from celadon.cli.policies import show_policy

    name = None if default else _named(deployment)
    if default and deployment is not None:
        raise typer.BadParameter(_ONE_OF_BOTH, param_hint="DEPLOYMENT")
    run(lambda: show_policy(name, target, output), output)


@policy_app.command(name="set")
@speaks_to_celadon
def set_(  # noqa: PLR0913 - each is an option that a person can give
    deployment: _Deployment = None,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Keys that the policy gets, VALUE as a policy file writes it."),
    ] = None,
    *,
    default: _DefaultOption = False,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", metavar="FILE", help="A policy file: keys that the policy gets; KEY=VALUE wins."),
    ] = None,
    unset: Annotated[
        list[str] | None,
        typer.Option(
            "--unset", metavar="KEY", help="A key that it loses, so that the weaker layer applies. May be repeated."
        ),
    ] = None,
    reason: ReasonOption = "",
    by: ByOption = None,
    target: TargetChoice,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Change keys of a deployment's own policy, or of the installation's defaults; other keys stay as they are.

    It counts for rollouts that begin from then on; a rollout under way keeps the policy that it began with. The
    defaults count where neither the deployment nor the request says otherwise, and defaults that a deployment could
    not keep beside its own policy are refused. It takes the role admin; the audit log says who changed what from
    what, and why.

    Examples:
    ```console
    celadon policy set chat bake=10m approvals.count=2 --reason "two people since the incident"
    celadon policy set chat --file careful.policy.yaml
    celadon policy set chat --unset bake
    celadon policy set --default bake=10m max_regressions=3
    ```
    """
    from celadon.cli.policies import change_policy

    typed = tuple(settings or ())
    if default and deployment is not None:
        if "=" not in deployment:
            raise typer.BadParameter(_ONE_OF_BOTH, param_hint="DEPLOYMENT")
        typed = (deployment, *typed)
    name = None if default else _named(deployment)
    changes = typed, file, tuple(unset or ())
    run(lambda: change_policy(name, *changes, reason=reason, by=by, target=target, output=output), output)


_ONE_OF_BOTH: Final = "name a deployment, or say --default; never both"


def _named(deployment: str | None) -> str:
    """Return the deployment's name, which is not optional without --default."""
    name = check_deployment_name(deployment)
    if name is None:
        raise typer.BadParameter("name a deployment, or say --default", param_hint="DEPLOYMENT")
    return name
