"""Every role and every verb, through HTTP; and whoever shows nothing gets nothing."""

import asyncio
import json
from typing import Any

import pytest

from celadon.domain.language.permissions import ALLOWED, GLOBAL, Role, Verb
from tests.api.conftest import DEADLINE_SECONDS, ApiClient
from tests.revisions import serving
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

REVISION = serving()

REST: dict[Verb, tuple[str, str, Any]] = {
    Verb.READ: ("GET", "/v1/deployments/chat", None),
    Verb.CREATE: ("POST", "/v1/deployments/chat/revisions", {"revision": REVISION}),
    Verb.START: ("POST", "/v1/rollouts", {"deployment": "chat", "revision": 1}),
    Verb.ABORT: ("POST", "/v1/deployments/chat/abort", {}),
    Verb.SCALE: ("POST", "/v1/deployments/chat/scale", {"replicas": 2}),
    Verb.PROMOTE: ("POST", "/v1/deployments/chat/promote", {}),
    Verb.FORCE: ("POST", "/v1/deployments/chat/promote", {"force": True, "reason": "now"}),
    Verb.ROLLBACK: ("POST", "/v1/deployments/chat/rollback", {}),
    Verb.PAUSE: ("POST", "/v1/deployments/chat/pause", {}),
    Verb.FREEZE: ("POST", "/v1/freezes", {"deployment": "chat"}),
    Verb.UNFREEZE: ("POST", "/v1/unfreeze", {"deployment": "chat"}),
    Verb.FREEZE_ALL: ("POST", "/v1/freezes", {"all": True}),
    Verb.WAIVE_APPROVALS: (
        "POST",
        "/v1/rollouts",
        {"deployment": "chat", "revision": 1, "policy": {"approvals": None}},
    ),
    Verb.SCHEDULE: ("DELETE", "/v1/deployments/chat/schedules?schedule=nightly", None),
    Verb.DELETE: ("DELETE", "/v1/deployments/chat", None),
    Verb.LABEL: ("PUT", "/v1/deployments/chat/labels", {"labels": {}}),
    Verb.SET_HOSTS: ("PUT", "/v1/deployments/chat/hosts", {"hosts": []}),
    Verb.SET_TRAFFIC: ("PATCH", "/v1/deployments/chat/traffic", {"retries": 0}),
    Verb.SET_POLICY: ("PATCH", "/v1/deployments/chat/policy", {"policy": {"bake": "1m"}}),
    Verb.SET_DEFAULTS: ("PATCH", "/v1/policy", {"policy": {"bake": "1m"}}),
    Verb.FORGET_ROUTER: ("DELETE", "/v1/routers/edge-1", None),
    Verb.SCRAPE: ("GET", "/metrics", None),
}


def _mutation(call: str) -> str:
    return f"mutation {{ {call} {{ ... on Refused {{ code }} }} }}"


GRAPHQL: dict[Verb, str] = {
    Verb.CREATE: _mutation(
        'addRevision(input: {deploymentId: "chat", revision: {command: ["serve"], health_check: {tcp: true}}})'
    ),
    Verb.START: _mutation('startRollout(input: {deploymentId: "chat", revision: 1})'),
    Verb.ABORT: _mutation('abortRollout(input: {deploymentId: "chat"})'),
    Verb.SCALE: _mutation('scaleDeployment(input: {deploymentId: "chat", replicas: 2})'),
    Verb.PROMOTE: _mutation('promoteDeployment(input: {deploymentId: "chat", revision: 1})'),
    Verb.FORCE: _mutation('promoteDeployment(input: {deploymentId: "chat", revision: 1, force: true, reason: "now"})'),
    Verb.ROLLBACK: _mutation('rollbackDeployment(input: {deploymentId: "chat"})'),
    Verb.PAUSE: _mutation('pauseRollout(input: {deploymentId: "chat"})'),
    Verb.FREEZE: _mutation('freeze(input: {deployment: "chat"})'),
    Verb.UNFREEZE: _mutation('unfreeze(input: {deployment: "chat"})'),
    Verb.FREEZE_ALL: _mutation("freeze(input: {all: true})"),
    Verb.WAIVE_APPROVALS: _mutation(
        'startRollout(input: {deploymentId: "chat", revision: 1, policy: {approvals: null}})'
    ),
    Verb.SCHEDULE: _mutation('deleteSchedule(input: {deploymentId: "chat", schedule: "nightly"})'),
    Verb.DELETE: _mutation('deleteDeployment(input: {deploymentId: "chat"})'),
    Verb.LABEL: _mutation('labelDeployment(input: {deploymentId: "chat", labels: []})'),
    Verb.SET_HOSTS: _mutation('setDeploymentHosts(input: {deploymentId: "chat", hosts: []})'),
    Verb.SET_TRAFFIC: _mutation('setDeploymentTraffic(input: {deploymentId: "chat", retries: 0})'),
    Verb.SET_POLICY: _mutation('setDeploymentPolicy(input: {deploymentId: "chat", policy: {bake: "1m"}})'),
    Verb.SET_DEFAULTS: _mutation('setDefaultPolicy(input: {policy: {bake: "1m"}})'),
    Verb.FORGET_ROUTER: _mutation('forgetRouter(input: {routerId: "edge-1"})'),
}


