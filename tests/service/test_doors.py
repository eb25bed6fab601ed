"""Every command at every door: done, refused, and written down with who asked and by which way."""

import asyncio
from dataclasses import dataclass
from typing import Final

import pytest
from temporalio.client import WorkflowUpdateFailedError

from celadon.domain.language.contracts import workflow_id
from celadon.domain.language.permissions import Role
from celadon.domain.language.states import RolloutOutcome
from celadon.service.command import Scope
from celadon.service.registry import commands
from tests.api.conftest import DEADLINE_SECONDS
from tests.revisions import serving
from tests.service.doors import CALLER, Answer, Doors, Scenarios, Way, Words
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

CHAT: Final = "/v1/deployments/chat"
WHY: Final = "because of tests"
FILE: Final = f"deployment: chat\nrevision:\n  command: [serve, new]\n  health_check: {{tcp: true}}\nreason: {WHY}\n"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command, what is there before it, and what comes of it."""

    words: Words
    scenario: str
    done: dict[str, str]
    """What every door answers, by key."""
    shown: str = ""
    """What the console says."""
    event: str
    """The kind of the line in the audit log."""
    unseen: str = "NO_SUCH_DEPLOYMENT"
    """The refusal where nothing is there; empty when there is none."""
    past_the_api: str = ""
    """The refusal of who gives it past the API, where that is somebody else than whose token is shown."""
    weak: Role | None = Role.VIEWER
    """A role that may not; nothing for what everybody may."""


def _back(verb: str, mutation: str) -> Words:
    return Words(
        rest=("POST", f"{CHAT}/{verb}", {"reason": WHY}),
        graphql=(mutation, {"deploymentId": "chat", "reason": WHY}, "... on BackPayload { state outcome why }"),
        cli=(verb, "chat", "--reason", WHY),
        form=(f"/deployments/chat/{verb}", {"reason": WHY}),
    )


def _judged(verb: str, kind: str) -> Words:
    """Return the words of a command that leads to no step of its own; ``kind`` begins the names of its types."""
    return Words(
        rest=("POST", f"{CHAT}/{verb}", {"reason": WHY}),
        graphql=(
            kind[0].lower() + kind[1:],
            {"deploymentId": "chat", "reason": WHY},
            f"... on {kind}Payload {{ phase pausedSince pausedUntil }}",
        ),
        cli=(verb, "chat", "--reason", WHY),
        form=(f"/deployments/chat/{verb}", {"reason": WHY}),
    )


CASES: Final[dict[str, Case]] = {
    "promote": Case(
        words=Words(
            rest=("POST", f"{CHAT}/promote", {"reason": WHY}),
            graphql=(
                "promoteDeployment",
                {"deploymentId": "chat", "revision": 2, "reason": WHY},
                "... on PromotePayload { state switch { epoch } }",
            ),
            cli=("promote", "chat", "--reason", WHY),
            form=("/deployments/chat/promote", {"reason": WHY}),
        ),
        scenario="awaiting",
        done={"state": "switched"},
        shown="is live since epoch",
        event="switched",
    ),
    "abort": Case(
        words=_back("abort", "abortRollout"),
        scenario="provisioning",
        done={"outcome": "aborted", "state": "decided"},
        shown="The rollout is aborted: green is being closed.",
        event="abort_requested",
    ),
    "rollback": Case(
        words=_back("rollback", "rollbackDeployment"),
        scenario="baking",
        done={"outcome": "rolled_back", "state": "decided"},
        shown="Traffic is back on blue since epoch",
        event="switched_back",
    ),
    "finish": Case(
        words=_judged("finish", "FinishRollout"),
        scenario="baking",
        done={"phase": "draining"},
        shown="The bake is finished",
        event="finish_requested",
    ),
    "withdraw": Case(
        words=_judged("withdraw", "WithdrawRollout"),
        scenario="stuck_abort",
        done={"phase": "baking"},
        shown="Withdrawn",
        event="withdrawal_requested",
        past_the_api="FORBIDDEN",
    ),
    "pause": Case(
        words=_judged("pause", "PauseRollout"),
        scenario="awaiting",
        done={"phase": "awaiting_promotion"},
        shown="Paused: all timers stand still until it is resumed.",
        event="pause_requested",
    ),
    "resume": Case(
        words=_judged("resume", "ResumeRollout"),
        scenario="paused",
        done={"phase": "awaiting_promotion"},
        shown="Resumed: the timers run on",
        event="resume_requested",
    ),
    "reschedule": Case(
        words=Words(
            rest=("POST", f"{CHAT}/reschedule", {"auto_promote": True, "promote_after": "2h", "reason": WHY}),
            graphql=(
                "rescheduleRollout",
                {"deploymentId": "chat", "autoPromote": True, "promoteAfter": "2h", "reason": WHY},
                "... on RescheduleRolloutPayload { phase promotesAt }",
            ),
            cli=("reschedule", "chat", "--auto-promote", "--promote-after", "2h", "--reason", WHY),
            form=("/deployments/chat/reschedule", {"auto_promote": "yes", "promote_after": "2h", "reason": WHY}),
        ),
        scenario="awaiting",
        done={"phase": "awaiting_promotion"},
        shown="Rescheduled: it promotes itself at",
        event="rescheduled",
    ),
    "scale": Case(
        words=Words(
            rest=("POST", f"{CHAT}/scale", {"replicas": 3, "reason": WHY}),
            graphql=(
                "scaleDeployment",
                {"deploymentId": "chat", "replicas": 3, "reason": WHY},
                "... on ScaleDeploymentPayload { before changed }",
            ),
            cli=("deployment", "scale", "chat", "3", "--reason", WHY),
            form=("/deployments/chat/scale", {"replicas": "3", "reason": WHY}),
        ),
        scenario="live",
        done={"before": "1", "changed": "true"},
        shown="Replicas: 1 → 3.",
        event="scaled",
    ),
    "delete": Case(
        words=Words(
            rest=("DELETE", f"{CHAT}?reason={WHY.replace(' ', '%20')}", None),
            graphql=(
                "deleteDeployment",
                {"deploymentId": "chat", "reason": WHY},
                "... on DeleteDeploymentPayload { lifecycle changed }",
            ),
            cli=("deployment", "delete", "chat", "--yes", "--reason", WHY),
        ),
        scenario="live",
        done={"lifecycle": "destroying", "changed": "true"},
        event="deleted",
    ),
    "label": Case(
        words=Words(
            rest=("PUT", f"{CHAT}/labels", {"labels": {"team": "search"}, "reason": WHY}),
            graphql=(
                "labelDeployment",
                {"deploymentId": "chat", "labels": [{"name": "team", "value": "search"}], "reason": WHY},
                "... on LabelDeploymentPayload { changed }",
            ),
            cli=("deployment", "label", "chat", "team=search", "--reason", WHY),
        ),
        scenario="live",
        done={"changed": "true"},
        event="labelled",
    ),
    "hosts": Case(
        words=Words(
            rest=("PUT", f"{CHAT}/hosts", {"hosts": ["LLM.example.com"], "reason": WHY}),
            graphql=(
                "setDeploymentHosts",
                {"deploymentId": "chat", "hosts": ["LLM.example.com"], "reason": WHY},
                "... on SetDeploymentHostsPayload { hosts changed }",
            ),
            cli=("deployment", "hosts", "chat", "LLM.example.com", "--reason", WHY),
        ),
        scenario="live",
        done={"changed": "true"},
        event="hosts_changed",
        weak=Role.OPERATOR,
    ),
    "traffic": Case(
        words=Words(
            rest=("PATCH", f"{CHAT}/traffic", {"max_requests": 500, "max_body": "1024KiB", "reason": WHY}),
            graphql=(
                "setDeploymentTraffic",
                {"deploymentId": "chat", "maxRequests": 500, "maxBody": "1024KiB", "reason": WHY},
                "... on SetDeploymentTrafficPayload { traffic changed changes }",
            ),
            cli=("deployment", "traffic", "chat", "--max-requests", "500", "--max-body", "1024KiB", "--reason", WHY),
        ),
        scenario="live",
        done={"changed": "true"},
        event="traffic_changed",
        weak=Role.OPERATOR,
    ),
    "set_policy": Case(
        words=Words(
            rest=("PATCH", f"{CHAT}/policy", {"policy": {"bake": "1m"}, "reason": WHY}),
            graphql=(
                "setDeploymentPolicy",
                {"deploymentId": "chat", "policy": {"bake": "1m"}, "reason": WHY},
                "... on SetDeploymentPolicyPayload { deployment { id } changed }",
            ),
            cli=("policy", "set", "chat", "bake=1m", "--reason", WHY),
        ),
        scenario="live",
        done={"changed": "true"},
        event="policy_changed",
        weak=Role.OPERATOR,
    ),
    "set_defaults": Case(
        words=Words(
            rest=("PATCH", "/v1/policy", {"policy": {"bake": "1m"}, "reason": WHY}),
            graphql=(
                "setDefaultPolicy",
                {"policy": {"bake": "1m"}, "reason": WHY},
                "... on SetDefaultPolicyPayload { changed }",
            ),
            cli=("policy", "set", "--default", "bake=1m", "--reason", WHY),
        ),
        scenario="live",
        done={"changed": "true"},
        event="defaults_changed",
        unseen="",
        weak=Role.APPROVER,
    ),
    "create": Case(
        words=Words(
            rest=("POST", "/v1/deployments", {"deployment": "chat", "replicas": 2, "reason": WHY}),
            graphql=(
                "createDeployment",
                {"name": "chat", "replicas": 2, "reason": WHY},
                "... on CreateDeploymentPayload { created }",
            ),
            cli=("deployment", "create", "chat", "--replicas", "2", "--reason", WHY),
        ),
        scenario="nothing",
        done={"created": "true"},
        event="created",
        unseen="",
    ),
    "add_revision": Case(
        words=Words(
            rest=("POST", f"{CHAT}/revisions", {"revision": serving("new"), "reason": WHY}),
            graphql=(
                "addRevision",
                {"deploymentId": "chat", "revision": serving("new"), "reason": WHY},
                "... on AddRevisionPayload { revision }",
            ),
            cli=("revision", "add", "-f", "-"),
            file=FILE,
        ),
        scenario="live",
        done={"revision": "2"},
        event="revision_added",
    ),
    "freeze": Case(
        words=Words(
            rest=("POST", "/v1/freezes", {"deployment": "chat", "reason": WHY}),
            graphql=(
                "freeze",
                {"deployment": "chat", "reason": WHY},
                "... on FreezePayload { freeze beginsAt endsAt }",
            ),
            cli=("freeze", "chat", "--reason", WHY),
            form=("/deployments/chat/freeze", {"reason": WHY}),
        ),
        scenario="live",
        done={"ends_at": "none"},
        shown="nothing of chat is switched to green",
        event="frozen",
    ),
    "unfreeze": Case(
        words=Words(
            rest=("POST", "/v1/unfreeze", {"deployment": "chat", "reason": WHY}),
            graphql=(
                "unfreeze",
                {"deployment": "chat", "reason": WHY},
                "... on UnfreezePayload { ended left }",
            ),
            cli=("unfreeze", "chat", "--reason", WHY),
            form=("/deployments/chat/unfreeze", {"reason": WHY}),
        ),
        scenario="frozen",
        done={},
        shown="1 freeze has ended of chat",
        event="unfrozen",
    ),
    "plan": Case(
        words=Words(
            rest=(
                "POST",
                "/v1/rollouts/plan",
                {"deployment": "chat", "revision": serving("new"), "replicas": 3},
            ),
            graphql=(
                "planRollout",
                {"deploymentId": "chat", "content": serving("new"), "replicas": 3},
                "... on PlanRolloutPayload { fromRevision toRevision replicasBefore replicas capacityPeak refused }",
            ),
            cli=("plan", "-f", "-", "--set", "replicas=3"),
            caller="--requested-by",
            file=FILE,
        ),
        scenario="live",
        done={
            "from_revision": "1",
            "to_revision": "2",
            "replicas_before": "1",
            "replicas": "3",
            "capacity_peak": "4",
        },
        event="",
        unseen="",
        weak=None,
    ),
    "start": Case(
        words=Words(
            rest=("POST", "/v1/rollouts", {"deployment": "chat", "revision": serving(), "reason": WHY}),
            graphql=(
                "startRollout",
                {"deploymentId": "chat", "content": serving(), "reason": WHY},
                "... on StartRolloutPayload { workflowId }",
            ),
            cli=("deploy", "-f", "-"),
            caller="--requested-by",
            file=FILE,
        ),
        scenario="nothing",
        done={"workflow_id": "rollout-chat"},
        event="started",
        unseen="",
    ),
    "retry": Case(
        words=Words(
            rest=("POST", f"{CHAT}/retry", {"reason": WHY}),
            graphql=(
                "retryDeployment",
                {"deploymentId": "chat", "reason": WHY},
                "... on RetryDeploymentPayload { toRevision retried waiting }",
            ),
            cli=("retry", "chat", "--reason", WHY),
            form=("/deployments/chat/retry", {"reason": WHY}),
        ),
        scenario="aborted",
        done={"to_revision": "2"},
        shown="has begun, to r2, as rollout",
        event="started",
    ),
    "restart": Case(
        words=Words(
            rest=("POST", f"{CHAT}/restart", {"reason": WHY}),
            graphql=(
                "restartDeployment",
                {"deploymentId": "chat", "reason": WHY},
                "... on RestartDeploymentPayload { workflowId }",
            ),
            cli=("restart", "chat", "--reason", WHY),
            form=("/deployments/chat/restart", {"reason": WHY}),
        ),
        scenario="live",
        done={"workflow_id": "rollout-chat"},
        shown="has begun: r1 → r1",
        event="started",
    ),
    "drop": Case(
        words=Words(
            rest=("POST", f"{CHAT}/drop", {"reason": WHY}),
            graphql=(
                "dropWaiting",
                {"deploymentId": "chat", "reason": WHY},
                "... on DropWaitingPayload { dropped }",
            ),
            cli=("drop", "chat", "--reason", WHY),
            form=("/deployments/chat/drop", {"reason": WHY}),
        ),
        scenario="another_waits",
        done={"mode": "queue"},
        shown="had asked for, waits no more",
        event="successor_dropped",
    ),
    "create_schedule": Case(
        words=Words(
            rest=(
                "POST",
                f"{CHAT}/schedules",
                {"schedule": "nightly", "command": "promote", "cron": "0 3 * * *", "reason": WHY},
            ),
            graphql=(
                "createSchedule",
                {
                    "deploymentId": "chat",
                    "schedule": "nightly",
                    "command": "promote",
                    "cron": "0 3 * * *",
                    "reason": WHY,
                },
                "... on CreateSchedulePayload { created signed }",
            ),
            cli=("schedule", "create", "chat", "nightly", "promote", "--cron", "0 3 * * *", "--reason", WHY),
        ),
        scenario="live",
        done={"created": "true", "signed": "true"},
        event="schedule_created",
    ),
    "delete_schedule": Case(
        words=Words(
            rest=("DELETE", f"{CHAT}/schedules?schedule=nightly&reason={WHY.replace(' ', '%20')}", None),
            graphql=(
                "deleteSchedule",
                {"deploymentId": "chat", "schedule": "nightly", "reason": WHY},
                "... on DeleteSchedulePayload { wasKept wasInTemporal }",
            ),
            cli=("schedule", "delete", "chat", "nightly", "--reason", WHY),
        ),
        scenario="scheduled",
        done={"was_kept": "true", "was_in_temporal": "true"},
        event="schedule_deleted",
    ),
    "forget_router": Case(
        words=Words(
            rest=("DELETE", f"/v1/routers/edge-1?reason={WHY.replace(' ', '%20')}", None),
            graphql=(
                "forgetRouter",
                {"routerId": "edge-1", "reason": WHY},
                "... on ForgetRouterPayload { was changed }",
            ),
            cli=("router", "forget", "edge-1", "--reason", WHY),
        ),
        scenario="router",
        done={"was": "enrolled"},
        event="",
        unseen="NO_SUCH_ROUTER",
        weak=Role.APPROVER,
    ),
}


def _given() -> list[tuple[str, Way]]:
    return [(verb, way) for verb, case in CASES.items() for way in Way if way is not Way.CONSOLE or case.words.form]


@pytest.mark.parametrize(("verb", "way"), _given())
async def test_a_command_is_done_and_written_down(verb: str, way: Way, doors: Doors, rows: Rows) -> None:
    await _is_done(CASES[verb], way, doors, rows)


async def _is_done(case: Case, way: Way, doors: Doors, rows: Rows) -> None:
    await Scenarios(doors, rows).bring(case.scenario)

    answer = await doors.give(way, case.words)

    if way is Way.DIRECT and case.past_the_api:
        assert answer.code == case.past_the_api, answer.text
        return
    assert answer.code == "", answer.text
    if way is Way.CONSOLE:
        assert case.shown in answer.text
    else:
        assert {key: answer.values.get(key) for key in case.done} == case.done
    if case.event:
        await _is_written(case, way, doors, rows)


RECORDED: Final = Case(
    words=Words(
        rest=("POST", f"{CHAT}/promote", {"reason": WHY}),
        graphql=(
            "promoteDeployment",
            {"deploymentId": "chat", "revision": 2, "reason": WHY},
            "... on PromotePayload { state approvals approvalsNeeded approvedBy }",
        ),
        cli=("promote", "chat", "--reason", WHY),
        form=("/deployments/chat/promote", {"reason": WHY}),
    ),
    scenario="awaiting_two",
    done={"state": "recorded", "approvals": "1"},
    shown="Your approval is recorded: 1 of 2 approvals (admin).",
    event="approved",
)
TAKEN_BACK: Final = Case(
    words=Words(
        rest=("POST", f"{CHAT}/withdraw", {"reason": WHY}),
        graphql=(
            "withdrawRollout",
            {"deploymentId": "chat", "reason": WHY},
            "... on WithdrawRolloutPayload { withdrawn approvals needed }",
        ),
        cli=("withdraw", "chat", "--reason", WHY),
        form=("/deployments/chat/withdraw", {"reason": WHY}),
    ),
    scenario="approved_once",
    done={"withdrawn": "approval", "approvals": "0", "needed": "2"},
    shown="Withdrawn: your approval counts no more, 0 of 2 are left.",
    event="approval_withdrawn",
    past_the_api="NO_OWN_APPROVAL",
)


@pytest.mark.parametrize("way", Way)
async def test_the_first_of_two_approvals_is_recorded_at_every_door(way: Way, doors: Doors, rows: Rows) -> None:
    await _is_done(RECORDED, way, doors, rows)
    assert await rows.value("select live_set from deployments") == await rows.value("select min(id) from route_sets")


@pytest.mark.parametrize("way", Way)
async def test_the_own_approval_is_withdrawn_at_every_door(way: Way, doors: Doors, rows: Rows) -> None:
    await _is_done(TAKEN_BACK, way, doors, rows)


@pytest.mark.parametrize("as_update", [True, False])
async def test_a_bare_message_of_temporal_is_no_approval_and_is_told_so(
    doors: Doors, rows: Rows, *, as_update: bool
) -> None:
    await Scenarios(doors, rows).bring("awaiting_two")
    handle = doors.temporal.get_workflow_handle(workflow_id("chat"))

    if as_update:
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update("promote")
        assert "nobody vouches for the sender" in str(refused.value.cause)
    else:
        await handle.signal("promote")

    async def told() -> bool:
        lines = await rows.rows("select reason from rollout_events where kind = 'promotion_refused'")
        return any("nobody vouches for the sender" in one["reason"] for one in lines)

    # The workflow tells it with its next step.
    answer = await doors.api.call("POST", f"{CHAT}/promote", Role.ADMIN, body={})
    assert answer.json["answer"]["state"] == "recorded"
    async with asyncio.timeout(DEADLINE_SECONDS):
        await doors.api.until(told)
    assert await rows.value("select count(*) from approvals") == 1


@pytest.mark.parametrize("way", list(Way))
async def test_a_rollback_while_no_rollout_is_under_way_starts_one_back(way: Way, doors: Doors, rows: Rows) -> None:
    await Scenarios(doors, rows).bring("two_lives")

    answer = await doors.give(way, CASES["rollback"].words)

    assert answer.code == "", answer.text
    assert "inside the rollback window: r1 is 1 revision back" in answer.text
    if way is not Way.CONSOLE:
        assert answer.values["state"] == "started"
    begun = await rows.rows("select * from rollouts where outcome is null")
    assert [(one["to_revision"], one["gated"], one["requested_by"], one["reason"]) for one in begun] == [
        (1, False, CALLER, WHY)
    ]


async def _is_written(case: Case, way: Way, doors: Doors, rows: Rows) -> None:
    """Wait for the line of the audit log: a workflow answers first, and writes it with its next step."""
    door = {Way.REST: "api", Way.GRAPHQL: "api", Way.CLI: "cli", Way.DIRECT: "cli", Way.CONSOLE: "console"}[way]
    found: list[object] = []

    async def written() -> bool:
        lines = await rows.rows(
            "select actor, door, reason from rollout_events where kind = :kind and reason = :why",
            kind=case.event,
            why=WHY,
        )
        found[:] = [(one["actor"], one["door"], one["reason"]) for one in lines]
        return bool(found)

    async with asyncio.timeout(DEADLINE_SECONDS):
        await doors.api.until(written)
    assert found == [(CALLER, door, WHY)]


@pytest.mark.parametrize(("verb", "way"), [(verb, way) for verb, way in _given() if CASES[verb].unseen])
async def test_a_command_on_what_is_not_there_is_refused(verb: str, way: Way, doors: Doors, rows: Rows) -> None:
    case = CASES[verb]
    before = await rows.dump()

    answer = await doors.give(way, case.words)

    if way is Way.CONSOLE:
        assert answer.code == "REFUSED"
        assert "there is no deployment chat" in answer.text
    else:
        assert answer.code == case.unseen, answer.text
    after = await rows.dump()
    assert {name for name in before if before[name] != after[name]} <= {"api_tokens", "console_sessions"}


@pytest.mark.parametrize(
    ("verb", "way"), [(verb, way) for verb, way in _given() if way is not Way.DIRECT and CASES[verb].weak]
)
async def test_a_command_of_who_may_not_is_refused(verb: str, way: Way, doors: Doors, rows: Rows) -> None:
    case = CASES[verb]
    assert case.weak is not None
    if case.scenario != "nothing":
        await rows.live()
    if verb in {one.verb for one in commands() if one.scope is Scope.ROLLOUT}:
        await rows.ready("run-2")

    answer: Answer = await doors.give(way, case.words, case.weak)

    assert answer.code == "FORBIDDEN", answer.text


WAITING: Final = Case(
    words=Words(
        rest=(
            "POST",
            "/v1/rollouts",
            {"deployment": "chat", "revision": serving("new"), "policy": {"on_new_revision": "queue"}},
        ),
        graphql=(
            "startRollout",
            {
                "deploymentId": "chat",
                "content": serving("new"),
                "policy": {"on_new_revision": "queue"},
            },
            "... on StartRolloutPayload { state waiting replaced }",
        ),
        cli=("deploy", "-f", "-", "--set", "policy.on_new_revision=queue"),
        caller="--requested-by",
        file=FILE,
    ),
    scenario="awaiting",
    done={"state": "waits", "mode": "queue", "requested_by": "admin"},
    event="successor_waits",
)


@pytest.mark.parametrize("way", [Way.REST, Way.GRAPHQL, Way.CLI, Way.DIRECT])
async def test_a_request_that_waits_is_answered_so_at_every_door(way: Way, doors: Doors, rows: Rows) -> None:
    await Scenarios(doors, rows).bring(WAITING.scenario)

    answer = await doors.give(way, WAITING.words)

    assert answer.code == "", answer.text
    assert {key: answer.values.get(key) for key in WAITING.done} == WAITING.done
    assert await rows.value("select revision from next_rollouts") == 3
    again = await doors.give(way, WAITING.words)
    assert again.code == "", again.text
    assert again.values["state"] == "already_there"


@pytest.mark.parametrize("restart", [False, True])
async def test_what_is_live_is_started_once_more_only_by_restart(doors: Doors, rows: Rows, *, restart: bool) -> None:
    await rows.live()
    body = {"deployment": "chat", "revision": 1, "restart": restart}

    answer = await doors.api.call("POST", "/v1/rollouts", Role.ADMIN, body=body)

    assert answer.status == 202, answer.text
    assert answer.json["state"] == ("started" if restart else "ALREADY_THERE")
    assert await rows.value("select count(*) from rollouts") == (2 if restart else 1)


async def test_a_retry_starts_what_waits(doors: Doors, rows: Rows) -> None:
    await rows.live()
    opened = await rows.open("run-2")
    assert (await doors.give(Way.REST, WAITING.words)).values["state"] == "waits"
    await rows.finish(opened, RolloutOutcome.ABORTED)

    answer = await doors.give(Way.REST, CASES["retry"].words)

    assert (answer.code, answer.values["to_revision"]) == ("", "3"), answer.text
    assert await rows.value("select count(*) from next_rollouts") == 0
    assert await rows.value("select requested_by from rollouts order by id desc limit 1") == "admin"


async def test_what_waits_is_shown_at_every_door(doors: Doors, rows: Rows) -> None:
    await rows.live()
    opened = await rows.open("run-2")
    await doors.give(Way.REST, WAITING.words)
    waits_for = f"the end of rollout {opened.begun.rollout}"

    shown = await doors.api.call("GET", "/v1/deployments/chat", Role.VIEWER)
    listed = await doors.api.call("GET", "/v1/deployments", Role.VIEWER)
    asked = await doors.api.data('{ deployment(name: "chat") { next { revision requestedBy waitsFor } } }', Role.VIEWER)

    assert shown.json["deployment"]["next"]["waits_for"] == waits_for
    assert listed.json["deployments"][0]["next"]["waits_for"] == waits_for
    assert asked["deployment"]["next"] == {"revision": 3, "requestedBy": "admin", "waitsFor": waits_for}
    doors.ways.directly()
    for words in (("rollout", "status", "chat"), ("deployment", "list"), ("deployment", "show", "chat")):
        assert "r3" in (await doors.command(*words)).output
