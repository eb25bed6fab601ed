"""What a command is: one declaration, from which every door makes its own form.

Declaring commands needs neither a database nor Temporal: the command line reads the same declarations, and what a
command does is loaded when it is carried out.
"""

# ruff: noqa: PLC0415 - see above

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from pydantic import BaseModel

from celadon.domain.language.base_models import Record
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import RolloutOutcome, RolloutPhase

if TYPE_CHECKING:
    from celadon.domain.language.progress import Progress
    from celadon.service.answers import TargetRollout
    from celadon.service.principal import Principal
    from celadon.service.service import Service
    from celadon.table.records.deployments import DeploymentView
    from celadon.table.records.rollouts import RolloutRecord

RequestT = TypeVar("RequestT", bound=BaseModel)
ResultT = TypeVar("ResultT", bound=BaseModel)


class Scope(StrEnum):
    """What a command is about, which decides what its address names."""

    ROLLOUT = "rollout"
    """The rollout of a deployment that is under way."""
    DEPLOYMENT = "deployment"
    """A deployment."""
    FLEET = "fleet"
    """No deployment that is there: a new one, or what all of them share."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Call(Generic[RequestT]):
    """One call of a command, whose caller may give it."""

    who: "Principal"
    subject: str
    """The deployment's or router's name; empty when the request names it."""
    request: RequestT
    request_id: str | None
    target_rollout: "TargetRollout"
    """The rollout that is meant; without numbers where the command is about none."""
    service: "Service"


Run: TypeAlias = Callable[[Call[RequestT]], Coroutine[Any, Any, ResultT]]


class Tone(StrEnum):
    """How good it is what some words say; each door has a colour for each."""

    PLAIN = ""
    QUIET = "quiet"
    """Less important than what stands beside it."""
    GOOD = "good"
    DONE = "good"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line that people read."""

    text: str
    strong: str = ""
    """What stands before it, emphasised."""
    tone: Tone = Tone.DONE
    """The tone of the emphasis."""