async def arrange(rows: Rows) -> None:
    """Let a deployment be live whose rollouts two people must approve."""
    await rows.live()
    await rows.sql("""update deployments set policy = '{"approvals": {"count": 2}}'""")


def test_every_verb_is_asked_for_through_rest() -> None:
    assert set(REST) == set(Verb)


def test_every_verb_of_graphql_is_asked_for() -> None:
    assert set(Verb) - set(GRAPHQL) == {Verb.READ, Verb.SCRAPE}


@pytest.mark.parametrize("verb", Verb)
async def test_rest_lets_each_role_do_what_the_table_says(api: ApiClient, rows: Rows, verb: Verb) -> None:
    await arrange(rows)
    method, path, body = REST[verb]
    for role in Role:
        answer = await api.call(method, path, role, body=body)
        assert (answer.status == 403) is (verb not in ALLOWED[role]), (role, answer.text)
        if answer.status == 403:
            assert answer.code == "FORBIDDEN"
            assert api.name_of(role) in answer.json["detail"]


@pytest.mark.parametrize("verb", GRAPHQL)
async def test_graphql_lets_each_role_do_what_the_table_says(api: ApiClient, rows: Rows, verb: Verb) -> None:
    await arrange(rows)
    for role in Role:
        data = await api.data(GRAPHQL[verb], role)
        [payload] = data.values()
        assert (payload.get("code") == "FORBIDDEN") is (verb not in ALLOWED[role]), (role, data)


@pytest.mark.parametrize("verb", Verb)
async def test_nobody_may_do_anything(api: ApiClient, verb: Verb) -> None:
    method, path, body = REST[verb]
    for token in (None, "", "wrong", "celadon_0000000000000000_wrong", "a.b.c"):
        answer = await api.call(method, path, body=body, token=token)
        assert answer.status == 401
        assert answer.code == "UNAUTHENTICATED"
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_nobody_may_query_or_follow(api: ApiClient) -> None:
    for method, path in (("POST", "/graphql"), ("GET", "/graphql"), ("GET", "/v1/stream"), ("GET", "/v1/whoami")):
        answer = await api.call(method, path, body={"query": "{ __typename }"} if method == "POST" else None)
        assert answer.status in {401, 405}, (path, answer.status)


async def test_probes_let_anybody_in_and_tell_nothing(api: ApiClient) -> None:
    assert (await api.call("GET", "/healthz")).json == {"status": "ok"}
    told: list[object] = []

    async def ready() -> bool:
        answer = await api.call("GET", "/readyz")
        told.append(answer.json)
        return answer.status == 200

    # A part that does not answer within seconds, because the machine is busy, is not reached at that moment.
    async with asyncio.timeout(DEADLINE_SECONDS):
        await api.until(ready)
    assert told[-1] == {"postgres": True, "temporal": True}


