"""Register a revision without rolling it out."""

# ruff: noqa: PLC0415 - declaring a command needs no database

from celadon.domain.decisions.new_revision import check_new_revision
from celadon.domain.language.base_models import Record, StrictModel
from celadon.domain.language.commands import Reason
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.names import RevisionNumber
from celadon.domain.language.permissions import Verb
from celadon.domain.language.revision import Revision
from celadon.service.command import Call, Command, Graph, Line, Option, Rest, Scope, Terminal
from celadon.service.typed import ALLOW_PLAIN_SECRETS


class AddRevisionRequest(StrictModel):
    """A revision that is to be registered."""

    revision: Revision
    """What is to be served and how, as a deployment file writes it."""
    reason: Reason = ""
    allow_plain_secrets: bool = False
    """Allows plain values under variables whose names look like secrets."""


class AddRevisionResult(Record):
    """The answer to an added revision."""

    deployment: str
    """The deployment's name."""
    revision: RevisionNumber
    """The revision's number; the same content has the same number."""


async def add_revision(call: Call[AddRevisionRequest]) -> AddRevisionResult:
    """Register a revision; the same content has the same number."""
    from celadon.table.rollouts.registration import add_revision as register

    request = call.request
    _refuse_plain_secrets(request.revision, allowed=request.allow_plain_secrets)
    check_new_revision(request.revision)
    async with call.service.serving(call, [Verb.CREATE]) as tx:
        number = await register(tx, call.subject, request.revision, call.service.author(call.who, request.reason))
    return AddRevisionResult(deployment=call.subject, revision=number)


def _refuse_plain_secrets(revision: Revision, *, allowed: bool) -> None:
    """Refuse a revision with plain values under names that look like secrets, unless they are allowed."""
    names = () if allowed else revision.plain_secrets()
    if names:
        raise refuse(
            RefusalCode.PLAIN_SECRET,
            f"plain values under names that look like secrets: {', '.join(names)}",
            "write {secret: NAME} instead, or set allow_plain_secrets: true",
        )


def _summary(result: AddRevisionResult) -> tuple[Line, ...]:
    text = f"It is r{result.revision} of {result.deployment}. Roll it out with: "
    return (Line(text=f"{text}celadon rollout start {result.deployment} --revision {result.revision}"),)


COMMAND = Command(
    verb="add_revision",
    scope=Scope.DEPLOYMENT,
    place=10,
    about="Register a revision without rolling it out.",
    right=Verb.CREATE,
    request=AddRevisionRequest,
    result=AddRevisionResult,
    run=add_revision,
    summary=_summary,
    rest=Rest(
        path="/deployments/{name}/revisions",
        status=201,
        takes_id=False,
        twice_is_once=True,
        about="Register a revision without rolling it out; the same content has the same number.",
    ),
    graph=Graph(
        mutation="add_revision",
        about_input="A revision that is to be registered, as a deployment file writes it.",
        about_payload="A revision is registered.",
        about_answer="The revision's number, or why it was not registered.",
        shown={"deployment": "@deployment", "revision": "revision"},
    ),
    terminal=Terminal(
        words=("revision", "add"),
        hook="celadon.cli.registering:add_revision",
        file="A deployment file, YAML or JSON; - is standard input.",
        takes_settings=True,
        options={"allow_plain_secrets": ALLOW_PLAIN_SECRETS, "reason": Option()},
        help="""Register the revision of a deployment file without rolling it out.

        The same content keeps the number that it has had before, so a pipeline can register what it has built, and a
        person rolls it out later. The deployment must be there; the file's other keys are checked and not used.

        Examples:
        ```console
        celadon revision add -f chat.yaml
        celadon revision add -f chat.yaml --set revision.env.MODEL=llama-3-70b -o json | jq .revision
        ```
        """,
    ),
)
