"""What can be decided on the console's pages, beside what the service's views say of a deployment and a rollout."""

import uuid
from collections.abc import Collection
from datetime import datetime

from celadon.domain.language.base_models import Record
from celadon.domain.language.contracts import workflow_id
from celadon.domain.language.moments import span
from celadon.domain.language.permissions import Verb
from celadon.service.command import AnyCommand, DeploymentState, Scope
from celadon.service.registry import commands
from celadon.service.rollout_view import RolloutView
from celadon.service.rollout_words import in_words, revision_name
from celadon.service.views.deployment import DeploymentDetail, UnregisteredDetail, deployment_detail
from celadon.table.records.deployments import DeploymentView
from celadon.table.records.rollouts import RolloutRecord


class FormField(Record):
    """What a person types, and what it is now."""

    name: str
    title: str
    value: str


class Decision(Record):
    """Something that a person can decide now, and whether this person may."""

    verb: str
    title: str
    what: str
    button: str
    tone: str
    allowed: bool
    why_not: str
    request_id: str
    """Under which the decision is sent: sent twice, it is taken once."""
    means: dict[str, str]
    """Which rollout and revision are meant, sent along so that another one is refused."""
    fields: tuple[FormField, ...] = ()
    """Numbers that the person types."""
    texts: tuple[FormField, ...] = ()
    """What else the person may type."""


class DeploymentPage(Record):
    """A deployment, and what can be decided about it."""

    shown: DeploymentDetail
    decisions: tuple[Decision, ...]
    decisions_key: str
    """Changes when other decisions are possible, and only then."""
    nothing_to_decide: str
    workflow: str
    """The address of its workflow in Temporal's UI; empty when that is not known."""


def deployment_page(view: RolloutView, rights: Collection[Verb], temporal_ui: str, now: datetime) -> DeploymentPage:
    """Return a deployment's page.

    Args:
        view: what is known; its deployment is registered.
        rights: what this person may do.
        temporal_ui: the address of Temporal's UI and namespace, empty when it is not known.
        now: the moment to which spans are counted.

    Raises:
        ValueError: the deployment is not registered yet.

    """
    shown, deployment = deployment_detail(view, now), view.deployment
    if isinstance(shown, UnregisteredDetail) or deployment is None:
        raise ValueError("a deployment that is not registered has no page")
    decisions = _decisions(view, deployment, rights)
    under_way = deployment.rollout is not None and deployment.rollout.outcome is None
    return DeploymentPage(
        shown=shown,
        decisions=decisions,
        decisions_key=" ".join(f"{one.verb}:{'.'.join(one.means.values())}" for one in decisions),
        nothing_to_decide=_nothing_to_decide(deployment, under_way=under_way),
        workflow=workflow_link(temporal_ui, deployment.rollout),
    )


def workflow_link(temporal_ui: str, record: RolloutRecord | None) -> str:
    """Return where Temporal's UI shows a rollout: whichever run it goes on in, or the one that began what has ended."""
    if not temporal_ui or record is None:
        return ""
    workflow = f"{temporal_ui.rstrip('/')}/workflows/{workflow_id(record.deployment)}"
    return workflow if record.outcome is None else f"{workflow}/{record.run_id}/history"


def _decisions(view: RolloutView, deployment: DeploymentView, rights: Collection[Verb]) -> tuple[Decision, ...]:
    """Return what can be decided in the present phase, as the commands declare it."""
    record, status = deployment.rollout, view.status
    under_way = record if record is not None and record.outcome is None else None
    state = DeploymentState(
        deployment=deployment,
        record=under_way,
        phase=None if under_way is None else view.phase,
        abort_pending=status is not None and status.abort_requested != "",
        paused=status is not None and status.paused_since is not None,
    )
    return tuple(_decision(command, state, rights) for command in commands() if command.is_offered(state))


def _decision(command: AnyCommand, state: DeploymentState, rights: Collection[Verb]) -> Decision:
    form, record = command.form, state.record
    if form is None:
        raise ValueError(f"{command.verb} has no form")
    names = {
        "green": "" if record is None else revision_name(record.to_revision),
        "blue": "" if record is None else revision_name(record.from_revision),
    }
    means: dict[str, str] = {}
    texts = (form.title, form.what, form.button)
    if record is None and form.without_rollout is not None:
        texts = form.without_rollout
    title, what, button = (text.format_map(names) for text in texts)
    if record is not None and command.scope is Scope.ROLLOUT:
        means["rollout"] = str(record.rollout)
        if "revision" in command.request.model_fields:
            means["revision"] = str(record.to_revision)
            what = f"{what} {_while_it_bakes(record)}".rstrip()
    allowed = command.right in rights
    return Decision(
        verb=command.verb,
        title=title,
        what=what,
        button=button,
        tone=form.tone,
        allowed=allowed,
        why_not="" if allowed else f"Your token may not {command.verb}. Ask somebody whose role allows it.",
        request_id=str(uuid.uuid4()),
        means=means,
        fields=tuple(
            FormField(name=one, title=in_words(one).capitalize(), value=str(getattr(state.deployment, one, "")))
            for one in form.fields
        ),
        texts=tuple(FormField(name=one, title=title, value="") for one, title in form.texts.items()),
    )


def _while_it_bakes(record: RolloutRecord) -> str:
    return f"For {span(record.policy.bake)} you can go back at once." if record.blue_set is not None else ""


def _nothing_to_decide(deployment: DeploymentView, *, under_way: bool) -> str:
    if deployment.lifecycle.is_deleted:
        return "The deployment is being deleted."
    return "Nothing can be decided in this phase." if under_way else "No rollout is under way."
