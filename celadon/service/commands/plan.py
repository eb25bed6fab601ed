"""Say what a rollout would do, without doing any of it."""

# ruff: noqa: PLC0415 - declaring a command needs no database

from collections.abc import Iterator

from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.moments import utc
from celadon.domain.language.permissions import Verb
from celadon.domain.language.plan import Plan
from celadon.service.command import Call, Command, Graph, Line, Rest, Scope, Terminal, Tone
from celadon.service.commands.start import StartInput, refuse_other_requester, request_of_input
from celadon.service.typed import ALLOW_PLAIN_SECRETS, DEPLOYMENT_FILE, POLICY_FILE


async def plan(call: Call[RolloutRequest]) -> Plan:
    """Ask every rule of the start whether it would begin, and write nothing."""
    from celadon.table.rollouts.planning import plan_start

    request, service, who = call.request, call.service, call.who
    refuse_other_requester(call)
    async with service.transaction() as tx:
        if not await service.is_there(tx, who, request.deployment):
            who.require_scope(request.labels or {})
        return await plan_start(
            tx,
            request,
            verified=service.vouches,
            require=lambda verb, why: who.require([verb], why),
            hosts=service.host_rules(who),
        )


def told_changes(result: Plan) -> tuple[Line, ...]:
    """Say in a few lines what a rollout changes."""
    return tuple(_changes(result))


def _changes(result: Plan) -> Iterator[Line]:
    name, blue = result.deployment, result.from_revision
    green = "no revision" if result.to_revision is None else f"r{result.to_revision}"
    if blue is None:
        yield Line(strong=f"{name}: ", text=f"nothing is live → {green}")
    elif result.to_revision == blue:
        yield Line(strong=f"{name}: ", text=f"{green} again, with new replicas")
    else:
        yield Line(strong=f"{name}: ", text=f"r{blue} → {green}")
    for one in result.changes:
        yield Line(text=f"  {one.field}: {one.before or '(none)'} → {one.after or '(none)'}")
    if result.changes_left_out:
        yield Line(text=f"  and {result.changes_left_out} more")
    if result.replicas is not None:
        before = result.replicas_before
        kept = f"{result.replicas}, as they are" if before == result.replicas else f"{before} → {result.replicas}"
        yield Line(text=f"  replicas: {result.replicas if before is None else kept}")
    if result.hosts != result.hosts_before:
        had, gets = (", ".join(hosts) or "(none)" for hosts in (result.hosts_before, result.hosts))
        yield Line(text=f"  traffic.hosts: {had} → {gets}, from the beginning of the rollout on")
    for one in result.traffic:
        yield Line(text=f"  traffic.{one.field}: {one.before} → {one.after}, from the beginning of the rollout on")
    for key in result.policy:
        if key.changes:
            yield Line(text=f"  policy.{key.key}: {key.otherwise} → {key.value}, for this rollout")


def told_already_there(result: Plan) -> Line:
    """Say that there is nothing to do."""
    revision, name = f"r{result.to_revision}", result.deployment
    where = "is live" if result.rollout is None else f"is under way as rollout {result.rollout}"
    if result.waiting is not None and result.waiting.revision == result.to_revision:
        text = (
            f": {revision} of {name} waits for {result.waiting.waits_for}. Follow it with: celadon rollout watch {name}"
        )
        return Line(strong="Nothing to do", text=text)
    return Line(
        strong="Nothing to do",
        text=f": {revision} of {name} {where} with these replicas. To roll it out once more: celadon deploy --restart"
        if result.rollout is None
        else f": {revision} of {name} {where}. Follow it with: celadon rollout watch {name}",
    )


def _summary(result: Plan) -> tuple[Line, ...]:
    return tuple(_lines(result))


def _lines(result: Plan) -> Iterator[Line]:
    if result.already_there:
        yield told_already_there(result)
    elif result.refused is not None:
        refusal = result.refused
        yield Line(strong="It would be refused", text=f": {refusal.message}; {refusal.next_step}", tone=Tone.BAD)
    elif result.would_wait:
        yield Line(strong="It would wait", text=f" for {result.would_wait}", tone=Tone.WARN)
        if result.waiting is not None:
            before = result.waiting
            yield Line(text=f"  and take the place of r{before.revision}, which {before.requested_by} asked for")
    yield from _changes(result)
    if result.capacity_peak is not None:
        peak = f"{result.capacity_peak} replicas while both colours run"
        yield Line(strong="capacity: ", text=f"{result.capacity_now} now, {peak}")
    for guard in result.guards:
        yield Line(strong=f"{guard.guard}: ", text=guard.told, tone=Tone.WARN if guard.binds else Tone.DONE)
    yield from _moments(result)
    for one in result.decides:
        roles = " or ".join(role.value for role in one.roles)
        yield Line(strong=f"{one.decision}: ", text=f"{roles}; {one.condition}" if one.condition else roles)
    for key in result.policy:
        yield Line(text=f"  policy.{key.key}: {key.value}  ({key.layer.value})")


def _moments(result: Plan) -> Iterator[Line]:
    if result.gated is None:
        return
    if result.earliest is None:
        yield Line(strong="switch: ", text="no moment for it is in sight", tone=Tone.WARN)
        return
    by_itself = "only by a person" if result.by_itself is None else f"by itself at {utc(result.by_itself)}"
    yield Line(
        strong="switch: ", text=f"at the earliest at {utc(result.earliest)}, {by_itself}, once green is verified"
    )
    if result.latest is not None:
        yield Line(text=f"  at the latest at {utc(result.latest)}, unless a pause or a freeze holds it up")


COMMAND = Command(
    verb="plan",
    scope=Scope.FLEET,
    place=15,
    about="Say what a rollout would do, or why it would be refused; nothing is written.",
    right=Verb.READ,
    request=RolloutRequest,
    result=Plan,
    run=plan,
    summary=_summary,
    rest=Rest(
        path="/rollouts/plan",
        name="plan_rollout",
        takes_id=False,
        twice_is_once=True,
        about="Say what a rollout would do, or why it would be refused; the body is a deployment file as JSON.",
    ),
    graph=Graph(
        mutation="plan_rollout",
        model=StartInput,
        read=request_of_input,
        about_payload="What a rollout would do; nothing of it has happened.",
        about_answer="The plan, or why none can be made.",
        shown={name: name for name in Plan.model_fields if name not in {"deployment", "rollout"}}
        | {"rollout_id": "rollout"},
    ),
    terminal=Terminal(
        panel="Roll out",
        hook="celadon.cli.starting:plan_file",
        file=DEPLOYMENT_FILE,
        policy_file=POLICY_FILE,
        takes_settings=True,
        options={"allow_plain_secrets": ALLOW_PLAIN_SECRETS},
        help="""Say what a rollout would do, without doing any of it.

        What differs from the revision that is live, the replicas now and while both colours run, the policy with the
        layer that each key comes from, what stands before the switch in the order in which it is asked, the earliest
        and the latest moment of the switch as far as they are known, who may decide, and why the rollout would be
        refused. Every rule of a start is asked, and nothing is written; exits 1 when the rollout would be refused.

        Examples:
        ```console
        celadon plan -f chat.yaml
        celadon plan -f chat.yaml --set replicas=5 -o json | jq .capacity_peak
        celadon plan -f chat.yaml -o json | jq '.policy[] | select(.layer != "default")'
        ```
        """,
    ),
)
