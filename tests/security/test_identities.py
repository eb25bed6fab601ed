"""Somebody has the name of somebody else: a JWT ``ci`` and a static token ``ci`` are two; over HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from temporalio.testing import WorkflowEnvironment

from celadon.api.settings import ApiSettings
from celadon.domain.language.identity import LINK_ISSUER, LONGEST_NAME, TOKEN_ISSUER, check_name
from celadon.domain.language.permissions import Role
from celadon.domain.language.states import Channel
from celadon.service.rollout_words import event_title
from celadon.table.access.console_logins import create_login
from celadon.table.access.tokens import NewToken, create_token
from celadon.table.core.engine import Table
from celadon.table.records.events import AuditEvent
from tests.api.conftest import GENEROUS, ApiClient, running_api
from tests.api.test_jwt import AUDIENCE, ISSUER, Issuer
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

NAME = "ci"


@pytest_asyncio.fixture(loop_scope="session")
async def issuer() -> AsyncIterator[Issuer]:
    made = Issuer()
    made.add("one")
    app = web.Application()
    app.router.add_get("/jwks.json", made.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks.json"
    yield made
    await runner.cleanup()


def oidc(issuer: Issuer, **more: Any) -> dict[str, Any]:
    """Return settings by which tokens of ``issuer`` are good."""
    return {
        **GENEROUS,
        "oidc_issuer": ISSUER,
        "oidc_audience": AUDIENCE,
        "oidc_jwks_url": issuer.url,
        "oidc_leeway": "0s",
        **more,
    }


@pytest_asyncio.fixture(loop_scope="session")
async def api(table: Table, temporal_env: WorkflowEnvironment, issuer: Issuer) -> AsyncIterator[ApiClient]:
    async with running_api(table, temporal_env, **oidc(issuer)) as client:
        yield client


def of_issuer(issuer: Issuer, name: str = NAME, **claims: Any) -> str:
    """Return a JWT of an admin."""
    return issuer.token(sub=name, roles=["admin"], **claims)


async def of_table(table: Table, name: str = NAME) -> str:
    """Return a static token of an admin."""
    async with table.transaction() as tx:
        wanted = NewToken(name=name, roles=(Role.ADMIN,), scope={}, created_by="tests")
        return (await create_token(tx, wanted))[1]


async def logged_in(api: ApiClient, **form: str) -> dict[str, str]:
    """Return the cookie of a session that a token or a code has opened."""
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.post(f"{api.url}/login", data=form, allow_redirects=False) as answer,
    ):
        assert answer.status == 303
        return {"cookie": answer.headers["set-cookie"].split(";")[0]}


async def is_in(api: ApiClient, headers: dict[str, str]) -> bool:
    async with api.session.get(f"{api.url}/", headers=headers, allow_redirects=False) as answer:
        return answer.status == 200


async def test_the_api_tells_two_of_one_name_apart(api: ApiClient, issuer: Issuer) -> None:
    jwt = (await api.call("GET", "/v1/whoami", token=of_issuer(issuer))).json
    static = (await api.call("GET", "/v1/whoami", token=await of_table(api.table))).json

    assert (jwt["name"], jwt["issuer"]) == (NAME, ISSUER)
    assert (static["name"], static["issuer"]) == (NAME, TOKEN_ISSUER)


async def test_the_request_id_of_one_is_none_of_the_other(api: ApiClient, issuer: Issuer) -> None:
    rows = await Rows.with_keeper(api.table)
    await rows.live()
    path, key = "/v1/deployments/chat/scale", {"Idempotency-Key": "build-7"}
    static = await of_table(api.table)

    first = await api.call("POST", path, token=static, body={"replicas": 2}, headers=key)
    other = await api.call("POST", path, token=of_issuer(issuer), body={"replicas": 3}, headers=key)
    again = await api.call("POST", path, token=static, body={"replicas": 2}, headers=key)

    assert (first.status, other.status) == (200, 200), other.text
    assert other.json["replicas"] == 3
    assert again.json == first.json


async def test_one_does_not_use_up_the_rate_of_the_other(
    table: Table, temporal_env: WorkflowEnvironment, issuer: Issuer
) -> None:
    given = oidc(issuer, api_requests_per_second=0.0001, api_burst=1)
    async with running_api(table, temporal_env, **given) as api:
        static, jwt = await of_table(table), of_issuer(issuer)
        assert (await api.call("GET", "/v1/whoami", token=jwt)).status == 200
        assert (await api.call("GET", "/v1/whoami", token=jwt)).status == 429
        assert (await api.call("GET", "/v1/whoami", token=static)).status == 200


async def test_a_session_is_whoever_has_logged_in_and_has_no_rate_of_its_own(
    table: Table, temporal_env: WorkflowEnvironment, issuer: Issuer
) -> None:
    given = oidc(issuer, api_requests_per_second=0.0001, api_burst=1)
    async with running_api(table, temporal_env, **given) as api:
        static = await of_table(table)
        headers = await logged_in(api, token=static)
        assert (await api.call("GET", "/v1/whoami", token=static)).status == 200
        async with api.session.get(f"{api.url}/", headers=headers) as answer:
            assert answer.status == 429


async def test_the_audit_log_says_which_of_two_it_was_at_every_door(api: ApiClient, issuer: Issuer) -> None:
    rows = await Rows.with_keeper(api.table)
    await rows.live()
    static = await of_table(api.table)
    labels = "/v1/deployments/chat/labels"
    await api.call("PUT", labels, token=static, body={"labels": {"team": "a"}, "reason": "one"})
    await api.call("PUT", labels, token=of_issuer(issuer), body={"labels": {"team": "b"}, "reason": "two"})

    listed = (await api.call("GET", "/v1/deployments/chat/events", token=static)).json["events"]
    told = (await api.call("GET", "/v1/deployments/chat/history", token=static)).json["events"]
    asked = await api.data(
        '{ events(deploymentId: "chat", first: 50) { edges { node { kind actor issuer } } } }', Role.ADMIN
    )

    wanted = [(NAME, ISSUER), (NAME, TOKEN_ISSUER)]
    assert [(one["actor"], one["issuer"]) for one in listed if one["kind"] == "labelled"] == wanted
    assert [(one["actor"], one["issuer"]) for one in told if one["kind"] == "labelled"] == wanted
    nodes = [edge["node"] for edge in asked["events"]["edges"]]
    assert [(one["actor"], one["issuer"]) for one in nodes if one["kind"] == "labelled"] == wanted


@pytest.mark.parametrize("verb", ["scale", "delete"])
async def test_every_change_of_the_table_says_who_vouches(api: ApiClient, issuer: Issuer, verb: str) -> None:
    rows = await Rows.with_keeper(api.table)
    await rows.live()
    if verb == "scale":
        await api.call("POST", "/v1/deployments/chat/scale", token=of_issuer(issuer), body={"replicas": 2})
    else:
        await api.call("DELETE", "/v1/deployments/chat", token=of_issuer(issuer))

    found = await rows.rows("select issuer from rollout_events where actor = :name", name=NAME)
    assert [row["issuer"] for row in found] == [ISSUER]


async def test_a_router_is_forgotten_by_somebody_of_an_issuer(api: ApiClient, issuer: Issuer) -> None:
    rows = await Rows.with_keeper(api.table)
    await rows.live()
    await rows.router("edge-1", 1)
    answer = await api.call("DELETE", "/v1/routers/edge-1?force=true", token=of_issuer(issuer))

    assert answer.status == 200, answer.text
    assert await rows.value("select issuer from rollout_events where kind = 'router_forgotten'") == ISSUER


async def test_a_declared_name_has_nobody_who_vouches(api: ApiClient) -> None:
    rows = await Rows.with_keeper(api.table)
    await rows.live()

    assert await rows.value("select count(*) from rollout_events where issuer <> ''") == 0


def test_people_are_told_the_issuer_where_a_token_may_have_the_same_name() -> None:
    def title(issuer: str, *, verified: bool = True) -> str:
        given: dict[str, Any] = {
            "id": 1,
            "rollout": None,
            "at": "2026-01-01T00:00:00Z",
            "kind": "scaled",
            "reason": "",
            "evidence": {},
        }
        return event_title(
            AuditEvent.model_validate(
                {**given, "actor": NAME, "issuer": issuer, "door": Channel.API.value, "verified": verified}
            )
        )

    assert title(TOKEN_ISSUER) == "scaled by ci (api, verified)"
    assert title(ISSUER) == f"scaled by ci (api, verified by {ISSUER})"
    assert title(LINK_ISSUER) == "scaled by ci (api, verified by console-link)"
    assert title("", verified=False) == "scaled by ci (api)"


async def test_a_session_ends_with_the_trust_in_its_issuer(
    table: Table, temporal_env: WorkflowEnvironment, issuer: Issuer
) -> None:
    async with running_api(table, temporal_env, **oidc(issuer)) as api:
        headers = await logged_in(api, token=of_issuer(issuer))
        assert await is_in(api, headers)
    other = oidc(issuer, oidc_issuer="https://another.example")
    async with running_api(table, temporal_env, **other) as api:
        assert not await is_in(api, headers)


async def test_a_session_does_not_outlive_its_jwt(api: ApiClient, issuer: Issuer) -> None:
    expires = 4_000_000_000
    await logged_in(api, token=of_issuer(issuer, exp=expires))
    rows = Rows(api.table, None)  # type: ignore[arg-type]
    assert await rows.value("select expires_at < now() + interval '13 hours' from console_sessions") is True
    await rows.sql("delete from console_sessions")

    token = of_issuer(issuer)
    await logged_in(api, token=token)

    assert await rows.value("select expires_at < now() + interval '10 minutes' from console_sessions") is True


async def test_a_link_is_vouched_for_by_nobody_but_itself(api: ApiClient) -> None:
    async with api.table.transaction() as tx:
        code = await create_login(tx, NAME, (Role.ADMIN,), {})
    await logged_in(api, code=code)

    rows = Rows(api.table, None)  # type: ignore[arg-type]
    assert await rows.value("select issuer from console_sessions") == LINK_ISSUER


BAD_NAMES = [
    "",
    " ",
    " ci",
    "ci\n",
    "ci\x00",
    "ci\x1b[31m",
    "ci\x85",
    "ci\x9b31m",
    "ci\u202e",
    "c\u200bi",
    "ci\u2028",
    "x" * (LONGEST_NAME + 1),
    "é" * (LONGEST_NAME // 2 + 1),
]


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_a_name_that_nobody_can_read_lets_nobody_in(api: ApiClient, issuer: Issuer, name: str) -> None:
    answer = await api.call("GET", "/v1/whoami", token=of_issuer(issuer, name))

    assert answer.status == 401


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_a_name_that_nobody_can_read_is_given_to_no_token_and_no_link(table: Table, name: str) -> None:
    with pytest.raises(ValueError, match="a name"):
        await of_table(table, name)
    async with table.transaction() as tx:
        with pytest.raises(ValueError, match="a name"):
            await create_login(tx, name, (Role.ADMIN,), {})


@pytest.mark.parametrize("name", ["ci", "Ann Müller", "x" * LONGEST_NAME, "é" * (LONGEST_NAME // 2), "ann@example.com"])
def test_other_names_are_good(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("issuer_name", [TOKEN_ISSUER, LINK_ISSUER])
async def test_no_issuer_has_a_name_of_our_own(issuer_name: str, issuer: Issuer) -> None:
    with pytest.raises(ValueError, match="CELADON_OIDC_ISSUER"):
        ApiSettings(database_url="postgresql+asyncpg://x/y", **oidc(issuer, oidc_issuer=issuer_name))