class Notice(Record):
    """What came of a command, in a sentence or two."""

    tone: Tone
    text: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Rest:
    """A command's REST operation; what is not said follows from verb and scope."""

    method: str = "POST"
    path: str = ""
    """Below ``/v1``, with ``{name}`` for the subject; a deployment's by the verb when empty."""
    name: str = ""
    """The operation's name, the verb when empty."""
    status: int = 200
    in_query: bool = False
    """Whether the request's fields are query parameters, since the method has no body."""
    takes_id: bool = True
    """Whether a repeat is known by its ``Idempotency-Key``."""
    twice_is_once: bool = False
    """Whether a repeat without an id changes nothing more."""
    about: str = ""
    """What the operation does; the command's own sentence when empty."""
    subject: str = ""
    """What the path's parameter is, when it is not a deployment's name."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Graph:
    """A command's GraphQL mutation; what is not said follows from verb, scope and models."""

    mutation: str = ""
    """In snake case; such as ``promote_deployment``."""
    input: str = ""
    payload: str = ""
    answer: str = ""
    """Names of the types; the mutation's with ``Input``, ``Payload`` and ``Answer`` when empty."""
    about: str = ""
    """What the mutation does; the command's own sentence when empty."""
    about_input: str = ""
    about_payload: str = ""
    about_answer: str = ""
    subject: str = "deployment"
    """What the first field of the input names, such as ``deployment_id``; empty when the request names all."""
    about_subject: str = "The deployment's name."
    model: type[BaseModel] | None = None
    """What the input looks like, when that is not the request."""
    read: Callable[[str, Mapping[str, Any]], Mapping[str, Any]] | None = None
    """Makes the request of the subject and such an input, for the one parser."""
    required: frozenset[str] = frozenset()
    """Fields that must be given here, although the request does without."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Names of fields of the input that differ from the request's, by the request's name."""
    shown: Mapping[str, Any] | None = None
    """The payload: where each field stands in the result, ``a.b`` inside of ``a``; all of the result when not given.

    ``@deployment`` and ``@rollout`` are what they are after that; a nested type is a pair of its name and its fields.
    """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Option:
    """What the command line says of a field of the request."""

    help: str = ""
    flag: str = ""
    """Such as ``--label``; the field's name with dashes when empty."""
    metavar: str | None = None
    default: str = ""
    """What is said in place of the default."""
    is_argument: bool = False
    """Whether it is given by its place and not by its name."""
    parse: Callable[[Any], object] | None = None
    """Makes the field's value of what was typed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Terminal:
    """A command of the command line; what is not said follows from verb, scope and models."""

    words: tuple[str, ...] = ()
    """The words that a person types after ``celadon``; the verb when there are none."""
    panel: str = "Decide"
    help: str = ""
    """What ``--help`` says, with examples; made of the command's own sentence when empty."""
    file: str = ""
    """What ``--file`` reads, in which the request stands; no such option when empty."""
    policy_file: str = ""
    """What ``--policy`` reads, whose keys the request takes that its file does not say; no such option when empty."""
    takes_settings: bool = False
    """Whether ``--set`` writes keys into the request."""
    options: Mapping[str, Option] = field(default_factory=dict)
    """By field; where the request stands in a file or its keys can be set, no other field is an option."""
    switches: Mapping[str, str] = field(default_factory=dict)
    """More options that are only on or off, by name with their help: of the hook, or of ``check``."""
    may_ask: bool = False
    """Whether the hook may ask before it acts, so that ``--yes`` is an option."""
    doing: str = ""
    """Said before a decision, such as ``Promoting``."""
    check: Callable[[Mapping[str, Any]], tuple[str, str] | None] | None = None
    """Returns what is wrong with what was typed and with which option, if anything is."""
    wait: str = ""
    """What ``--wait`` waits for; no such option when empty."""
    timeout: str = ""
    """What ``--timeout`` bounds, when that is not ``--wait`` alone."""
    takes_id: bool = False
    """Whether ``--request-id`` is an option."""
    signal: str = ""
    """The signal that does the same as soon as a worker runs, for whoever cannot wait for one; empty for none."""
    good_ends: frozenset[RolloutOutcome] = frozenset({RolloutOutcome.PROMOTED})
    """Ends of the rollout that are a success for who waits for it."""
    node: str = ""
    """What its argument is, when it is not a deployment's name."""
    hook: str = ""
    """``module:function`` of the command line that carries it out in a way of its own, with the same arguments."""
    is_there: bool = True
    """False for a command whose words stand in a module of the command line of their own."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class DeploymentState:
    """A deployment at the moment at which somebody looks at it."""

    deployment: "DeploymentView"
    record: "RolloutRecord | None"
    """The rollout under way."""
    phase: RolloutPhase | None
    abort_pending: bool = False
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Form:
    """A command's form on a deployment's page; ``{green}`` and ``{blue}`` stand for the two revisions."""

    title: str
    what: str
    button: str
    tone: str = ""
    fields: tuple[str, ...] = ()
    """Numbers that a person types, beside the reason."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """What else a person may type, or leave empty, with what is said of it; ``yes`` and ``no`` are true and false."""
    only_if: Callable[[DeploymentState], bool] = lambda _: True
    """What must hold beside the phase."""
    without_rollout: "tuple[str, str, str] | None" = None
    """Title, sentence and button while no rollout is under way and a set is live; ``None`` for no form then."""


def _no_more(_: Any) -> tuple[Verb, ...]:  # noqa: ANN401 - any request
    return ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Command(Generic[RequestT, ResultT]):
    """A command: who may give it and when, what it takes, does and answers, and what people read of it."""

    verb: str
    scope: Scope
    place: int
    """Where it stands among the others, in lists that people read."""
    about: str
    """What it does, in a sentence."""
    right: Verb
    more_rights: Callable[[RequestT], tuple[Verb, ...]] = _no_more
    """What this request takes beside the right."""
    request: type[RequestT]
    result: type[ResultT]
    run: Run[RequestT, ResultT]
    without_rollout: bool = False
    """Whether a command about a rollout can be given while none is under way."""
    is_refused: "Callable[[Progress], object] | None" = None
    """The domain's own refusal of it, given how far a rollout is; of a rollout's commands alone."""
    summary: Callable[[ResultT], tuple[Line, ...]]
    """What is said when it was done."""
    page_notice: Callable[[ResultT], Notice] | None = None
    """The same in a sentence or two for a page; made of the lines when not given."""
    asks: Callable[[str, Mapping[str, Any]], str] | None = None
    """The question that a terminal asks first, given the subject and the request's values; empty for none."""
    rest: Rest = Rest()
    graph: Graph = Graph()
    terminal: Terminal = Terminal()
    more_terminals: tuple[Terminal, ...] = ()
    """Other words of the command line by which it is given, each with options of their own."""
    form: Form | None = None
    can_be_scheduled: bool = False
    """Whether a schedule may give it: it makes sense at a moment for which nobody is there to look."""

    @property
    def phases(self) -> frozenset[RolloutPhase]:
        """The phases in which the rollout takes it; none for a command about no rollout."""
        return frozenset() if self.is_refused is None else _phases_that_take(self.is_refused)

    def rights_for(self, request: RequestT) -> tuple[Verb, ...]:
        """Return every right that a request takes, the command's own first."""
        return (self.right, *self.more_rights(request))

    def notice(self, result: ResultT) -> Notice:
        """Return what a page says when it was done."""
        if self.page_notice is not None:
            return self.page_notice(result)
        lines = self.summary(result)
        tones = [line.tone for line in lines]
        tone = next((one for one in (Tone.BAD, Tone.WARN) if one in tones), Tone.DONE)
        return Notice(tone=tone, text=" ".join(line.strong + line.text for line in lines))

    def is_offered(self, state: DeploymentState) -> bool:
        """Whether a page offers it now."""
        if self.form is None:
            return False
        if self.scope is Scope.ROLLOUT and state.record is None and self.form.without_rollout is not None:
            return state.deployment.live_set is not None and not state.deployment.lifecycle.is_deleted
        if self.scope is Scope.ROLLOUT and state.phase not in self.phases:
            return False
        return self.form.only_if(state)


