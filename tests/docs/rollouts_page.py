"""What the page about rollouts has from the code: phases, keys, guards, outcomes, holds and refusals."""

import inspect
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from celadon.domain.decisions import gate
from celadon.domain.decisions.after_switch import BAKE_TIMER
from celadon.domain.decisions.freezing import FREEZE_BEGINS, FREEZE_ENDS, freeze_told
from celadon.domain.decisions.narration import holding_reason, next_step
from celadon.domain.decisions.pause import PAUSE_TIMER
from celadon.domain.decisions.promotion import refuse_promotion
from celadon.domain.language.approval import ApprovalRule
from celadon.domain.language.commands import PromoteCommand
from celadon.domain.language.docstrings import attribute_docstrings
from celadon.domain.language.freeze import Freeze
from celadon.domain.language.growth import Growth
from celadon.domain.language.pause import Pause
from celadon.domain.language.policy import LATER_KEYS, BlueGreenPolicy
from celadon.domain.language.progress import Hold, HoldKind, PendingAbort, Progress
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase
from celadon.service.command import Scope
from celadon.service.registry import commands
from tests.docs.policy_page import kind
from tests.docs.refusals_of_code import WrittenRefusal, refusals_of
from tests.docs.tables import REPOSITORY, code, prose, table, value
from tests.docs.texts_of_code import HOLE
from tests.domain.rollouts import abort, rollout

PAGE: Final = REPOSITORY / "docs" / "rollouts.md"

TIMERS: Final[Mapping[RolloutPhase, tuple[str, ...]]] = MappingProxyType(
    {
        RolloutPhase.PROVISIONING: (gate.PROVISIONING_TIMER, PAUSE_TIMER),
        RolloutPhase.VERIFYING: (gate.PROVISIONING_TIMER, PAUSE_TIMER),
        RolloutPhase.AWAITING_PROMOTION: (
            gate.DELAY_TIMER,
            gate.PROMOTION_TIMER,
            gate.DEADLINE_TIMER,
            gate.HOLD_TIMER,
            FREEZE_BEGINS,
            FREEZE_ENDS,
            PAUSE_TIMER,
        ),
        RolloutPhase.SWITCHING: (),
        RolloutPhase.BAKING: (BAKE_TIMER, PAUSE_TIMER),
        RolloutPhase.DRAINING: (),
        RolloutPhase.ROLLING_BACK: (),
        RolloutPhase.COMPLETED: (),
    },
)
"""The timers of the workflow that may run in each phase, by the names that status and Temporal show."""

_MOVED_ON: Final[Mapping[RolloutPhase, str]] = MappingProxyType(
    {
        RolloutPhase.PROVISIONING: "the keeper, once all replicas of green run: `verifying`",
        RolloutPhase.VERIFYING: (
            "the keeper, once `min_healthy` of green are healthy: `awaiting_promotion`, or `switching` when that is "
            "decided and green has grown; a forced promotion: `switching`"
        ),
        RolloutPhase.AWAITING_PROMOTION: (
            "a person, a timer or the policy: `switching`, or `verifying` when a preview grows first; the keeper, when "
            "green regresses: `verifying`"
        ),
        RolloutPhase.SWITCHING: (
            "the table's answer: `baking`; when it refuses for green's health, `verifying`; else the phase before"
        ),
        RolloutPhase.BAKING: "the end of `bake`, or `finish`: `draining`; an abort that blue can take: `rolling_back`",
        RolloutPhase.DRAINING: (
            "the keeper, once no replica of blue is left: `completed`; an abort that blue can take: `rolling_back`"
        ),
        RolloutPhase.ROLLING_BACK: "the keeper, once no replica of green is left: `completed`",
        RolloutPhase.COMPLETED: "nobody",
    },
)

