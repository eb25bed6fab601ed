"""Every command at every door: done, refused, and written down with who asked and by which way."""

import asyncio
from dataclasses import dataclass
from typing import Final

import pytest

from celadon.domain.language.permissions import Role
from celadon.service.command import Scope
from celadon.service.registry import commands
from tests.api.conftest import DEADLINE_SECONDS
from tests.service.doors import CALLER, Answer, Doors, Scenes, Way, Words
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

CHAT: Final = "/v1/deployments/chat"
WHY: Final = "because of tests"
FILE: Final = f"deployment: chat\nrevision:\n  command: [serve, new]\nreason: {WHY}\n"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command, what is there before it, and what comes of it."""

    words: Words
    scene: str
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
    weak: Role = Role.VIEWER
    """A role that may not."""


def _back(verb: str, mutation: str) -> Words:
    return Words(
        rest=("POST", f"{CHAT}/{verb}", {"reason": WHY}),
        graphql=(mutation, {"deploymentId": "chat", "reason": WHY}, "... on BackPayload { state outcome }"),
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
            f"... on {kind}Payload {{ phase }}",
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
        scene="awaiting",
        done={"state": "switched"},
        shown="is live since epoch",
        event="switched",
    ),
    "abort": Case(
        words=_back("abort", "abortRollout"),
        scene="provisioning",
        done={"outcome": "aborted", "state": "decided"},
        shown="The rollout is aborted: green is being closed.",
        event="abort_requested",
    ),
    "rollback": Case(
        words=_back("rollback", "rollbackDeployment"),
        scene="baking",
        done={"outcome": "rolled_back", "state": "decided"},
        shown="Traffic is back on blue since epoch",
        event="switched_back",
    ),
    "finish": Case(
        words=_judged("finish", "FinishRollout"),
        scene="baking",
        done={"phase": "draining"},
        shown="The bake is finished",
        event="finish_requested",
    ),
    "withdraw": Case(
        words=_judged("withdraw", "WithdrawRollout"),
        scene="stuck_abort",
        done={"phase": "baking"},
        shown="Withdrawn",
        event="withdrawal_requested",
        past_the_api="FORBIDDEN",
    ),
    "pause": Case(
        words=_judged("pause", "PauseRollout"),
        scene="awaiting",
        done={"phase": "awaiting_promotion"},
        shown="Paused: all timers stand still until it is resumed.",
        event="pause_requested",
    ),
    "resume": Case(
        words=_judged("resume", "ResumeRollout"),
        scene="paused",
        done={"phase": "awaiting_promotion"},
        shown="Resumed: the timers run on",
        event="resume_requested",
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
        scene="live",
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
        scene="live",
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
        scene="live",
        done={"changed": "true"},
        event="labelled",
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
        scene="nothing",
        done={"created": "true"},
        event="created",
        unseen="",
    ),
    "add_revision": Case(
        words=Words(
            rest=("POST", f"{CHAT}/revisions", {"revision": {"command": ["serve", "new"]}, "reason": WHY}),
            graphql=(
                "addRevision",
                {"deploymentId": "chat", "revision": {"command": ["serve", "new"]}, "reason": WHY},
                "... on AddRevisionPayload { revision }",
            ),
            cli=("revision", "add", "-f", "-"),
            file=FILE,
        ),
        scene="live",
        done={"revision": "2"},
        event="revision_added",
    ),
    "start": Case(
        words=Words(
            rest=("POST", "/v1/rollouts", {"deployment": "chat", "revision": {"command": ["serve"]}, "reason": WHY}),
            graphql=(
                "startRollout",
                {"deploymentId": "chat", "content": {"command": ["serve"]}, "reason": WHY},
                "... on StartRolloutPayload { workflowId }",
            ),
            cli=("deploy", "-f", "-"),
            caller="--requested-by",
            file=FILE,
        ),
        scene="nothing",
        done={"workflow_id": "rollout-chat"},
        event="started",
        unseen="",
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
        scene="router",
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
    case = CASES[verb]
    await Scenes(doors, rows).bring(case.scene)

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


@pytest.mark.parametrize(("verb", "way"), [(verb, way) for verb, way in _given() if way is not Way.DIRECT])
async def test_a_command_of_who_may_not_is_refused(verb: str, way: Way, doors: Doors, rows: Rows) -> None:
    case = CASES[verb]
    if case.scene != "nothing":
        await rows.live()
    if verb in {one.verb for one in commands() if one.scope is Scope.ROLLOUT}:
        await rows.ready("run-2")

    answer: Answer = await doors.give(way, case.words, case.weak)

    assert answer.code == "FORBIDDEN", answer.text