AnyCommand: TypeAlias = Command[Any, Any]


def rest_path(command: AnyCommand) -> str:
    """Return the path of a command's REST operation, below ``/v1``."""
    return command.rest.path or f"/deployments/{{name}}/{command.verb.replace('_', '-')}"


def words_of(command: AnyCommand, terminal: Terminal | None = None) -> tuple[str, ...]:
    """Return the words by which a person gives a command, after ``celadon``; the first that there are by default."""
    return (terminal or command.terminal).words or (command.verb.replace("_", "-"),)


def terminals_of(command: AnyCommand) -> tuple[Terminal, ...]:
    """Return every way in which the command line gives a command."""
    return (command.terminal, *command.more_terminals)


def mutation_name(command: AnyCommand) -> str:
    """Return the name of a command's mutation, in snake case."""
    scope = "" if command.scope is Scope.FLEET else f"_{command.scope.value}"
    return command.graph.mutation or f"{command.verb}{scope}"


@cache
def _phases_that_take(is_refused: "Callable[[Progress], object]") -> frozenset[RolloutPhase]:
    """Return the phases in which the domain refuses a message for no reason that the phase gives."""
    return frozenset(phase for phase in RolloutPhase if is_refused(_progress(phase)) is None)


def _progress(phase: RolloutPhase) -> "Progress":
    """Return a paused rollout in a phase that has a healthy green and a blue.

    It has also what can be withdrawn: approvals before the switch, in the bake an abort that is pending.
    """
    from celadon.domain.decisions.pause import WITH_TIMERS
    from celadon.domain.language.approval import ApprovalRule
    from celadon.domain.language.commands import AbortCommand
    from celadon.domain.language.messages import GreenChanged
    from celadon.domain.language.names import RouteSetId
    from celadon.domain.language.pause import Pause
    from celadon.domain.language.policy import BlueGreenPolicy
    from celadon.domain.language.progress import AbortRequest, PendingAbort, Progress
    from celadon.domain.language.states import Channel, SetCondition

    green = GreenChanged(
        route_set=RouteSetId(2), seq=1, condition=SetCondition.READY, running=1, ready=1, required=1, wanted=1
    )
    since = datetime(2020, 1, 1, tzinfo=UTC)
    request = AbortRequest(command=AbortCommand(), door=Channel.API, at=since)
    pending = PendingAbort(request=request, since=since, why="") if phase is RolloutPhase.BAKING else None
    at_gate = phase in {RolloutPhase.VERIFYING, RolloutPhase.AWAITING_PROMOTION}
    return Progress(
        deployment="any",
        policy=BlueGreenPolicy(approvals=ApprovalRule(count=1)) if at_gate else BlueGreenPolicy(),
        phase=phase,
        since=since,
        blue_set=RouteSetId(1),
        green=green,
        pending=pending,
        paused=Pause(by="", door=Channel.API, reason="", since=since) if phase in WITH_TIMERS else None,
    )
