"""A replica on the console's host: browsers keep cookies by host name, whatever the port. On the real Envoy."""

# ruff: noqa: F811 - fixtures of another directory are imported, and named as arguments

from collections.abc import AsyncIterator, Iterable

import pytest
import pytest_asyncio
from aiohttp import CookieJar, DummyCookieJar, web
from yarl import URL

from celadon.domain.decisions.publication import SetRole
from tests.gateway.conftest import Gateway, blue, gateway, green, ports, router  # noqa: F401 - fixtures
from tests.gateway.router import Router
from tests.gateway.traffic import BLUE, LOOPBACK, publication

pytestmark = pytest.mark.parts

OURS = ("celadon_console", "celadon_notice", "__Host-celadon_console", "__Host-celadon_notice")


@pytest_asyncio.fixture(loop_scope="session")
async def replica(gateway: Gateway, router: Router) -> AsyncIterator[Router]:
    """Serve a replica that tells what it is sent and sets what it is asked to; return the router before it."""

    async def answer(request: web.Request) -> web.Response:
        response = web.json_response(request.headers.getall("cookie", []))
        for one in request.query.getall("set", []):
            response.headers.add("set-cookie", one)
        return response

    app = web.Application(handler_args={"max_field_size": 1 << 16, "max_line_size": 1 << 16})
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, max_field_size=1 << 16)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    await gateway.tell(publication(2, {(BLUE, SetRole.LIVE): [runner.addresses[0][1]]}))
    router.client._cookie_jar = DummyCookieJar()  # noqa: SLF001 - the test says itself what is sent
    yield router
    await runner.cleanup()


async def reaches_replica(router: Router, *lines: str) -> list[str]:
    """Return the lines of cookies that a replica is sent."""
    headers = [("host", "chat"), *(("cookie", line) for line in lines)]
    async with router.client.get(f"http://{LOOPBACK}:{router.live}/", headers=headers) as response:
        assert response.status == 200, await response.text()
        found: list[str] = await response.json()
        return found


async def reaches_browser(router: Router, cookies: Iterable[str]) -> list[str]:
    """Return the cookies that an answer sets when the replica sets ``cookies``."""
    url = URL(f"http://{LOOPBACK}:{router.live}/").with_query([("set", one) for one in cookies])
    async with router.client.get(url, headers={"host": "chat"}) as response:
        assert response.status == 200
        return response.headers.getall("set-cookie", [])


@pytest.mark.parametrize("name", OURS)
async def test_a_replica_never_sees_the_consoles_cookie(replica: Router, name: str) -> None:
    assert await reaches_replica(replica, f"{name}=secret") == []
    assert await reaches_replica(replica, f"a=1; {name}=secret; b=2") == ["a=1; b=2"]
    assert await reaches_replica(replica, f"{name}=secret; b=2") == ["b=2"]


@pytest.mark.parametrize("path", ["/chat/x", "/chat/"])
async def test_it_is_taken_out_on_every_way_to_a_replica(replica: Router, path: str) -> None:
    for host in ("chat.models.example.com", "127.0.0.1"):
        headers = {"host": host, "cookie": "a=1; celadon_console=secret"}
        async with replica.client.get(f"http://{LOOPBACK}:{replica.live}{path}", headers=headers) as response:
            assert "secret" not in await response.text()


@pytest.mark.parametrize(
    "lines",
    [
        ["celadon_console=secret; celadon_console=secret"],
        ["a=1; celadon_console=secret; celadon_notice=secret; c=3; celadon_console=secret"],
        ["a=1;celadon_console=secret"],
        ["a=1;\tceladon_console=secret"],
        ["a=1;  celadon_console =secret"],
        ["a=1; celadon_console=secret;secret2=x; celadon_console=secret"],
        ["a=1", "celadon_console=secret", "b=2"],
        ["celadon_console=secret", "celadon_console=secret"],
        ['celadon_console="secret"'],
        ["a=" + "y" * 9000 + "; celadon_console=secret"],
        ["celadon_console=" + "secret" * 1500],
    ],
)
async def test_no_spelling_gets_it_past_the_router(replica: Router, lines: list[str]) -> None:
    for line in await reaches_replica(replica, *lines):
        assert "=secret" not in line
        assert '="secret' not in line


@pytest.mark.parametrize(
    "line",
    ["a=1; b=2", "xceladon_console=1; celadon_console2=2", "a=celadon_console", "a=" + "y" * 9000],
)
async def test_other_cookies_pass_as_they_are(replica: Router, line: str) -> None:
    assert await reaches_replica(replica, line) == [line]


@pytest.mark.parametrize("name", OURS)
async def test_a_replica_cannot_set_the_consoles_cookie(replica: Router, name: str) -> None:
    for attributes in ("", "; Path=/", "; Path=/deployments; HttpOnly", "; Domain=example.com", "; Max-Age=0"):
        assert await reaches_browser(replica, [f"{name}=theirs{attributes}"]) == []
        assert await reaches_browser(replica, ["a=1; Path=/", f"{name}=theirs{attributes}"]) == []


async def test_a_replica_sets_its_own_cookies(replica: Router) -> None:
    cookies = ["a=1; Path=/", "b=2; Expires=Fri, 10 Sep 2100 13:49:04 GMT", "c=celadon; Path=/celadon_console"]
    assert await reaches_browser(replica, cookies) == cookies


async def test_a_browser_that_visits_both_keeps_its_session(replica: Router) -> None:
    jar = CookieJar(unsafe=True)
    console = URL(f"http://{LOOPBACK}/")
    jar.update_cookies({"celadon_console": "mine"}, console)
    replica.client._cookie_jar = jar  # noqa: SLF001 - one browser for both

    assert await reaches_replica(replica) == []
    assert await reaches_browser(replica, ["celadon_console=theirs; Path=/"]) == []
    assert jar.filter_cookies(console)["celadon_console"].value == "mine"
