"""``celadon deployment list`` and ``show``."""

from celadon.cli.access.opening import open_access
from celadon.cli.columns import table_of
from celadon.cli.output import OutputFormat, print_answer
from celadon.cli.target import TargetChoice
from celadon.cli.tree import rollout_tree, styled
from celadon.domain.decisions.layers import layers_of
from celadon.domain.language.moments import span
from celadon.domain.language.plan import PolicyLayer
from celadon.ending import ExitCode
from celadon.service.rollout_view import RolloutView, WorkflowAnswer
from celadon.service.views.deployments import DeploymentList, deployment_row
from celadon.service.views.policy import policy_rows
from celadon.table.records.deployments import DeploymentView
from celadon.terminal import Table, Text


async def show_deployments(target: TargetChoice, output: OutputFormat) -> ExitCode:
    """Show all deployments that were not destroyed.

    Raises:
        CommandError: Postgres is not there, or lacks the tables.

    """
    async with open_access(target) as access:
        listed = await access.deployments()
    none = "There is no deployment; create one with: celadon deploy -f FILE"
    print_answer(listed, output, lambda: [deployment_table(listed) if listed.items else none])
    return ExitCode.DONE


async def show_deployment(deployment: str, target: TargetChoice, output: OutputFormat) -> ExitCode:
    """Show a deployment, from the table alone.

    Raises:
        CommandError: Postgres is not there, or lacks the tables.
        RefusedError: there is no such deployment.

    """
    async with open_access(target) as access:
        view = await access.deployment(deployment)
    whole = RolloutView(deployment=view, workflow=WorkflowAnswer())
    print_answer(view, output, lambda: [rollout_tree(whole, view.at), "", policy_text(view)])
    return ExitCode.DONE


def deployment_table(listed: DeploymentList) -> Table:
    """Return deployments with what is live, where the latest rollout stands, and who must act."""
    table = table_of("DEPLOYMENT", "LIFECYCLE", "LIVE", "HEALTHY", "ROLLOUT", "PHASE", "SINCE", "WAITS FOR")
    for line in listed.items:
        row = deployment_row(line, listed.at)
        name = Text(row.name, style="bold")
        for mark in row.marks:
            name.append(f" ({mark.text})")
        table.add_row(
            name,
            Text(row.lifecycle, style="cyan"),
            styled(row.live),
            styled(row.health),
            row.move or "-",
            styled(row.phase),
            "-" if row.since is None else f"{span(listed.at - row.since)} ago",
            row.waits_for or "-",
        )
    return table


def policy_text(view: DeploymentView) -> Text:
    """Return the policy that a rollout would have which says nothing itself."""
    text = Text("policy", style="bold").append("  of a rollout that says nothing itself", style="not bold dim")
    for row in policy_rows(layers_of(view.policy, defaults=view.defaults)):
        text.begin_line(f"  {row.key}: {row.value}", style="not bold default")
        if row.layer != PolicyLayer.DEPLOYMENT.value:
            text.append(f"  ({row.layer})", style="dim")
    return text
