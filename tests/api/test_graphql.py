"""The GraphQL schema: what is read, page by page, and in how many statements."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.permissions import Role
from tests.api.conftest import ApiClient
from tests.revisions import serving
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

EVERYTHING = """
{ deployments(first: 10) { edges { node {
    name phase lifecycle waitsFor
    labels { name value }
    rollout { id phase deployment { name } }
    rollouts(first: 3) { edges { node { id } } }
    routes(first: 5) { edges { node { id status health traffic trafficRatio } } }
    routeSets(first: 3) { edges { node { id isLive wanted } } }
    revisions(first: 5) { edges { node { number content } } }
    acknowledgements(first: 5) { edges { node { router acknowledged } } }
    events(first: 2) { edges { cursor node { kind actor verified } } pageInfo { hasNextPage } }
} } } }
"""


@contextmanager
def counted(api: ApiClient) -> Iterator[list[str]]:
    """Collect the statements that read rows, of every connection of this process."""
    from sqlalchemy.engine import Engine  # noqa: PLC0415 - the class whose instances are listened to

    del api
    statements: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().lower().startswith("select") and "api_tokens" not in statement:
            statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def test_a_query_takes_as_many_statements_for_many_deployments_as_for_one(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    with counted(api) as one:
        first = await api.data(EVERYTHING)
    for number in range(5):
        await rows.live(f"more-{number}", deployment=f"more{number}")
    with counted(api) as many:
        six = await api.data(EVERYTHING)
    assert len(first["deployments"]["edges"]) == 1
    assert len(six["deployments"]["edges"]) == 6
    assert len(one) == len(many)
    reads = [statement for statement in many if " from " in statement.lower() and "clock_timestamp" not in statement]
    assert len(reads) <= 9, reads


async def test_the_phase_is_seen_everywhere(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    await rows.open("run-2")
    data = await api.data(
        "{ deployments { edges { node { phase rollout { phase } } } } "
        'deployment(id: "chat") { phase phaseSince waitsFor } '
        "rollouts(filter: {unfinished: true}) { edges { node { phase deployment { phase } } } } }",
        Role.VIEWER,
    )
    [edge] = data["deployments"]["edges"]
    assert edge["node"] == {"phase": "PROVISIONING", "rollout": {"phase": "PROVISIONING"}}
    assert data["deployment"]["phase"] == "PROVISIONING"
    assert data["deployment"]["waitsFor"] == "keeper"
    [edge] = data["rollouts"]["edges"]
    assert edge["node"] == {"phase": "PROVISIONING", "deployment": {"phase": "PROVISIONING"}}
    listed = (await api.call("GET", "/v1/deployments", Role.VIEWER)).json["deployments"]
    assert listed[0]["rollout"]["phase"] == "provisioning"
    shown = (await api.call("GET", "/v1/deployments/chat", Role.VIEWER)).json
    assert shown["phase"] == "provisioning"


@pytest.mark.parametrize("hold", ["freeze", "pause"])
async def test_a_rollout_and_its_deployment_wait_for_the_same(hold: str, api: ApiClient, rows: Rows) -> None:
    await rows.live()
    opened = await rows.ready("run-2", policy={"auto_promote": True})
    await rows.sql("update rollouts set phase = 'awaiting_promotion' where outcome is null")
    await rows.sql(
        "insert into freezes (deployment, begins_at, actor) values (null, now() - interval '1 minute', 'ann')"
        if hold == "freeze"
        else "insert into pauses (rollout, since) select id, now() from rollouts where outcome is null"
    )

    data = await api.data(
        '{ deployment(id: "chat") { waitsFor rollout { waitsFor } } '
        "rollouts(filter: {unfinished: true}) { edges { node { waitsFor } } } "
        f'rollout(id: "{opened.begun.rollout}") {{ waitsFor }} }}'
    )

    said = [
        data["deployment"]["waitsFor"],
        data["deployment"]["rollout"]["waitsFor"],
        data["rollouts"]["edges"][0]["node"]["waitsFor"],
        data["rollout"]["waitsFor"],
    ]
    assert said == [f"the end of the {hold}"] * 4


async def test_policies_are_shown_with_the_layer_of_each_value(api: ApiClient, rows: Rows) -> None:
    await rows.live(policy={"bake": "10m"})
    body = {"policy": {"drain_timeout": "2m"}, "reason": "load"}
    assert (await api.call("PATCH", "/v1/policy", Role.ADMIN, body=body)).status == 200

    data = await api.data(
        '{ policy(deploymentId: "chat") { deploymentId keys { key value layer } } '
        'none: policy(deploymentId: "nobody") { deploymentId } '
        "defaults: policy { deploymentId keys { key layer } changes { by reason changes { field before after } } } }"
    )

    keys = {one["key"]: (one["value"], one["layer"]) for one in data["policy"]["keys"]}
    assert (keys["bake"], keys["drain_timeout"]) == (("10m", "DEPLOYMENT"), ("2m", "INSTALLATION"))
    assert data["none"] is None
    [change] = data["defaults"]["changes"]
    assert change["reason"] == "load"
    assert change["changes"] == [{"field": "drain_timeout", "before": "15m (default)", "after": "2m (installation)"}]


async def test_schedules_of_a_deployment_are_listed_by_name_in_pages(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    for name in ("weekly", "nightly"):
        body = {"schedule": name, "command": "promote", "cron": "0 3 * * *"}
        assert (await api.call("POST", "/v1/deployments/chat/schedules", Role.ADMIN, body=body)).status == 201
    query = (
        'query($after: String) { schedules(deploymentId: "chat", first: 1, after: $after) '
        "{ edges { node { name command when author signed state } } pageInfo { hasNextPage endCursor } } }"
    )

    first = (await api.data(query, after=None))["schedules"]
    second = (await api.data(query, after=first["pageInfo"]["endCursor"]))["schedules"]

    assert [page["edges"][0]["node"]["name"] for page in (first, second)] == ["nightly", "weekly"]
    assert first["edges"][0]["node"]["command"] == "promote"
    assert (first["pageInfo"]["hasNextPage"], second["pageInfo"]["hasNextPage"]) == (True, False)
    assert (await api.data('{ schedules(deploymentId: "nobody") { edges { node { name } } } }'))["schedules"] == {
        "edges": []
    }


async def test_pages_of_rollouts_meet_without_gap_or_overlap(api: ApiClient, rows: Rows) -> None:
    for number in range(5):
        await rows.live(f"run-{number}")
    query = (
        "query($after: String) { rollouts(first: 2, after: $after) "
        "{ edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage endCursor } } }"
    )
    seen: list[int] = []
    after = None
    pages = 0
    while True:
        page = (await api.data(query, after=after))["rollouts"]
        seen += [int(edge["node"]["id"]) for edge in page["edges"]]
        assert page["pageInfo"]["hasPreviousPage"] is (after is not None)
        pages += 1
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert pages == 3
    assert len(seen) == 5
    assert seen == sorted(seen, reverse=True)
    rest: list[int] = []
    before: int | None = None
    while True:
        path = f"/v1/deployments/chat/rollouts?limit=2{'' if before is None else f'&before={before}'}"
        got = (await api.call("GET", path, Role.VIEWER)).json
        rest += [one["rollout"] for one in got["rollouts"]]
        before = got["next_before"]
        if before is None:
            break
    assert rest == seen


async def test_rollouts_are_filtered(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    await rows.open("run-2")
    query = "query($f: RolloutsFilter) { rollouts(filter: $f) { edges { node { outcome } } } }"
    cases: list[tuple[dict[str, Any], int]] = [
        ({}, 2),
        ({"outcome": "PROMOTED"}, 1),
        ({"phase": "PROVISIONING"}, 1),
        ({"unfinished": True}, 1),
        ({"unfinished": False}, 1),
        ({"deploymentId": "chat"}, 2),
        ({"deploymentId": "nobody"}, 0),
    ]
    for wanted, count in cases:
        data = await api.data(query, f=wanted)
        assert len(data["rollouts"]["edges"]) == count, wanted


@pytest.mark.parametrize("cursor", ["", "x", "cm9sbG91dA==", "ZXZlbnQ6MQ==", "cm9sbG91dDotMQ=="])
async def test_a_wrong_cursor_is_refused(api: ApiClient, cursor: str) -> None:
    answer = await api.graphql(
        "query($after: String) { rollouts(after: $after) { edges { cursor } } }",
        after=cursor,
    )
    assert answer["errors"][0]["extensions"]["code"] == "INVALID_PAYLOAD"


async def test_every_refusal_of_the_domain_is_a_code_of_the_schema(api: ApiClient) -> None:
    data = await api.data('{ __type(name: "RefusalCode") { enumValues { name } } }')
    assert {one["name"] for one in data["__type"]["enumValues"]} == {code.value for code in RefusalCode}


async def test_mutations_answer_what_happened_or_a_typed_refusal(api: ApiClient, rows: Rows) -> None:
    del rows
    create = """mutation { createDeployment(
        input: {name: "chat", replicas: 2, labels: [{name: "team", value: "search"}], policy: {bake: "1m"}}
    ) {
        ... on CreateDeploymentPayload { created deployment { replicas labels { value } } }
        ... on Refused { code message nextStep }
    } }"""
    first = (await api.data(create))["createDeployment"]
    assert first == {"created": True, "deployment": {"replicas": 2, "labels": [{"value": "search"}]}}
    assert (await api.data(create))["createDeployment"]["created"] is False
    other = (await api.data(create.replace("replicas: 2", "replicas: 3")))["createDeployment"]
    assert other["code"] == "DEPLOYMENT_EXISTS"
    assert other["nextStep"]
    add = """mutation { addRevision(
        input: {deploymentId: "chat", revision: {command: ["serve"], env: {API_TOKEN: "x"}, health_check: {tcp: true}}}
    ) {
        ... on AddRevisionPayload { revision }
        ... on Refused { code message }
    } }"""
    assert (await api.data(add))["addRevision"]["code"] == "PLAIN_SECRET"
    good = add.replace('env: {API_TOKEN: "x"}', 'env: {API_TOKEN: {secret: "hub"}}')
    assert (await api.data(good))["addRevision"] == {"revision": 1}
    scaled = await api.data(
        'mutation { scaleDeployment(input: {deploymentId: "chat", replicas: 4}) '
        "{ ... on ScaleDeploymentPayload { before changed deployment { replicas } } ... on Refused { code } } }",
    )
    assert scaled["scaleDeployment"] == {"before": 2, "changed": True, "deployment": {"replicas": 4}}
    promote = """mutation { promoteDeployment(input: {deploymentId: "chat", revision: 1})
        { ... on Refused { code nextStep } } }"""
    assert (await api.data(promote))["promoteDeployment"]["code"] == "NO_GREEN_REVISION"
    deleted = await api.data(
        'mutation { deleteDeployment(input: {deploymentId: "chat", reason: "over"}) '
        "{ ... on DeleteDeploymentPayload { lifecycle changed } ... on Refused { code } } }",
    )
    assert deleted["deleteDeployment"] == {"lifecycle": "DESTROYED", "changed": True}


async def test_a_start_may_be_as_long_as_at_every_other_door(api: ApiClient, rows: Rows) -> None:
    del rows
    given = {"deploymentId": "chat", "content": serving() | {"env": {"PROMPT": "x" * 20_000}}}
    start = """mutation($given: StartRolloutInput!) { startRollout(input: $given) {
        ... on StartRolloutPayload { workflowId rollout { toRevision } }
        ... on Refused { code message }
    } }"""

    started = (await api.data(start, given=given))["startRollout"]

    assert started == {"workflowId": "rollout-chat", "rollout": {"toRevision": 1}}


async def test_what_does_not_parse_is_refused_with_its_key(api: ApiClient) -> None:
    wrong = (
        'mutation { createDeployment(input: {name: "Chat", policy: {bakes: 1}}) { ... on Refused { code message } } }'
    )
    refused = (await api.data(wrong))["createDeployment"]
    assert refused["code"] == "INVALID_PAYLOAD"
    assert "bakes: unknown key" in refused["message"]


async def test_a_fault_tells_the_caller_nothing_of_the_inside(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    await rows.sql("update deployments set policy = '{}'")
    await rows.sql('update rollouts set policy = \'{"bake": "nonsense"}\'')
    answer = await api.graphql("{ deployments { edges { node { name } } } }")
    assert [one["message"] for one in answer["errors"]] == ["an internal error; the API's log has it"]
    rest = await api.call("GET", "/v1/deployments", Role.VIEWER)
    assert rest.status == 500
    assert rest.code == "INTERNAL"
    assert "nonsense" not in rest.text


async def test_a_fragment_that_contains_itself_is_refused(api: ApiClient) -> None:
    fragments = "fragment f on Deployment { name ...g } fragment g on Deployment { ...f }"
    query = "{ deployments { edges { node { ...f } } } } " + fragments
    answer = await api.graphql(query)
    assert "within itself" in answer["errors"][0]["message"]


NESTED = "{ deployments { edges { node { " + "rollout { deployment { " * 4


LINE = " id at kind actor door verified reason evidence "
DOUBLING = (
    "{ deployments { edges { node { ...f0 } } } } "
    + " ".join(f"fragment f{n} on Deployment {{ ...f{n + 1} name ...f{n + 1} }}" for n in range(40))
    + " fragment f40 on Deployment { name }"
)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        (NESTED + "rollout { deployment { rollout { id } } } " + "} " * 11 + "}", "deeper"),
        (DOUBLING, "costs more"),
        (
            "{ deployments { edges { node { events(first: 100) { edges { node {" + LINE + "} } } } } } }",
            "costs more",
        ),
        ("{ " + " ".join(f"a{n}: deployments {{ pageInfo {{ hasNextPage }} }}" for n in range(40)) + " }", "aliases"),
        ("{ deployments { " + "name " * 5000 + "} }", "oken"),
        ("{ deployments { " + "edges { cursor } " * 101 + "} }", "at the same depth"),
        ("{ deployments(first: 100) { edges { node { workflow { phase } } } } }", "workflows"),
    ],
)
async def test_a_query_that_asks_for_too_much_is_refused(api: ApiClient, query: str, why: str) -> None:
    answer = await api.graphql(query)
    assert why in answer["errors"][0]["message"], answer
    assert answer.get("data") is None


async def test_the_cost_of_a_page_counts_what_a_variable_asks_for(api: ApiClient) -> None:
    query = "query($n: Int!) { deployments { edges { node { events(first: $n) { edges { node {" + LINE + "} } } } } } }"
    assert "errors" not in await api.graphql(query, n=5)
    assert "costs more" in (await api.graphql(query, n=100))["errors"][0]["message"]


async def test_queries_are_sent_as_json_alone(api: ApiClient) -> None:
    for method, path in (("GET", "/graphql?query={__typename}"), ("PUT", "/graphql")):
        answer = await api.call(method, path, Role.ADMIN)
        assert answer.status >= 400
    token = await api.token(Role.ADMIN)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/x-www-form-urlencoded"}
    async with api.session.post(f"{api.url}/graphql", data="query={__typename}", headers=headers) as form:
        assert form.status >= 400


async def test_a_moment_that_is_given_is_shown_in_utc(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    query = """mutation { freeze(input: {deployment: "chat", endsAt: "2035-12-27T06:00:00+01:00"}) {
        ... on FreezePayload { endsAt } ... on Refused { code }
    } }"""

    assert await api.data(query, Role.ADMIN) == {"freeze": {"endsAt": "2035-12-27T05:00:00+00:00"}}


async def test_a_moment_without_a_zone_is_refused_in_words(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    query = """mutation { freeze(input: {deployment: "chat", endsAt: "2035-12-27T06:00:00"}) {
        ... on Refused { code message }
    } }"""

    refused = (await api.data(query, Role.ADMIN))["freeze"]

    assert refused["code"] == "INVALID_PAYLOAD"
    assert "must be a moment with its zone" in refused["message"]


NAMING = {
    "promoteDeployment": ("PromoteDeploymentInput", "revision"),
    "rollbackDeployment": ("RollbackDeploymentInput", "toRevision"),
    "startRollout": ("StartRolloutInput", "revision"),
    "planRollout": ("PlanRolloutInput", "revision"),
}
"""The mutations that name a revision: the type of the input, and the field."""


@pytest.mark.parametrize("mutation", NAMING)
async def test_a_revision_is_named_by_its_number_or_its_name(mutation: str, api: ApiClient, rows: Rows) -> None:
    await rows.live()
    kind, field = NAMING[mutation]
    query = f"mutation($given: {kind}!) {{ {mutation}(input: $given) {{ __typename ... on Refused {{ code }} }} }}"

    async def code(revision: object) -> str:
        data = await api.data(query, given={"deploymentId": "chat", field: revision})
        return str(data[mutation].get("code", ""))

    assert await code("r9") == await code(9) != RefusalCode.INVALID_PAYLOAD
    for wrong in ("nine", "r", "9", 1.5, [9], {"r": 9}):
        assert await code(wrong) == RefusalCode.INVALID_PAYLOAD, wrong


async def test_a_name_of_a_revision_stands_in_a_query_too(api: ApiClient, rows: Rows) -> None:
    await rows.live()

    data = await api.data(
        'mutation { promoteDeployment(input: {deploymentId: "chat", revision: "r2"}) { ... on Refused { code } } }'
    )

    assert data["promoteDeployment"]["code"] == RefusalCode.NO_GREEN_REVISION


async def test_freezes_of_all_are_listed_page_by_page(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    for year in (2030, 2031):
        made = await api.data(
            f'mutation {{ freeze(input: {{all: true, beginsAt: "{year}-12-24T00:00:00Z", reason: "{year}"}}) '
            "{ ... on FreezePayload { freeze } ... on Refused { code } } }",
            Role.ADMIN,
        )
        assert "freeze" in made["freeze"], made
    page = "{ freezes(first: 1%s) { edges { node { reason everywhere endsAt } } pageInfo { hasNextPage endCursor } } }"

    newest = (await api.data(page % "", Role.VIEWER))["freezes"]
    older = (await api.data(page % f', after: "{newest["pageInfo"]["endCursor"]}"', Role.VIEWER))["freezes"]

    assert newest["edges"] == [{"node": {"reason": "2031", "everywhere": True, "endsAt": None}}]
    assert [edge["node"]["reason"] for edge in older["edges"]] == ["2030"]
    assert (newest["pageInfo"]["hasNextPage"], older["pageInfo"]["hasNextPage"]) == (True, False)
