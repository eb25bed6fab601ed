"""A signed message counts once, where it was meant, for what it says, and until the moment that it names."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.testing import WorkflowEnvironment

from celadon.client.rollouts import RolloutClient
from celadon.client.signatures import AuthoritySettings, Signer
from celadon.domain.decisions.authority import Authority, Unsigned
from celadon.domain.language.attestation import text_of_command, text_of_start
from celadon.domain.language.commands import AbortCommand, PauseCommand, PromoteCommand, RescheduleCommand
from celadon.domain.language.contracts import workflow_id
from celadon.domain.language.errors import RefusedError
from celadon.domain.language.messages import RolloutRequest, StartMemo
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import Channel
from celadon.domain.language.steps import BeginStep, JudgeStep, Message, Note, PhaseStep, Step, SwitchAnswer
from celadon.table.rollouts.begin import begin
from celadon.table.rollouts.route_sets import enter_phase, judge
from celadon.table.rollouts.switch import switch, switch_back
from tests.api.conftest import ApiClient, api, keys, rows  # noqa: F401 - fixtures
from tests.revisions import serving
from tests.table.rows import Opened, Rows
from tests.workers import PATIENT_TASKS

SOON = timedelta(hours=1)


@pytest.fixture
def signer(keys: Path) -> Signer:  # noqa: F811 - the fixture
    """Return what the API signs with."""
    return Signer.of_file(keys / "key.pem")


@pytest.fixture
def authority(keys: Path) -> Authority:  # noqa: F811
    """Return an installation in which everything must be signed."""
    return AuthoritySettings(verify_keys_file=keys / "key.pub", unsigned=Unsigned.NONE).authority()


def message(signer: Signer, verb: str, request_id: str = "id-1", **said: Any) -> Message:
    """Return a message that the API has signed."""
    rights = {
        "promote": Verb.PROMOTE,
        "abort": Verb.ABORT,
        "rollback": Verb.ROLLBACK,
        "pause": Verb.PAUSE,
        "resume": Verb.PAUSE,
        "reschedule": Verb.PAUSE,
    }
    kinds: dict[str, Callable[..., Any]] = {
        "promote": PromoteCommand,
        "pause": PauseCommand,
        "reschedule": RescheduleCommand,
    }
    kind = kinds.get(verb, AbortCommand)
    given = {
        "by": "ann",
        "door": Channel.API,
        "rights": (rights[verb],),
        "valid_until": datetime.now(UTC) + SOON,
        **said,
    }
    command = kind(**given)
    signature = signer.sign(text_of_command(signer.installation, "chat", verb, request_id, command))
    signed = command.model_copy(update={"signature": signature})
    return Message(verb=verb, request_id=request_id, came_by=Channel.UPDATE, command=signed)


async def ask(rows: Rows, opened: Opened, authority: Authority, what: Message, run: str, **step: Any) -> SwitchAnswer:  # noqa: F811
    change = switch if what.verb == "promote" else switch_back
    async with rows.table.transaction() as tx:
        return await change(tx, opened.switch_step(message=what, run=run, **step), authority)


def code(answer: SwitchAnswer) -> str | None:
    return None if answer.refusal is None else answer.refusal.code.value


async def test_a_promotion_that_was_refused_counts_in_no_other_run(
    rows: Rows,  # noqa: F811
    signer: Signer,
    authority: Authority,
) -> None:
    await rows.live()
    opened = await rows.ready("run-2")
    promotion = message(signer, "promote")
    await rows.sql("insert into freezes (deployment, begins_at, actor) values ('chat', now(), 'ann')")
    refused = await ask(rows, opened, authority, promotion, "run-2", decision="run-2/1")
    await rows.sql("update freezes set ends_at = now()")

    replayed = await ask(rows, opened, authority, promotion, "run-3", decision="run-3/1")

    assert (code(refused), code(replayed)) == ("FROZEN", "REQUEST_SPENT")
    assert await rows.value("select live_set from deployments") == opened.blue


async def test_a_second_attempt_of_its_step_is_no_second_message(
    rows: Rows,  # noqa: F811
    signer: Signer,
    authority: Authority,
) -> None:
    opened = await rows.ready()
    promotion = message(signer, "promote")

    first = await ask(rows, opened, authority, promotion, "run-1", decision="run-1/1")
    second = await ask(rows, opened, authority, promotion, "run-1", decision="run-1/1")

    assert code(first) is None
    assert second.epoch == first.epoch


@pytest.mark.parametrize(
    "said",
    [{"rollout": 1_000_000}, {"revision": 77}, {"rights": ()}, {"rights": (Verb.ABORT,)}],
    ids=["another rollout", "another revision", "no right", "another right"],
)
async def test_a_promotion_for_something_else_moves_nothing(
    rows: Rows,  # noqa: F811
    signer: Signer,
    authority: Authority,
    said: dict[str, Any],
) -> None:
    opened = await rows.ready()

    answer = await ask(rows, opened, authority, message(signer, "promote", **said), "run-1")

    assert code(answer) in {"WRONG_ROLLOUT", "WRONG_REVISION", "FORBIDDEN"}
    assert answer.message_refused
    assert await rows.value("select live_set from deployments") is None
    assert await rows.value("select count(*) from spent_requests") == 0


async def test_an_approval_that_is_copied_in_another_name_counts_for_nobody(
    rows: Rows,  # noqa: F811
    signer: Signer,
    authority: Authority,
) -> None:
    await rows.live()
    opened = await rows.ready("run-2", policy={"approvals": {"count": 2}})
    await rows.sql("update rollouts set phase = 'awaiting_promotion' where outcome is null")
    ann = message(signer, "promote", issuer="idp")
    first = await ask(rows, opened, authority, ann, "run-2", decision="run-2/1")
    bens = ann.command.model_copy(update={"by": "ben"})

    copied = ann.model_copy(update={"command": bens, "request_id": "id-2"})
    answers = [
        await ask(rows, opened, authority, copied, "run-2", decision="run-2/2"),
        await ask(rows, opened, authority, ann.model_copy(update={"request_id": "id-3"}), "run-2", decision="run-2/3"),
        await ask(rows, opened, authority, ann, "run-3", decision="run-3/1"),
    ]

    assert first.recorded
    assert [code(answer) for answer in answers] == ["UNSIGNED", "UNSIGNED", "REQUEST_SPENT"]
    assert await rows.value("select count(*) from approvals") == 1
    assert await rows.value("select live_set from deployments") == opened.blue


async def test_a_signed_abort_asks_for_no_switch(rows: Rows, signer: Signer, authority: Authority) -> None:  # noqa: F811
    opened = await rows.ready()
    abort = message(signer, "abort")
    async with rows.table.transaction() as tx:
        answer = await switch(tx, opened.switch_step(message=abort, run="run-1"), authority)
    assert code(answer) == "UNKNOWN_MESSAGE"


async def test_a_promotion_that_came_after_its_time_moves_nothing(
    rows: Rows,  # noqa: F811
    signer: Signer,
    authority: Authority,
) -> None:
    opened = await rows.ready()
    late = message(signer, "promote", valid_until=datetime.now(UTC) - timedelta(seconds=1))
    assert code(await ask(rows, opened, authority, late, "run-1")) == "TOO_LATE"
    assert await rows.value("select live_set from deployments") is None


async def test_an_abort_that_has_taken_effect_goes_on_counting_after_a_reset(
    rows: Rows,  # noqa: F811
    signer: Signer,
    authority: Authority,
) -> None:
    opened = await rows.ready()
    steps = [
        JudgeStep(
            deployment="chat",
            rollout=opened.begun.rollout,
            run=run,
            messages=(message(signer, "abort"),),
            at=datetime.now(UTC),
        )
        for run in ("run-1", "run-2")
    ]
    for step in steps:
        async with rows.table.transaction() as tx:
            assert (await judge(tx, step, authority)).refusals == (None,)
    assert await rows.value("select phase from rollouts") == "rolling_back"


async def test_an_unsigned_abort_leaves_everything_as_it_was(rows: Rows, authority: Authority) -> None:  # noqa: F811
    opened = await rows.ready()
    unsigned = Message(verb="abort", came_by=Channel.SIGNAL, command=AbortCommand(by="eve"))
    step = JudgeStep(
        deployment="chat", rollout=opened.begun.rollout, run="run-1", messages=(unsigned,), at=datetime.now(UTC)
    )
    async with rows.table.transaction() as tx:
        judged = await judge(tx, step, authority)
    assert judged.refusals[0] is not None
    assert judged.refusals[0].code == "UNSIGNED"
    assert await rows.value("select phase from rollouts") == "provisioning"


async def judged(rows: Rows, opened: Opened, authority: Authority, asked: Message) -> Any:  # noqa: F811
    """Return the code with which a message that leads to no step is refused; nothing when it counts."""
    step = JudgeStep(
        deployment="chat", rollout=opened.begun.rollout, run="run-1", messages=(asked,), at=datetime.now(UTC)
    )
    # As it is after its journey through Temporal.
    travelled = JudgeStep.model_validate_json(step.model_dump_json())
    async with rows.table.transaction() as tx:
        [refusal] = (await judge(tx, travelled, authority)).refusals
    return None if refusal is None else refusal.code


@pytest.mark.parametrize("until", [None, datetime(2999, 1, 1, tzinfo=UTC)])
async def test_a_signed_pause_counts_and_changes_no_phase(
    rows: Rows,  # noqa: F811
    signer: Signer,
    authority: Authority,
    until: datetime | None,
) -> None:
    opened = await rows.ready()

    assert await judged(rows, opened, authority, message(signer, "pause", until=until)) is None
    assert await judged(rows, opened, authority, message(signer, "resume", "id-2")) is None

    assert await rows.value("select phase from rollouts") == "provisioning"


async def test_the_end_of_a_pause_is_signed_too(rows: Rows, signer: Signer, authority: Authority) -> None:  # noqa: F811
    opened = await rows.ready()
    signed = message(signer, "pause", until=datetime(2999, 1, 1, tzinfo=UTC))
    longer = signed.command.model_copy(update={"until": datetime(2999, 6, 1, tzinfo=UTC)})

    assert await judged(rows, opened, authority, signed.model_copy(update={"command": longer})) == "UNSIGNED"


async def test_nobody_pauses_without_the_right_to(rows: Rows, signer: Signer, authority: Authority) -> None:  # noqa: F811
    opened = await rows.ready()

    asked = message(signer, "pause", rights=(Verb.READ,))

    assert await judged(rows, opened, authority, asked) == "FORBIDDEN"


async def test_the_audit_log_does_not_vouch_for_a_copy(rows: Rows, signer: Signer, authority: Authority) -> None:  # noqa: F811
    opened = await rows.ready()
    promotion = message(signer, "promote")
    await rows.sql("insert into freezes (deployment, begins_at, actor) values ('chat', now(), 'ann')")
    await ask(rows, opened, authority, promotion, "run-1")
    note = Note(seq=1, at=datetime.now(UTC), kind="promotion_requested", by="ann", door=Channel.API, message=promotion)

    for seq, run in ((1, "run-1"), (2, "run-2")):
        told = note.model_copy(update={"seq": seq})
        step = Step(deployment="chat", rollout=opened.begun.rollout, notes=(told,), run=run)
        phase: dict[str, Any] = {**dict(authority.attested(step)), "phase": "verifying", "at": datetime.now(UTC)}
        async with rows.table.transaction() as tx:
            await enter_phase(tx, PhaseStep(**phase))

    written = await rows.rows(
        "select seq, verified from rollout_events where kind = 'promotion_requested' order by seq"
    )
    assert [(row["seq"], row["verified"]) for row in written] == [(1, True), (2, False)]


def start(signer: Signer, run: str, request_id: str = "id-1", **changes: Any) -> BeginStep:
    request = parse_payload(
        RolloutRequest,
        {"deployment": "chat", "revision": serving(), "requested_by": "ann"},
    )
    now = datetime.now(UTC)
    memo = StartMemo(
        request_id=request_id, door=Channel.API, rights=(Verb.START, Verb.CREATE), valid_until=now + SOON
    ).model_copy(update=changes)
    memo = memo.model_copy(update={"signature": signer.sign(text_of_start(signer.installation, request, memo))})
    return BeginStep(request=request, workflow_id="rollout-chat", run_id=run, at=now, memo=memo, taken_at=now)


async def test_a_signed_start_begins_one_rollout(rows: Rows, signer: Signer, authority: Authority) -> None:  # noqa: F811
    async with rows.table.transaction() as tx:
        await begin(tx, start(signer, "run-1"), authority)
    await rows.sql("update rollouts set outcome = 'aborted', phase = 'completed', completed_at = now()")

    with pytest.raises(RefusedError, match="counted before"):
        async with rows.table.transaction() as tx:
            await begin(tx, start(signer, "run-2"), authority)

    assert await rows.value("select count(*) from rollouts") == 1


async def test_a_reset_of_an_unfinished_rollout_begins_it_again(
    rows: Rows,  # noqa: F811
    signer: Signer,
    authority: Authority,
) -> None:
    for run in ("run-1", "run-2"):
        async with rows.table.transaction() as tx:
            await begin(tx, start(signer, run), authority)
    assert await rows.value("select count(*) from rollouts where outcome is null") == 1


async def test_a_workflow_that_is_reset_after_its_end_does_not_start_again(
    api: ApiClient,  # noqa: ARG001, F811 - its worker
    rows: Rows,  # noqa: F811
    signer: Signer,
    temporal_env: WorkflowEnvironment,
) -> None:
    client = RolloutClient(temporal_env.client, signer, PATIENT_TASKS)
    run_id = await client.start(parse_payload(RolloutRequest, {"deployment": "chat", "revision": serving()}))
    await client.abort("chat", AbortCommand(by="ann"))
    await _until_closed(rows)
    assert (await client.wait("chat")).status == "completed"

    request = ResetWorkflowExecutionRequest(
        namespace=temporal_env.client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=workflow_id("chat"), run_id=run_id),
        reason="an attack",
        workflow_task_finish_event_id=4,
        request_id="attack",
    )
    await temporal_env.client.workflow_service.reset_workflow_execution(request)
    ended = await client.wait("chat")

    assert ended.refusal is not None, ended
    assert ended.refusal.code == "REQUEST_SPENT"
    assert await rows.value("select count(*) from rollouts") == 1


async def _until_closed(rows: Rows) -> None:  # noqa: F811
    """Let the green of the aborted rollout be gone, as a keeper would."""

    async def closed() -> bool:
        return bool(await rows.rows("select 1 from route_sets where state <> 'open'"))

    await ApiClient.until(closed)
    await rows.sql("update route_sets set state = 'gone'")
    await rows.sql("select pg_notify('celadon_routes', '')")
