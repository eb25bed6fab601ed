"""The GraphQL schema: what is read, page by page, and in how many statements."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.permissions import Role
from tests.api.conftest import ApiClient
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
        input: {deploymentId: "chat", revision: {command: ["serve"], env: {API_TOKEN: "x"}}}
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
    given = {"deploymentId": "chat", "content": {"command": ["serve"], "env": {"PROMPT": "x" * 20_000}}}
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