async def test_who_may_not_promote_may_not_start_what_promotes_itself(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    start = {"deployment": "chat", "revision": 1, "policy": {"auto_promote": True}}
    assert (await api.call("POST", "/v1/rollouts", Role.OPERATOR, body=start)).code == "FORBIDDEN"
    create = {"deployment": "search", "policy": {"auto_promote": True}}
    assert (await api.call("POST", "/v1/deployments", Role.OPERATOR, body=create)).code == "FORBIDDEN"
    both = await api.call("POST", "/v1/deployments", Role.OPERATOR, Role.APPROVER, body=create)
    assert both.status == 201, both.text


SEARCH = {"team": "search"}


async def test_a_scoped_caller_sees_its_own_deployments_only(api: ApiClient, rows: Rows) -> None:
    await rows.live(labels=SEARCH)
    await rows.live("run-2", deployment="ads")
    listed = await api.call("GET", "/v1/deployments", Role.ADMIN, scope=SEARCH)
    assert [one["deployment"] for one in listed.json["deployments"]] == ["chat"]
    data = await api.graphql(
        "{ deployments { edges { node { name } } } rollouts { edges { node { deploymentId } } } "
        'deployment(name: "ads") { name } '
        'routes(deploymentId: "ads") { edges { node { id } } } }',
        Role.ADMIN,
        scope=SEARCH,
    )
    assert data["data"] == {
        "deployments": {"edges": [{"node": {"name": "chat"}}]},
        "rollouts": {"edges": [{"node": {"deploymentId": "chat"}}]},
        "deployment": None,
        "routes": {"edges": []},
    }
    events = await api.call("GET", "/v1/events", Role.VIEWER, scope=SEARCH)
    assert {one["deployment"] for one in events.json["events"]} == {"chat"}


@pytest.mark.parametrize("verb", sorted(set(Verb) - GLOBAL))
async def test_what_is_out_of_scope_is_as_if_it_were_not_there(api: ApiClient, rows: Rows, verb: Verb) -> None:
    await rows.live()
    method, path, body = REST[verb]
    if verb is Verb.LABEL:
        body = {"labels": SEARCH}
    hidden = await api.call(method, path, Role.ADMIN, body=body, scope=SEARCH)
    assert hidden.code == "NO_SUCH_DEPLOYMENT", hidden.text
    if verb in {Verb.START, Verb.WAIVE_APPROVALS}:
        return  # a start of what is not there creates it
    nobody = json.loads(json.dumps(body).replace("chat", "nobody"))
    absent = await api.call(method, path.replace("chat", "nobody"), Role.ADMIN, body=nobody, scope=SEARCH)
    assert absent.json == {**hidden.json, "detail": hidden.json["detail"].replace("chat", "nobody")}


@pytest.mark.parametrize("verb", sorted(GLOBAL))
async def test_a_scoped_caller_may_not_do_what_concerns_all(api: ApiClient, verb: Verb) -> None:
    method, path, body = REST[verb]
    assert (await api.call(method, path, Role.ADMIN, body=body, scope=SEARCH)).code == "FORBIDDEN"


async def test_a_scoped_caller_creates_within_its_scope_only(api: ApiClient) -> None:
    for labels, status in (({}, 403), ({"team": "ads"}, 403), ({"team": "search", "env": "prod"}, 201)):
        body = {"deployment": "chat", "labels": labels}
        answer = await api.call("POST", "/v1/deployments", Role.OPERATOR, body=body, scope=SEARCH)
        assert answer.status == status, answer.text
    for given, status in (({}, 403), ({"labels": {"team": "ads"}}, 403), ({"labels": SEARCH}, 202)):
        body = {"deployment": "other", "revision": REVISION, **given}
        answer = await api.call("POST", "/v1/rollouts", Role.OPERATOR, body=body, scope=SEARCH)
        assert answer.status == status, answer.text


async def test_nobody_asks_in_the_name_of_another(api: ApiClient) -> None:
    body = {"deployment": "chat", "revision": REVISION, "requested_by": "the-boss"}
    answer = await api.call("POST", "/v1/rollouts", Role.OPERATOR, body=body)
    assert answer.code == "INVALID_PAYLOAD"
    assert "the-boss" in answer.json["detail"]


async def test_a_start_through_the_api_is_verified_in_the_audit_log(api: ApiClient, rows: Rows) -> None:
    body = {"deployment": "chat", "revision": REVISION, "reason": "first"}
    started = await api.call("POST", "/v1/rollouts", Role.OPERATOR, body=body, headers={"x-celadon-door": "cli"})
    assert started.status == 202, started.text
    [line] = await rows.rows("select actor, door, verified, reason from rollout_events where kind = 'started'")
    assert dict(line) == {"actor": "operator", "door": "cli", "verified": True, "reason": "first"}
    aborted = await api.call("POST", "/v1/deployments/chat/abort", Role.OPERATOR, body={"reason": "wrong"})
    assert aborted.status == 200, aborted.text

    async def lines() -> set[tuple[str, str, bool]]:
        found = await rows.rows(
            "select actor, door, verified from rollout_events where kind in ('abort_requested', 'aborted')",
        )
        return {(line["actor"], line["door"], line["verified"]) for line in found}

    async with asyncio.timeout(DEADLINE_SECONDS):
        await api.until(lines)
    assert await lines() == {("operator", "api", True)}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/rollouts", {"deployment": "chat", "revision": {"command": ["serve", "new"]}}),
        ("/v1/deployments/chat/revisions", {"revision": {"command": ["serve", "new"]}}),
    ],
)
async def test_a_revision_that_does_not_say_how_its_health_is_known_is_refused_before_anything_starts(
    api: ApiClient, rows: Rows, path: str, body: dict[str, object]
) -> None:
    await rows.live()

    answer = await api.call("POST", path, Role.ADMIN, body=body)

    assert (answer.status, answer.code) == (422, "INVALID_PAYLOAD")
    assert "preset: NAME" in answer.text
    assert await rows.value("select count(*) from revisions") == 1
    assert await rows.value("select count(*) from rollouts") == 1
