"""The console over HTTP: who may look and decide, and what comes of it."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

import aiohttp
import pytest

from celadon.api.console.sessions import csrf_of
from celadon.domain.language.console_cookies import SESSION_COOKIE
from celadon.domain.language.permissions import Role
from celadon.table.access.console_logins import create_login
from tests.api.conftest import DEADLINE_SECONDS, Answer, ApiClient
from tests.revisions import serving
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

FORM = {"content-type": "application/x-www-form-urlencoded"}


@dataclass
class Browser:
    """A browser without scripts: it keeps cookies and follows nothing by itself."""

    api: ApiClient
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str) -> Answer:
        return await self._ask("GET", path)

    async def post(self, path: str, form: Mapping[str, str], **headers: str) -> Answer:
        return await self._ask("POST", path, urlencode(form), {**FORM, **headers})

    async def log_in(self, *roles: Role, **scope: str) -> None:
        token = await self.api.token(*roles, **scope)
        answer = await self.post("/login", {"token": token})
        assert (answer.status, answer.headers["location"]) == (303, "/")

    @property
    def csrf(self) -> str:
        return csrf_of(self.cookies[SESSION_COOKIE])

    async def _ask(self, method: str, path: str, body: str = "", headers: Mapping[str, str] | None = None) -> Answer:
        sent = dict(headers or {})
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:  # noqa: SIM117
            async with session.request(
                method, f"{self.api.url}{path}", data=body or None, headers=sent, allow_redirects=False
            ) as answer:
                for name, morsel in answer.cookies.items():
                    if morsel["max-age"] == "0":
                        self.cookies.pop(name, None)
                    else:
                        self.cookies[name] = morsel.value
                return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, await answer.text())


@pytest.fixture
def browser(api: ApiClient) -> Browser:
    return Browser(api)


async def _started(api: ApiClient, name: str = "chat") -> None:
    """Start a rollout; nobody keeps replicas, so it stays in provisioning."""
    body = {"deployment": name, "replicas": 1, "revision": serving("{port}")}
    answer = await api.call("POST", "/v1/rollouts", Role.ADMIN, body=body)
    assert answer.status == 202, answer.text


# Who may look.


@pytest.mark.parametrize("path", ["/", "/deployments/chat", "/deployments/chat/rollouts", "/changes"])
async def test_nobody_looks_without_logging_in(browser: Browser, path: str) -> None:
    answer = await browser.get(path)

    assert answer.status == 303
    assert answer.headers["location"].startswith("/login?next=")


async def test_a_token_logs_in_and_its_cookie_is_out_of_reach_of_scripts(browser: Browser) -> None:
    token = await browser.api.token(Role.VIEWER)

    answer = await browser.post("/login", {"token": token, "next": "/deployments/chat"})

    assert answer.headers["location"] == "/deployments/chat"
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=strict" in answer.headers["set-cookie"]


async def test_an_unknown_token_is_refused(browser: Browser) -> None:
    answer = await browser.post("/login", {"token": "celadon_0_wrong"})

    assert answer.status == 401
    assert "unknown, expired or revoked" in answer.text
    assert SESSION_COOKIE not in browser.cookies


@pytest.mark.parametrize("elsewhere", ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example"])
async def test_a_login_leads_nowhere_else(browser: Browser, elsewhere: str) -> None:
    token = await browser.api.token(Role.VIEWER)

    answer = await browser.post("/login", {"token": token, "next": elsewhere})

    assert answer.headers["location"] == "/"


async def test_a_link_logs_in_once(browser: Browser, rows: Rows) -> None:
    async with rows.table.transaction() as tx:
        code = await create_login(tx, "ann", (Role.APPROVER,), {})

    page = await browser.get(f"/login?code={code}")
    first = await browser.post("/login", {"code": code})
    shown = await browser.get("/")
    second = await Browser(browser.api).post("/login", {"code": code})

    assert "This link logs in once" in page.text
    assert first.status == 303
    assert "ann" in shown.text
    assert second.status == 401
    assert "used already" in second.text


async def test_a_link_that_waited_too_long_logs_nobody_in(browser: Browser, rows: Rows) -> None:
    async with rows.table.transaction() as tx:
        code = await create_login(tx, "ann", (Role.APPROVER,), {})
    await rows.sql("update console_logins set code_expires_at = now() - interval '1 second'")

    answer = await browser.post("/login", {"code": code})

    assert answer.status == 401


async def test_a_session_ends_with_its_logout(browser: Browser, rows: Rows) -> None:
    async with rows.table.transaction() as tx:
        code = await create_login(tx, "ann", (Role.APPROVER,), {})
    await browser.post("/login", {"code": code})
    kept = dict(browser.cookies)

    await browser.post("/logout", {"csrf": browser.csrf})
    replayed = await Browser(browser.api, kept).get("/")

    assert browser.cookies == {}
    assert replayed.status == 303


async def test_a_revoked_token_no_longer_looks(browser: Browser, rows: Rows) -> None:
    await browser.log_in(Role.VIEWER)
    await rows.sql("update api_tokens set revoked_at = now()")

    answer = await browser.get("/")

    assert answer.status == 303


# What they see.


async def test_a_list_shows_what_waits_for_a_person(browser: Browser, rows: Rows) -> None:
    await rows.live(replicas=2)
    waiting = await rows.ready("run-2", policy={"auto_promote": False})
    await rows.sql("update rollouts set phase = 'awaiting_promotion' where id = :id", id=waiting.begun.rollout)
    await browser.log_in(Role.VIEWER)

    page = await browser.get("/")

    assert '<a href="/deployments/chat">chat</a>' in page.text
    assert "a person: promote or abort" in page.text


async def test_out_of_scope_is_as_if_it_were_not_there(browser: Browser, rows: Rows) -> None:
    await rows.live(replicas=1)
    await browser.log_in(Role.VIEWER, team="other")

    listed = await browser.get("/")
    shown = await browser.get("/deployments/chat")

    assert "chat" not in listed.text
    assert shown.status == 404


async def test_a_finished_rollout_tells_its_story(browser: Browser, rows: Rows) -> None:
    live = await rows.live(replicas=2)
    await browser.log_in(Role.VIEWER)

    page = await browser.get(f"/deployments/chat/rollouts/{live.begun.rollout}")

    assert page.status == 200
    told = re.findall(r"<strong>(started|switched|completed)", page.text)
    assert told == ["started", "switched", "completed"]


async def test_a_rollout_that_is_not_there_is_told_in_the_words_of_a_page(browser: Browser, rows: Rows) -> None:
    live = await rows.live(replicas=1)
    await browser.log_in(Role.VIEWER)

    unknown = await browser.get("/deployments/chat/rollouts/999")
    of_another = await browser.get(f"/deployments/talk/rollouts/{live.begun.rollout}")

    assert (unknown.status, of_another.status) == (404, 404)
    assert "chat has no rollout 999" in unknown.text
    assert f"talk has no rollout {live.begun.rollout}" in of_another.text
    for page in (unknown, of_another):
        assert "/v1/" not in page.text


async def test_pages_allow_no_script_of_anybody_else(browser: Browser) -> None:
    await browser.log_in(Role.VIEWER)

    page = await browser.get("/")

    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


async def test_a_page_is_told_when_to_look_again(browser: Browser) -> None:
    await browser.log_in(Role.ADMIN)
    heard = ""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{browser.api.url}/changes", cookies=browser.cookies) as stream,
    ):
        assert stream.headers["content-type"].startswith("text/event-stream")
        async with asyncio.timeout(DEADLINE_SECONDS):
            # The head is sent before the stream has chosen the line that it begins with; this comment names it.
            await stream.content.readuntil(b"\n\n")
        await _started(browser.api)
        async with asyncio.timeout(DEADLINE_SECONDS):
            async for line in stream.content:
                heard += line.decode()
                if '"kind":"started"' in heard:
                    break

    assert "event: deployments" in heard
    assert "event: audit" in heard


# What they decide.


async def test_an_operator_aborts_and_is_told_what_came_of_it(browser: Browser, rows: Rows) -> None:
    await _started(browser.api)
    await browser.log_in(Role.OPERATOR)

    sent = await browser.post(
        "/deployments/chat/abort",
        {"csrf": browser.csrf, "reason": "wrong weights", "request_id": "one"},
    )
    page = await browser.get("/deployments/chat")

    assert (sent.status, sent.headers["location"]) == (303, "/deployments/chat")
    assert "The rollout is aborted: green is being closed." in page.text

    async def asked() -> list[dict[str, str]]:
        found = await rows.rows("select actor, door, reason from rollout_events where kind = 'abort_requested'")
        return [dict(one) for one in found]

    # The workflow answers first, and writes the line down with its next step.
    async with asyncio.timeout(DEADLINE_SECONDS):
        await browser.api.until(asked)
    assert await asked() == [{"actor": "operator", "door": "console", "reason": "wrong weights"}]


async def test_a_viewer_is_refused(browser: Browser) -> None:
    await _started(browser.api)
    await browser.log_in(Role.VIEWER)

    page = await browser.get("/deployments/chat")
    sent = await browser.post("/deployments/chat/abort", {"csrf": browser.csrf, "reason": "no"})

    assert "Your token may not abort" in page.text
    assert sent.status == 403
    assert "viewer may not abort" in sent.text


async def test_what_is_refused_stands_on_the_page(browser: Browser) -> None:
    await _started(browser.api)
    await browser.log_in(Role.APPROVER)

    await browser.post("/deployments/chat/promote", {"csrf": browser.csrf, "reason": "now"})
    page = await browser.get("/deployments/chat")
    again = await browser.get("/deployments/chat")

    assert "green does not wait for a promotion" in page.text
    assert "green does not wait for a promotion" not in again.text


async def test_a_deployment_is_scaled(browser: Browser, rows: Rows) -> None:
    await rows.live(replicas=2)
    await browser.log_in(Role.OPERATOR)

    await browser.post("/deployments/chat/scale", {"csrf": browser.csrf, "replicas": "3", "reason": "more traffic"})
    page = await browser.get("/deployments/chat")

    assert "Replicas: 2 → 3." in page.text
    assert await rows.value("select replicas from deployments") == 3


@pytest.mark.parametrize("replicas", ["-1", "many", ""])
async def test_a_number_that_is_none_changes_nothing(browser: Browser, rows: Rows, replicas: str) -> None:
    await rows.live(replicas=2)
    await browser.log_in(Role.OPERATOR)

    await browser.post("/deployments/chat/scale", {"csrf": browser.csrf, "replicas": replicas, "reason": "x"})

    assert await rows.value("select replicas from deployments") == 2


@pytest.mark.parametrize(
    "form",
    [{}, {"csrf": ""}, {"csrf": "0" * 64}],
    ids=["none", "empty", "of another session"],
)
async def test_a_form_of_another_site_is_refused(browser: Browser, form: dict[str, str]) -> None:
    await _started(browser.api)
    await browser.log_in(Role.ADMIN)

    answer = await browser.post("/deployments/chat/abort", {"reason": "theirs", **form})

    assert answer.status == 403
    assert "not made by this console" in answer.text


async def test_a_form_that_says_that_it_comes_from_another_site_is_refused(browser: Browser) -> None:
    await browser.log_in(Role.ADMIN)

    answer = await browser.post(
        "/deployments/chat/abort",
        {"csrf": browser.csrf, "reason": "theirs"},
        origin="https://elsewhere.example",
    )

    assert answer.status == 403


async def test_the_cookie_opens_no_other_door(browser: Browser) -> None:
    await browser.log_in(Role.ADMIN)

    answer = await browser.get("/v1/deployments")

    assert answer.status == 401