_USED_FOR: Final[Mapping[str, str]] = MappingProxyType(
    {
        "auto_promote": "`true` where nobody has to look at green before the switch.",
        "promote_after": "Time to look at green, or to test it by its preview, before a timer promotes.",
        "promote_at": "A switch at an agreed moment, however early green was ready.",
        "windows": "Switches only while somebody is there to go back.",
        "promotion_deadline": "No green holds replicas for longer that nobody promotes.",
        "on_deadline": "`promote` where silence means consent, `hold` where a person has to decide all the same.",
        "approvals": "No single person and no timer alone brings a revision live.",
        "preview_replicas": "A green that is only tested costs as little as possible until its promotion.",
        "max_total_replicas": "The machines, or the budget, carry so many replicas and no more.",
        "on_no_room": "`wait` where a rollout may begin while the replicas of the last one still drain.",
        "min_healthy": "A large green may switch while a replica of it is being replaced.",
        "provisioning_deadline": "More for models whose weights take long to load.",
        "max_replacements": "More where machines fail, less to learn of a broken revision sooner.",
        "max_regressions": "Less where a green that flaps must not go live by itself.",
        "bake": "As long as it takes to notice a fault under live traffic.",
        "failover": "Off where a request must never be answered by the former revision after a switch.",
        "failover_rollback": "As long as green may be away altogether while blue serves in its place.",
        "drain_timeout": "At least as long as the longest answer.",
        "router_ack_timeout": "How long the caller of a switch waits for routers; blue is kept for them in any case.",
        "rollback_window": "Which revisions count as proven, so that going back to them needs no gate.",
        "revision_history_limit": "How far back a rollback or a new rollout can name a revision by its number.",
        "event_retention": "How long the audit log has to answer questions.",
        "on_new_revision": "`replace` where only the newest revision counts, `queue` where each one has to go live.",
        "notify": "Who has to hear that a rollout waits, or has failed.",
    },
)

_ENDS: Final[Mapping[RolloutOutcome, tuple[str, str]]] = MappingProxyType(
    {
        RolloutOutcome.PROMOTED: ("green", "Completed"),
        RolloutOutcome.ROLLED_BACK: ("blue", "Completed"),
        RolloutOutcome.ABORTED: ("blue, or nothing", "Completed"),
        RolloutOutcome.EXPIRED: ("blue, or nothing", "Completed"),
        RolloutOutcome.SUPERSEDED: ("blue, or nothing", "Completed"),
        RolloutOutcome.FAILED: (
            "blue, or nothing; after a termination, what was live then",
            "Failed, with the result in its details; Terminated when somebody has terminated it",
        ),
    },
)
"""What is live afterwards, and how the workflow ends."""

_GO_AHEAD: Final[Mapping[gate.Guard, str]] = MappingProxyType(
    {
        gate.promotion_requested: "nobody: a person goes ahead",
        gate.green_has_grown: "nobody: who has decided before green grew goes ahead",
        gate.first_deployment: "nobody: the policy goes ahead",
        gate.timer: "nobody: a timer goes ahead",
        gate.deadline: "nobody: the policy decides",
    },
)
"""The guards that let somebody go ahead."""

_ENDED_BY: Final[Mapping[HoldKind, str]] = MappingProxyType(
    {
        HoldKind.FROZEN: "the end of the freeze, or `unfreeze`",
        HoldKind.KEEPER_SILENT: "a worker whose keeper has probed green",
        HoldKind.BLUE_CHANGED: "an abort",
        HoldKind.NOT_BY_ITSELF: "a person's promotion, or `reschedule`",
        HoldKind.WINDOW: "the next opening; a person's promotion, with force where a window binds everyone",
        HoldKind.NO_ROOM: "replicas that end, or fewer that are wanted",
        HoldKind.APPROVALS: "the last approval; the promotion deadline runs on",
    },
)

_SENTENCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "APPROVALS_MISSING": "the sentence of the hold, with who has approved and who may",
        "FROZEN": "the sentence of the freeze",
        "POLICY_CONFLICT": "what contradicts what, as a start with such a policy is told",
        "NOT_FROZEN": "nothing is frozen; where the freeze is one of all deployments, it says so",
    },
)
"""What a refusal says whose message is put together elsewhere."""

