"""Give a deployment other labels."""

# ruff: noqa: PLC0415 - declaring a command needs no database

from celadon.domain.language.base_models import Record, StrictModel
from celadon.domain.language.commands import Reason
from celadon.domain.language.labels import Labels
from celadon.domain.language.permissions import Verb
from celadon.service.command import Call, Command, Graph, Line, Option, Rest, Scope, Terminal
from celadon.service.typed import pairs_typed


class LabelRequest(StrictModel):
    """Asks for other labels; the whole set is replaced."""

    labels: Labels
    """All labels that the deployment is to have."""
    reason: Reason = ""


class LabelResult(Record):
    """The answer to other labels."""

    deployment: str
    """The deployment's name."""
    labels: dict[str, str]
    """The labels that it has now."""
    changed: bool
    """False when it had the same labels already; then nothing was written."""


async def label(call: Call[LabelRequest]) -> LabelResult:
    """Give the deployment other labels."""
    from celadon.table.rollouts.registration import set_labels

    labels = call.request.labels
    call.who.require_scope(labels)
    async with call.service.serving(call, [Verb.LABEL]) as tx:
        author = call.service.author(call.who, call.request.reason)
        changed = await set_labels(tx, call.subject, labels, author)
    return LabelResult(deployment=call.subject, labels=labels, changed=changed)


def _summary(result: LabelResult) -> tuple[Line, ...]:
    label_list = ", ".join(f"{name}={value}" for name, value in sorted(result.labels.items())) or "no labels"
    return (
        Line(text=f"{result.deployment} has {label_list}{'' if result.changed else ' already; nothing was changed'}."),
    )


COMMAND = Command(
    verb="label",
    scope=Scope.DEPLOYMENT,
    place=100,
    about="Give a deployment other labels, by which tokens are scoped.",
    right=Verb.LABEL,
    request=LabelRequest,
    result=LabelResult,
    run=label,
    summary=_summary,
    rest=Rest(method="PUT", path="/deployments/{name}/labels", name="label_deployment", takes_id=False),
    graph=Graph(
        about_input="Asks for other labels; the whole set is replaced.",
        about_payload="A deployment has these labels.",
        about_answer="Whether the labels changed, or why they stay.",
        shown={"deployment": "@deployment", "changed": "changed"},
    ),
    terminal=Terminal(
        words=("deployment", "label"),
        options={
            "labels": Option(
                help="All labels of the deployment.",
                metavar="[NAME=VALUE]...",
                is_argument=True,
                parse=lambda given: pairs_typed(given, "NAME=VALUE"),
            ),
        },
        switches={"clear": "Remove all labels."},
        check=lambda typed: (
            ("name the labels that it shall have, or take all away with --clear", "")
            if bool(typed["labels"]) is typed["clear"]
            else None
        ),
        help="""Give a deployment other labels; labels that are not named are removed.

        Tokens can be scoped by labels, so who may see and change the deployment changes with them.

        Examples:
        ```console
        celadon deployment label chat team=search env=prod --reason "search took it over"
        celadon deployment label chat --clear
        ```
        """,
    ),
)
