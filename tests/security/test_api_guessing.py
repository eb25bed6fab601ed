"""Somebody guesses tokens, sessions and codes, over HTTP, at the API as it runs; others have good ones."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
import pytest_asyncio
from starlette.requests import HTTPConnection
from temporalio.testing import WorkflowEnvironment

from celadon.api.client_address import client_address, counted_as
from celadon.api.guessing import Guessing
from celadon.api.limits import Rate
from celadon.api.metrics import ApiMetrics
from celadon.api.settings import ApiSettings
from celadon.domain.decisions.reachable import parse_networks
from celadon.domain.language.console_cookies import SESSION_COOKIE
from celadon.domain.language.permissions import Role
from celadon.table.access.console_logins import create_login
from celadon.table.access.tokens import revoke_token
from celadon.table.core.engine import Table
from tests.api.conftest import DEADLINE_SECONDS, PATIENT, Answer, ApiClient, running_api

pytestmark = pytest.mark.parts

FAILURES = 3
LOOPBACK = "127.0.0.0/8"
FORM = {"content-type": "application/x-www-form-urlencoded"}


def settings(**more: Any) -> dict[str, Any]:
    """Return settings by which an address may fail three times, and then once in two weeks."""
    return {
        "api_requests_per_second": 10_000,
        "api_burst": 10_000,
        "api_failures_per_minute": FAILURES,
        "trusted_proxies": LOOPBACK,
        **more,
    }


@pytest_asyncio.fixture(loop_scope="session")
async def api(table: Table, temporal_env: WorkflowEnvironment) -> AsyncIterator[ApiClient]:
    async with running_api(table, temporal_env, UNFORGIVING, **settings()) as client:
        yield client


def _stands_still() -> float:
    """Return the moment of a clock that forgives nothing while a test runs, however slow the machine is."""
    return 0.0


UNFORGIVING = replace(PATIENT, failure_clock=_stands_still)


def guess() -> str:
    """Return what looks like a token and is none."""
    return f"celadon_{secrets.token_hex(8)}_{secrets.token_urlsafe(32)}"


def guessed_session() -> str:
    """Return what looks like a session and is none."""
    return f"celadon-session_{secrets.token_hex(8)}_{secrets.token_urlsafe(32)}"


async def by_header(api: ApiClient, token: str, address: str) -> Answer:
    return await api.call("GET", "/v1/whoami", token=token, headers={"x-forwarded-for": address})


async def by_cookie(api: ApiClient, text: str, address: str) -> Answer:
    return await _browse(api, "GET", "/", {"x-forwarded-for": address, "cookie": f"{SESSION_COOKIE}={text}"})


async def by_form(api: ApiClient, field: str, value: str, address: str) -> Answer:
    headers = {**FORM, "x-forwarded-for": address}
    return await _browse(api, "POST", "/login", headers, urlencode({field: value}))


async def _browse(
    api: ApiClient, method: str, path: str, headers: Mapping[str, str], body: str | None = None
) -> Answer:
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.request(method, f"{api.url}{path}", headers=headers, data=body, allow_redirects=False) as answer,
    ):
        return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, await answer.text())


async def exhaust(api: ApiClient, address: str) -> None:
    """Fail so often that an address is stopped."""
    for _ in range(FAILURES):
        assert (await by_header(api, guess(), address)).status == 401
    assert (await by_header(api, guess(), address)).status == 429


async def test_who_guesses_is_slowed_and_told_when_to_come_back(api: ApiClient) -> None:
    seen = [await by_header(api, guess(), "192.0.2.1") for _ in range(FAILURES + 2)]

    assert [one.status for one in seen] == [401] * FAILURES + [429, 429]
    assert seen[-1].code == "RATE_LIMITED"
    assert int(seen[-1].headers["retry-after"]) > 0


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ADMIN])
async def test_a_good_token_is_never_refused_because_others_failed(api: ApiClient, role: Role) -> None:
    await exhaust(api, "192.0.2.1")

    for _ in range(3):
        assert (await by_header(api, await api.token(role), "192.0.2.1")).status == 200


async def test_a_good_login_is_never_refused_because_others_failed(api: ApiClient) -> None:
    await exhaust(api, "192.0.2.1")
    async with api.table.transaction() as tx:
        code = await create_login(tx, "ann", (Role.VIEWER,), {})

    with_code = await by_form(api, "code", code, "192.0.2.1")
    with_token = await by_form(api, "token", await api.token(Role.VIEWER), "192.0.2.1")
    session = with_code.headers["set-cookie"].split(";")[0].partition("=")[2]

    assert (with_code.status, with_token.status) == (303, 303)
    assert (await by_cookie(api, session, "192.0.2.1")).status == 200


@pytest.mark.parametrize(
    "text",
    [guess(), "celadon_x_y", "a.b.c", "x" * 9000, "\xe9"],
    ids=["of a token's shape", "almost a token", "of a JWT's shape", "endless", "not ASCII"],
)
async def test_every_kind_of_wrong_token_counts(api: ApiClient, text: str) -> None:
    seen = [(await by_header(api, text, "192.0.2.1")).status for _ in range(FAILURES + 1)]

    # A head that is too long is refused before anybody reads a token in it.
    assert seen in ([401] * FAILURES + [429], [400] * (FAILURES + 1))


async def test_guesses_through_a_header_a_cookie_and_both_fields_of_the_form_are_counted_together(
    api: ApiClient,
) -> None:
    address = "192.0.2.1"

    statuses = [
        (await by_header(api, guess(), address)).status,
        (await by_cookie(api, guessed_session(), address)).status,
        (await by_form(api, "code", secrets.token_urlsafe(32), address)).status,
    ]

    assert statuses == [401, 303, 401]
    assert (await by_cookie(api, guessed_session(), address)).status == 429
    assert (await by_form(api, "code", secrets.token_urlsafe(32), address)).status == 429
    assert (await by_form(api, "token", guess(), address)).status == 429
    assert (await by_header(api, guess(), address)).status == 429


async def test_three_hundred_guesses_through_the_cookie_are_not_free(api: ApiClient) -> None:
    statuses = [(await by_cookie(api, guessed_session(), "192.0.2.1")).status for _ in range(300)]

    assert statuses[:FAILURES] == [303] * FAILURES
    assert set(statuses[FAILURES:]) == {429}


async def test_one_address_that_guesses_says_nothing_of_another(api: ApiClient) -> None:
    await exhaust(api, "192.0.2.1")

    assert (await by_header(api, guess(), "192.0.2.2")).status == 401


async def test_addresses_of_one_ipv6_network_are_one(api: ApiClient) -> None:
    seen = [(await by_header(api, guess(), f"2001:db8:0:1::{n:x}")).status for n in range(FAILURES + 1)]

    assert seen == [401] * FAILURES + [429]
    assert (await by_header(api, guess(), "2001:db8:0:2::1")).status == 401


async def test_what_a_client_says_of_its_address_counts_for_nothing(
    table: Table, temporal_env: WorkflowEnvironment
) -> None:
    async with running_api(table, temporal_env, UNFORGIVING, **settings(trusted_proxies="192.0.2.0/24")) as api:
        seen = [(await by_header(api, guess(), f"198.51.100.{n}")).status for n in range(FAILURES + 1)]

    assert seen == [401] * FAILURES + [429]


async def test_what_a_client_puts_before_the_proxys_own_entry_counts_for_nothing(api: ApiClient) -> None:
    seen = [
        (await by_header(api, guess(), f"198.51.100.{n}, 192.0.2.1, 127.0.0.1")).status for n in range(FAILURES + 1)
    ]

    assert seen == [401] * FAILURES + [429]


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.9", ["198.51.100.1"], "192.0.2.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.5, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.5", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, garbage, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [",,,"], "10.0.0.1"),
    ],
)
def test_the_rightmost_entry_that_no_trusted_proxy_has_is_the_client(
    peer: str, forwarded: list[str], found: str
) -> None:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    request = HTTPConnection({"type": "http", "client": (peer, 1), "headers": headers})
    trusted = parse_networks("10.0.0.0/8")
    assert isinstance(trusted, tuple)
    assert client_address(request, trusted) == found


def test_only_ipv6_addresses_are_counted_by_their_network() -> None:
    assert counted_as("192.0.2.1") == "192.0.2.1"
    assert counted_as("2001:db8::1") == counted_as("2001:db8::ffff") == "2001:db8::/64"
    assert counted_as("") == ""


def test_memory_for_addresses_is_bounded() -> None:
    rate = Rate(1.0, 1, lambda: 0.0)
    for number in range(50_000):
        rate.wait_for(str(number))
    assert len(rate._buckets) <= 10_000  # noqa: SLF001 - what it holds is what is asked


async def test_a_flood_of_guesses_leaves_the_database_to_others() -> None:
    """However many guesses of a stopped address wait for the database, it is asked for few of them at once."""
    guessing = Guessing(ApiSettings(database_url="postgresql+asyncpg://x/y", api_failures_per_minute=1), ApiMetrics())
    guesser = HTTPConnection({"type": "http", "client": ("192.0.2.1", 1), "headers": []})
    free = asyncio.Event()
    asked = 0

    async def unknown(_: str) -> str | None:
        nonlocal asked
        asked += 1
        await free.wait()
        return None

    async def known(text: str) -> str | None:
        return text

    assert await guessing.check(guesser, "good", known) == "good"
    free.set()
    assert await guessing.check(guesser, "bad", unknown) is None
    free.clear()
    asked = 0
    flood = [asyncio.create_task(guessing.check(guesser, f"bad-{n}", unknown)) for n in range(200)]
    try:
        for _ in range(1000):
            await asyncio.sleep(0)
        assert 0 < asked <= 2
        # Whoever was let in before does not wait behind them, even from the same address.
        assert await guessing.check(guesser, "good", known) == "good"
    finally:
        free.set()
        await asyncio.gather(*flood, return_exceptions=True)


async def test_what_has_not_the_shape_of_a_credential_is_no_question_to_the_database(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    transaction = Table.transaction

    def counted(table: Table) -> Any:
        asked.append(table)
        return transaction(table)

    monkeypatch.setattr(Table, "transaction", counted)

    assert (await by_header(api, "celadon_0_guess", "192.0.2.1")).status == 401
    assert (await by_cookie(api, "celadon-session_0_guess", "192.0.2.1")).status == 303
    assert asked == []


async def test_a_request_that_shows_nothing_is_no_guess(api: ApiClient) -> None:
    for _ in range(FAILURES + 3):
        answer = await api.call("GET", "/v1/whoami", headers={"x-forwarded-for": "192.0.2.1"})
        assert answer.status == 401

    assert (await by_header(api, guess(), "192.0.2.1")).status == 401


async def test_a_stream_ends_with_its_token_whatever_its_address_has_done(
    table: Table, temporal_env: WorkflowEnvironment
) -> None:
    times = replace(UNFORGIVING, caller_check=timedelta(milliseconds=50))
    async with running_api(table, temporal_env, times, **settings()) as api, asyncio.timeout(DEADLINE_SECONDS):
        headers = {"authorization": f"Bearer {await api.token(Role.VIEWER)}"}
        async with api.session.get(f"{api.url}/v1/stream", headers=headers) as stream:
            await stream.content.readuntil(b"\n\n")
            await exhaust(api, "127.0.0.1")
            still = await stream.content.readuntil(b"\n\n")
            async with table.transaction() as tx:
                await revoke_token(tx, api.name_of(Role.VIEWER))
            rest = await stream.content.read()

    assert b"event: deployments" in still
    assert b"event: gone" in rest