SOURCES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "Every command": (
            "celadon/domain/decisions/other_rollout.py",
            "celadon/domain/decisions/expiry.py",
            "celadon/domain/decisions/start_memo.py",
            "celadon/domain/decisions/authority.py",
            "celadon/table/rollouts/judging.py",
            "celadon/table/core/locks.py",
            "celadon/service/principal.py",
            "workflows/messages.py",
            "workflows/state.py",
        ),
        "Start": (
            "workflows/start.py",
            "celadon/service/commands/start.py",
            "celadon/table/rollouts/begin.py",
            "celadon/domain/decisions/reserved_names.py",
            "celadon/table/rollouts/revisions.py",
            "celadon/table/core/policies.py",
            "celadon/domain/decisions/windows.py",
            "celadon/domain/decisions/successors.py",
            "celadon/table/rollouts/placing.py",
            "celadon/domain/decisions/room.py",
        ),
        "Retry": ("celadon/table/rollouts/retrying.py",),
        "Promote, the switch and its way back": (
            "celadon/domain/decisions/promotion.py",
            "workflows/rollout.py",
            "celadon/domain/decisions/approvals.py",
            "celadon/table/rollouts/switch.py",
            "celadon/table/rollouts/growth.py",
            "celadon/table/rollouts/windows.py",
        ),
        "Abort and rollback": (
            "celadon/domain/decisions/abort.py",
            "celadon/table/rollouts/way_back.py",
            "celadon/table/rollouts/rollback.py",
            "celadon/service/commands/rollback.py",
        ),
        "The drain of blue": ("celadon/table/rollouts/route_sets.py",),
        "Finish and withdraw": (
            "celadon/domain/decisions/bake.py",
            "celadon/table/rollouts/pending_aborts.py",
            "celadon/table/rollouts/approvals.py",
        ),
        "Pause and resume": ("celadon/domain/decisions/pause.py",),
        "Reschedule": ("celadon/domain/decisions/reschedule.py", "celadon/table/rollouts/timers.py"),
        "Freeze and unfreeze": ("celadon/table/rollouts/freezes.py",),
        "Drop": ("celadon/domain/decisions/successors.py#NOTHING_WAITS",),
        "Restart": ("celadon/service/commands/restart.py",),
        "Scale": ("celadon/table/rollouts/scaling.py", "celadon/domain/decisions/room.py"),
        "Policy set": ("celadon/table/rollouts/own_policy.py", "celadon/table/rollouts/default_policy.py"),
        "Schedule": (
            "celadon/service/commands/create_schedule.py",
            "celadon/service/commands/delete_schedule.py",
            "celadon/service/scheduled.py",
            "celadon/service/unsigned.py",
            "celadon/table/rollouts/schedules.py",
            "celadon/domain/decisions/firing.py",
        ),
        "Create and register": (
            "celadon/table/rollouts/registration.py",
            "celadon/service/commands/add_revision.py",
        ),
        "Hosts of a deployment's own": ("celadon/domain/decisions/hosts.py", "celadon/table/rollouts/hosts.py"),
        "Treatment of a deployment's requests": ("celadon/table/rollouts/traffic.py",),
        "Delete": ("celadon/table/rollouts/deletion.py",),
    },
)
"""The modules that refuse, by what they refuse; with a code behind ``#`` only that refusal of the module."""

_NO_ROOM: Final = "no room for 3 more replicas of chat: its sets have 5, and max_total_replicas is 6"
_NOW: Final = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HELD_AT: Final = _NOW
"""The moment at which a rollout of :func:`holds` is held."""
_WHY: Final = "ben looks at the latencies"
_BY: Final = "ann"


def phases_block() -> str:
    """Return what happens in each phase, its timers, who moves it on, and the commands that it takes."""
    meanings = attribute_docstrings(RolloutPhase)
    rows = [
        (
            code(phase.value),
            prose(meanings[phase.name]),
            ", ".join(TIMERS[phase]) or "none",
            _MOVED_ON[phase],
            _commands_of(phase) or "none",
        )
        for phase in RolloutPhase
    ]
    return table(("phase", "what happens", "timers that may run", "moved on by", "commands"), rows)


