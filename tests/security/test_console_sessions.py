"""Somebody wants a session of the console that is another's, or one that has ended; over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from celadon.api.console.sessions import csrf_of
from celadon.domain.language.console_cookies import HOST_PREFIX, NOTICE_COOKIE, SESSION_COOKIE
from celadon.domain.language.permissions import Role
from celadon.table.access.console_logins import create_login, void_logins
from celadon.table.access.console_sessions import end_sessions
from celadon.table.access.tokens import NewToken, create_token, revoke_token
from celadon.table.core.engine import Table
from tests.api.conftest import DEADLINE_SECONDS, GENEROUS, PATIENT, Answer, ApiClient, running_api
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

FORM = {"content-type": "application/x-www-form-urlencoded"}


@dataclass
class Browser:
    """A browser without scripts: it keeps cookies, and follows nothing by itself."""

    url: str
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str = "/", **headers: str) -> Answer:
        return await self._ask("GET", path, None, headers)

    async def post(self, path: str, form: Mapping[str, str], **headers: str) -> Answer:
        return await self._ask("POST", path, urlencode(form), {**FORM, **headers})

    async def _ask(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies and "cookie" not in sent:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.request(method, f"{self.url}{path}", data=body, headers=sent, allow_redirects=False) as answer,
        ):
            for name, morsel in answer.cookies.items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
            return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, await answer.text())

    @property
    def session(self) -> str:
        return self.cookies[SESSION_COOKIE]


@pytest_asyncio.fixture(loop_scope="session")
async def api(table: Table, temporal_env: WorkflowEnvironment) -> AsyncIterator[ApiClient]:
    async with running_api(table, temporal_env, **GENEROUS) as client:
        yield client


@pytest.fixture
def browser(api: ApiClient) -> Browser:
    return Browser(api.url)


async def with_token(api: ApiClient, *roles: Role) -> Browser:
    """Return a browser that has logged in with a token."""
    browser = Browser(api.url)
    answer = await browser.post("/login", {"token": await api.token(*(roles or (Role.ADMIN,)))})
    assert answer.status == 303
    return browser


async def with_link(api: ApiClient, name: str = "ann") -> Browser:
    """Return a browser that has followed a one-time link."""
    async with api.table.transaction() as tx:
        code = await create_login(tx, name, (Role.ADMIN,), {})
    browser = Browser(api.url)
    assert (await browser.post("/login", {"code": code})).status == 303
    return browser


async def is_in(browser: Browser) -> bool:
    """Whether somebody who is known looks."""
    answer = await browser.get()
    assert answer.status in {200, 303}
    return answer.status == 200


# What stands where.


async def test_the_cookie_holds_no_token(api: ApiClient) -> None:
    browser = await with_token(api)
    token = await api.token(Role.ADMIN)

    assert token not in browser.session
    assert token.rpartition("_")[2] not in browser.session


async def test_a_token_in_the_cookie_lets_nobody_in(api: ApiClient, browser: Browser) -> None:
    browser.cookies[SESSION_COOKIE] = await api.token(Role.ADMIN)

    assert not await is_in(browser)


async def test_a_copy_of_the_table_lets_nobody_in(api: ApiClient) -> None:
    browser = await with_token(api)
    row = (await Rows(api.table, None).rows("select * from console_sessions"))[0]  # type: ignore[arg-type]

    assert browser.session.rpartition("_")[2] not in " ".join(str(value) for value in row.values())
    for text in (row["id"], row["secret_sha256"], f"celadon-session_{row['id']}_{row['secret_sha256']}"):
        assert not await is_in(Browser(api.url, {SESSION_COOKIE: text}))


async def test_another_secret_of_a_known_session_lets_nobody_in(api: ApiClient) -> None:
    browser = await with_token(api)
    head, _, secret = browser.session.rpartition("_")

    for other in (secret[::-1], secret[:-1], secret + "A", "A" * len(secret)):
        assert not await is_in(Browser(api.url, {SESSION_COOKIE: f"{head}_{other}"}))


async def test_scripts_and_other_sites_cannot_use_the_cookie(browser: Browser, api: ApiClient) -> None:
    answer = await browser.post("/login", {"token": await api.token(Role.VIEWER)})

    attributes = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= attributes
    assert not [one for one in attributes if one.startswith("domain")]


async def test_over_tls_the_cookie_is_of_this_very_host(table: Table, temporal_env: WorkflowEnvironment) -> None:
    async with running_api(table, temporal_env, console_url="https://celadon.example.com", **GENEROUS) as api:
        browser = Browser(api.url)
        answer = await browser.post("/login", {"token": await api.token(Role.VIEWER)})
        attributes = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
        assert {"secure", "path=/", "httponly", "samesite=strict"} <= attributes
        assert list(browser.cookies) == [f"{HOST_PREFIX}{SESSION_COOKIE}"]
        assert await is_in(browser)
        # The name without the prefix, which any host of the domain could have set, is not looked at.
        assert not await is_in(Browser(api.url, {SESSION_COOKIE: browser.cookies[f"{HOST_PREFIX}{SESSION_COOKIE}"]}))


# How a session ends.


@pytest.mark.parametrize("log_in", [with_token, with_link])
async def test_a_logout_ends_the_session_for_whoever_has_copied_it(api: ApiClient, log_in: Any) -> None:
    browser = await log_in(api)
    copied = dict(browser.cookies)
    assert await is_in(Browser(api.url, copied))

    answer = await browser.post("/logout", {"csrf": csrf_of(browser.session)})

    assert answer.status == 303
    assert browser.cookies == {}
    assert not await is_in(Browser(api.url, copied))


async def test_a_logout_leaves_other_sessions_of_the_same_person(api: ApiClient) -> None:
    first, second = await with_token(api), await with_token(api)

    await first.post("/logout", {"csrf": csrf_of(first.session)})

    assert await is_in(second)


async def test_a_revoked_token_ends_the_sessions_that_it_opened(api: ApiClient) -> None:
    browser, other = await with_token(api, Role.VIEWER), await with_token(api, Role.ADMIN)
    async with api.table.transaction() as tx:
        await revoke_token(tx, api.name_of(Role.VIEWER))

    assert not await is_in(browser)
    assert await is_in(other)


async def test_a_session_does_not_outlive_its_token(api: ApiClient) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=10)
    async with api.table.transaction() as tx:
        wanted = NewToken(name="brief", roles=(Role.ADMIN,), scope={}, created_by="tests", expires_at=soon)
        _, token = await create_token(tx, wanted)
    browser = Browser(api.url)
    await browser.post("/login", {"token": token})
    rows = Rows(api.table, None)  # type: ignore[arg-type]

    assert await rows.value("select expires_at from console_sessions") == soon
    assert await is_in(browser)
    await rows.sql("update console_sessions set expires_at = now()")
    assert not await is_in(browser)


async def test_a_session_ends_after_half_a_day(api: ApiClient) -> None:
    await with_token(api)
    lasts = await Rows(api.table, None).value(  # type: ignore[arg-type]
        "select expires_at - created_at from console_sessions"
    )

    assert lasts == timedelta(hours=12)


async def test_an_operator_logs_everybody_out(api: ApiClient) -> None:
    browsers = [await with_token(api), await with_link(api)]
    async with api.table.transaction() as tx:
        assert await end_sessions(tx) == 2

    assert [await is_in(browser) for browser in browsers] == [False, False]


async def test_an_operator_logs_one_name_out_and_takes_its_unused_links_back(api: ApiClient) -> None:
    ann, ben = await with_link(api, "ann"), await with_link(api, "ben")
    async with api.table.transaction() as tx:
        unused = await create_login(tx, "ann", (Role.ADMIN,), {})
    async with api.table.transaction() as tx:
        assert (await end_sessions(tx, "ann"), await void_logins(tx, "ann")) == (1, 1)

    assert (await is_in(ann), await is_in(ben)) == (False, True)
    assert (await Browser(api.url).post("/login", {"code": unused})).status == 401


async def test_a_live_page_ends_with_its_session(table: Table, temporal_env: WorkflowEnvironment) -> None:
    times = replace(PATIENT, caller_check=timedelta(milliseconds=50))
    async with running_api(table, temporal_env, times, **GENEROUS) as api, asyncio.timeout(DEADLINE_SECONDS):
        browser = await with_token(api)
        headers = {"cookie": f"{SESSION_COOKIE}={browser.session}"}
        async with api.session.get(f"{api.url}/changes", headers=headers) as stream:
            await stream.content.readuntil(b"\n\n")
            async with table.transaction() as tx:
                await end_sessions(tx)
            rest = await stream.content.read()

    assert b"event: gone" in rest


# Whose session it is.


async def test_a_login_opens_another_session_and_ends_the_one_before(api: ApiClient) -> None:
    browser = await with_token(api)
    before = browser.session

    await browser.post("/login", {"token": await api.token(Role.VIEWER)})

    assert browser.session != before
    assert await is_in(browser)
    assert not await is_in(Browser(api.url, {SESSION_COOKIE: before}))


async def test_a_session_that_somebody_has_put_there_is_not_gone_on_with(api: ApiClient) -> None:
    planted = await with_token(api, Role.VIEWER)
    victim = Browser(api.url, dict(planted.cookies))

    await victim.post("/login", {"token": await api.token(Role.ADMIN)})

    assert victim.session != planted.session
    assert not await is_in(planted)


async def test_of_two_cookies_of_the_name_neither_counts(api: ApiClient) -> None:
    """A page on another port of this host can add a cookie for a longer path, which browsers send first."""
    mine, theirs = await with_token(api), await with_token(api, Role.VIEWER)

    both = f"{SESSION_COOKIE}={theirs.session}; {SESSION_COOKIE}={mine.session}"
    answer = await mine.get("/", cookie=both)

    assert answer.status == 303
    assert await is_in(mine)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": "http://127.0.0.1:1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
async def test_another_site_logs_nobody_in_and_nobody_out(
    api: ApiClient, browser: Browser, headers: dict[str, str]
) -> None:
    inside = await with_token(api)

    login = await browser.post("/login", {"token": await api.token(Role.ADMIN)}, **headers)
    logout = await inside.post("/logout", {"csrf": csrf_of(inside.session)}, **headers)

    assert (login.status, logout.status) == (403, 403)
    assert browser.cookies == {}
    assert await is_in(inside)


async def test_a_form_of_one_session_is_none_of_another(api: ApiClient) -> None:
    mine, theirs = await with_token(api), await with_token(api)

    answer = await mine.post("/logout", {"csrf": csrf_of(theirs.session)})

    assert answer.status == 403
    assert await is_in(mine)


async def test_a_notice_that_somebody_else_has_written_is_not_shown(api: ApiClient, browser: Browser) -> None:
    del browser
    rows = await Rows.with_keeper(api.table)
    await rows.live(replicas=2)
    mine, theirs = await with_token(api), await with_token(api)
    sent = await theirs.post(
        "/deployments/chat/scale", {"csrf": csrf_of(theirs.session), "replicas": "many", "reason": "x"}
    )
    assert sent.status == 303
    mine.cookies[NOTICE_COOKIE] = theirs.cookies[NOTICE_COOKIE]

    assert 'class="notice' in (await theirs.get("/deployments/chat")).text
    assert 'class="notice' not in (await mine.get("/deployments/chat")).text
    for forged in ("", ".", "e30=", "e30=.e30=", "0" * 64 + ".e30=", "\xe9.\xe9"):
        mine.cookies[NOTICE_COOKIE] = forged
        answer = await mine.get("/deployments/chat")
        assert answer.status == 200
        assert 'class="notice' not in answer.text


@pytest.mark.parametrize("replicas", ["9", "99", "999"])
async def test_a_notice_is_shown_however_long_it_is(api: ApiClient, replicas: str) -> None:
    rows = await Rows.with_keeper(api.table)
    await rows.live(replicas=2)
    browser = await with_token(api)

    await browser.post("/deployments/chat/scale", {"csrf": csrf_of(browser.session), "replicas": replicas})

    assert not set(browser.cookies[NOTICE_COOKIE]) & set('"=')
    assert f"Replicas: 2 → {replicas}." in (await browser.get("/deployments/chat")).text


async def test_a_link_from_another_site_leads_in_with_the_session(api: ApiClient) -> None:
    """Browsers leave a strict cookie out of the first request; the page that answers it makes a second one."""
    first = await Browser(api.url).get("/deployments/chat", sec_fetch_site="cross-site")

    assert first.status == 200
    assert 'content="0;url=/deployments/chat"' in first.text
    assert (await Browser(api.url).get("/deployments/chat", sec_fetch_site="same-origin")).status == 303


async def test_a_cookie_that_counts_no_longer_is_taken_back(api: ApiClient) -> None:
    browser = await with_token(api)
    async with api.table.transaction() as tx:
        await end_sessions(tx)

    assert not await is_in(browser)
    assert browser.cookies == {}


# Under which name.


@pytest.mark.parametrize("host", ["evil.example", "evil.example:18080", "127.0.0.1.evil.example", ""])
@pytest.mark.parametrize("path", ["/", "/login", "/v1/whoami", "/metrics", "/graphql"])
async def test_a_name_that_was_made_to_lead_here_is_not_answered(
    api: ApiClient, browser: Browser, host: str, path: str
) -> None:
    del api
    answer = await browser.get(path, host=host)

    assert (answer.status, answer.code) == (421, "UNKNOWN_HOST")
    assert "CELADON_API_HOSTS" in answer.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:18080", "127.0.0.1:1", "[::1]:18080", "celadon.localhost"])
async def test_names_of_this_machine_are_answered(browser: Browser, host: str) -> None:
    assert (await browser.get("/login", host=host)).status == 200


async def test_names_that_an_operator_gives_are_answered(table: Table, temporal_env: WorkflowEnvironment) -> None:
    given = {
        "api_hosts": "api.example.com, Other.example.com",
        "console_url": "https://celadon.example.com",
        **GENEROUS,
    }
    async with running_api(table, temporal_env, **given) as api:
        browser = Browser(api.url)
        for host in ("api.example.com", "other.example.com:443", "celadon.example.com", "celadon.example.com."):
            assert (await browser.get("/login", host=host)).status == 200
        assert (await browser.get("/login", host="example.com")).status == 421


async def test_probes_are_answered_under_any_name(browser: Browser) -> None:
    assert (await browser.get("/healthz", host="10.0.0.1:18080")).status == 200