def keys_block() -> str:
    """Return every key of the policy with its unit, its default and a reason to give another; their page tells more."""
    rows = [
        (code(name), kind(field), value(field.default), _USED_FOR[name])
        for name, field in BlueGreenPolicy.model_fields.items()
    ]
    return table(("key", "unit or values", "default", "why another value"), rows)


def later_keys_block() -> str:
    """Return the keys that are refused by name."""
    return f"{', '.join(code(key) for key in sorted(LATER_KEYS))}\n"


def guards_block() -> str:
    """Return the guards of the gate in their order, with whom each binds."""
    rows = [
        (str(place), guard.__name__.replace("_", " "), prose(_told(guard)), _bound(guard))
        for place, guard in enumerate(gate.GUARDS, start=1)
    ]
    return table(("", "guard", "what it does", "whom it binds"), rows)


def outcomes_block() -> str:
    """Return every outcome, with what is live afterwards and how the workflow ends."""
    meanings = attribute_docstrings(RolloutOutcome)
    rows = [(code(one.value), prose(meanings[one.name]), *_ENDS[one]) for one in RolloutOutcome]
    return table(("outcome", "meaning", "live afterwards", "the workflow in Temporal"), rows)


def holds_block() -> str:
    """Return every hold with its sentence, what ends it, and what a person can do."""
    rows = [
        (name, code(holding_reason(held, _NOW)), ended_by, code(next_step(held, _NOW)))
        for name, held, ended_by in (*_holds_before_the_switch(), *_holds_after_the_switch())
    ]
    return table(("held by", "what status, console and Temporal say", "ended by", "next step"), rows)


def refusals_block() -> str:
    """Return the refusals of the commands of a rollout, with message and next step."""
    return "\n".join(f"### {name}\n\n{_refusals(modules)}" for name, modules in SOURCES.items())


BLOCKS: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "phases": phases_block,
        "keys": keys_block,
        "later-keys": later_keys_block,
        "guards": guards_block,
        "outcomes": outcomes_block,
        "holds": holds_block,
        "refusals": refusals_block,
    },
)


def _commands_of(phase: RolloutPhase) -> str:
    plain = [one.verb for one in commands() if one.scope is Scope.ROLLOUT and phase in one.phases]
    told = [code(verb) for verb in plain]
    forced = refuse_promotion(rollout(phase), PromoteCommand(force=True, reason=_WHY))
    return ", ".join(["`promote` with force", *told] if forced is None and "promote" not in plain else told)


def _told(guard: gate.Guard) -> str:
    """Return a guard's docstring without the errors that it raises."""
    return " ".join((inspect.getdoc(guard) or "").partition("Raises:")[0].split())


def _bound(guard: gate.Guard) -> str:
    if guard in _GO_AHEAD:
        return _GO_AHEAD[guard]
    is_before_people = gate.GUARDS.index(guard) < gate.GUARDS.index(gate.promotion_requested)
    return "people and timers" if is_before_people else "timers"


def holds() -> tuple[tuple[str, Progress, str], ...]:
    """Return every hold with a rollout that it holds, and what ends it."""
    return (*_holds_before_the_switch(), *_holds_after_the_switch())


def _holds_before_the_switch() -> tuple[tuple[str, Progress, str], ...]:
    since = _NOW - timedelta(minutes=5)
    pause = Pause(by=_BY, door=Channel.CLI, reason=_WHY, since=since)
    until = _NOW + timedelta(hours=1)
    own = Freeze(id=1, everywhere=False, begins_at=since, ends_at=until, by=_BY, reason=_WHY)
    everywhere = own.model_copy(update={"everywhere": True, "ends_at": None})
    return (
        ("a pause", rollout(paused=pause), "`resume`, or the end that the pause was given"),
        ("a freeze", rollout(freezes=(own,)), "its end, or `unfreeze`"),
        ("a freeze of all", rollout(freezes=(everywhere,)), "its end, or `unfreeze --all`"),
        (
            "regressions",
            rollout(policy=BlueGreenPolicy(max_regressions=2), regressions=3, regressed_at=since),
            "a person's promotion, or an abort",
        ),
        *((f"the hold {code(kind.value)}", _held(kind, since, until), _ENDED_BY[kind]) for kind in HoldKind),
        *_holds_for_room(since),
    )


def _holds_for_room(since: datetime) -> tuple[tuple[str, Progress, str], ...]:
    hold = Hold(kind=HoldKind.NO_ROOM, since=since, why=_NO_ROOM)
    growth = Growth(by=_BY, door=Channel.CLI, reason=_WHY, at=since, wanted=3, seq=1, no_room=_NO_ROOM)
    return (
        (
            "no room for green",
            rollout(RolloutPhase.PROVISIONING, green_set=None, green=None, hold=hold),
            "replicas that end, or fewer that are wanted",
        ),
        (
            "no room for its growth",
            rollout(RolloutPhase.VERIFYING, growth=growth, hold=hold),
            "the same; `provisioning_deadline` runs on",
        ),
    )


def _held(kind: HoldKind, since: datetime, until: datetime) -> Progress:
    own = Freeze(id=1, everywhere=False, begins_at=since, ends_at=until, by=_BY, reason=_WHY)
    why: Mapping[HoldKind, str] = {
        HoldKind.FROZEN: freeze_told(own, "chat"),
        HoldKind.KEEPER_SILENT: "no living keeper vouches for the health of green",
        HoldKind.BLUE_CHANGED: "the live set is 15, the rollout began with 11",
        HoldKind.NOT_BY_ITSELF: "the policy of rollout 7 leaves the switch to a person",
        HoldKind.WINDOW: "a timer is due and the windows of the policy are closed",
        HoldKind.APPROVALS: "",
        HoldKind.NO_ROOM: _NO_ROOM,
    }
    policy = BlueGreenPolicy(approvals=ApprovalRule(count=2) if kind is HoldKind.APPROVALS else None)
    ends = until if kind in {HoldKind.FROZEN, HoldKind.WINDOW} else None
    return rollout(policy=policy, hold=Hold(kind=kind, since=since, why=why[kind], until=ends))


def _holds_after_the_switch() -> tuple[tuple[str, Progress, str], ...]:
    pending = PendingAbort(
        request=abort(by=_BY, reason=_WHY),
        since=_NOW - timedelta(minutes=5),
        why="blue cannot take the traffic for the moment (0 of 3 healthy, 3 required)",
    )
    lost = {"green_lost_since": _NOW - timedelta(seconds=4)}
    return (
        (
            "a green that is lost",
            rollout(RolloutPhase.BAKING, **lost),
            "a healthy replica of green; the way back, by itself at the named moment, or by a person; `finish`",
        ),
        (
            "a green that is lost, and a policy by which nothing goes back by itself",
            rollout(RolloutPhase.BAKING, policy=BlueGreenPolicy(failover=False, failover_rollback=None), **lost),
            "a healthy replica of green; `rollback` or `finish`",
        ),
        (
            "a pending abort, in the bake",
            rollout(RolloutPhase.BAKING, pending=pending),
            "enough healthy replicas of blue; `withdraw` by who asked for it; `finish`",
        ),
        (
            "a pending abort, while blue drains",
            rollout(RolloutPhase.DRAINING, pending=pending),
            "a healthy replica of blue, or its end; `withdraw` by who asked for it",
        ),
    )


def _refusals(modules: tuple[str, ...]) -> str:
    found = dict.fromkeys(one for module in modules for one in refusals_named(module))
    return table(("code", "message", "next step"), [_refusal(one) for one in found])


def refusals_named(module: str) -> tuple[WrittenRefusal, ...]:
    """Return the refusals of an element of ``SOURCES``."""
    path, _, only = module.partition("#")
    return tuple(one for one in refusals_of(path) if not only or one.code == only)


def _refusal(one: WrittenRefusal) -> tuple[str, str, str]:
    message = code(one.message) if one.message != HOLE else _SENTENCES[one.code]
    return code(one.code), message, code(one.next_step) if one.next_step != HOLE else "by the message"
