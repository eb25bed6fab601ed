"""Bytes that are no request: refused with 4xx at the door, without a trace, on every route that reads anything."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from structlog.testing import capture_logs
from temporalio.testing import WorkflowEnvironment

from celadon.api.console.sessions import csrf_of
from celadon.api.request_guard import LONGEST_PATH, LONGEST_QUERY
from celadon.domain.language.console_cookies import SESSION_COOKIE
from celadon.domain.language.permissions import Role
from celadon.table.access.console_logins import create_login
from celadon.table.core.engine import Table
from tests.api.conftest import DEADLINE_SECONDS, GENEROUS, ApiClient, running_api
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


@dataclass
class Raw:
    """What came back, byte by byte."""

    status: int
    head: str
    body: str

    @property
    def code(self) -> str:
        code: str = json.loads(self.body)["code"]
        return code


class Attacker:
    """Sends bytes as they are."""

    def __init__(self, api: ApiClient, token: str, session: str) -> None:
        self.api = api
        self.port = int(api.url.rpartition(":")[2])
        self.token = token
        self.session = session

    async def send(
        self, method: str, target: str, body: bytes = b"", kind: str = "", headers: tuple[bytes, ...] = ()
    ) -> Raw:
        """Send a request as whoever has the token and the session."""
        lines = [
            f"{method} {target} HTTP/1.1".encode("latin-1"),
            b"host: 127.0.0.1",
            b"connection: close",
            f"authorization: Bearer {self.token}".encode(),
            f"cookie: {SESSION_COOKIE}={self.session}".encode(),
            f"content-length: {len(body)}".encode(),
            *headers,
        ]
        if kind:
            lines.append(f"content-type: {kind}".encode())
        return await self.raw(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    async def raw(self, sent: bytes) -> Raw:
        """Send bytes, and read until the connection ends."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(sent)
                await writer.drain()
                answer = await reader.read()
            finally:
                writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return Raw(int(head.split(b" ", 2)[1]), head.decode("latin-1"), body.decode())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def api_of_module(table_of_module: Table, temporal_env: WorkflowEnvironment) -> AsyncIterator[Attacker]:
    """Run one API for all of these requests, which change nothing."""
    rows = await Rows.with_keeper(table_of_module)
    await rows.live()
    async with running_api(table_of_module, temporal_env, **GENEROUS) as api:
        async with table_of_module.transaction() as tx:
            code = await create_login(tx, "ann", (Role.ADMIN,), {})
        async with api.session.post(f"{api.url}/login", data={"code": code}, allow_redirects=False) as answer:
            session = answer.cookies[SESSION_COOKIE].value
        api.session.cookie_jar.clear()
        yield Attacker(api, await api.token(Role.ADMIN), session)


@pytest.fixture
def attacker(api_of_module: Attacker) -> Iterator[Attacker]:
    """Return who sends bytes; nothing that it sends may be logged as a fault."""
    with capture_logs() as logs:
        yield api_of_module
    assert [one for one in logs if one["event"] == "api_fault"] == []


FORM_ROUTES = ["/login", "/logout", "/deployments/chat/abort", "/deployments/chat/scale", "/deployments/chat/nothing"]

BAD_FORMS = [
    b"\xff\xfe=1",
    b"token=%ff",
    b"token=%C3%28",
    b"token=%ED%A0%80",
    b"token=a%00b",
    b"to%00ken=ab",
    b"&".join(b"f%d=1" % n for n in range(21)),
    b"&".join(b"f%d=1" % n for n in range(5000)),
    b"token=" + b"x" * 20_000,
    b"x" * 20_000 + b"=1",
    b"token=" + b"x" * 300_000,
    b"token=a&token=b",
]


@pytest.mark.parametrize("route", FORM_ROUTES)
@pytest.mark.parametrize("form", BAD_FORMS, ids=range(len(BAD_FORMS)))
async def test_a_form_that_is_none_is_refused(attacker: Attacker, route: str, form: bytes) -> None:
    answer = await attacker.send("POST", route, form, FORM)

    assert answer.status == 400
    assert "the form cannot be read" in answer.body
    assert len(answer.body) < 3000


@pytest.mark.parametrize("route", FORM_ROUTES)
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\ncontent-disposition: form-data; name=token\r\n\r\nhalf"),
        ("multipart/form-data; boundary=\xff", b"\xff"),
        ("text/plain", b"token=x"),
        (JSON, b"{}"),
    ],
)
async def test_another_kind_of_form_is_refused(attacker: Attacker, route: str, kind: str, body: bytes) -> None:
    answer = await attacker.send("POST", route, body, headers=(b"content-type: " + kind.encode("latin-1"),))

    assert answer.status == 400


async def test_a_form_within_all_bounds_is_read(attacker: Attacker) -> None:
    form = urlencode({"csrf": csrf_of(attacker.session), "replicas": "2", "reason": "ü" * 1000}).encode()

    assert (await attacker.send("POST", "/deployments/chat/scale", form, FORM)).status == 303
    assert await Rows(attacker.api.table, None).value("select replicas from deployments") == 2  # type: ignore[arg-type]


JSON_ROUTES = [
    ("POST", "/v1/deployments"),
    ("PUT", "/v1/deployments/chat/labels"),
    ("POST", "/v1/deployments/chat/revisions"),
    ("POST", "/v1/rollouts"),
    ("POST", "/v1/deployments/chat/promote"),
    ("POST", "/v1/deployments/chat/abort"),
    ("POST", "/v1/deployments/chat/rollback"),
    ("POST", "/v1/deployments/chat/scale"),
    ("POST", "/graphql"),
]

BAD_JSON = [
    b"\xff\xfe",
    b'{"reason": "\xff"}',
    b'{"reason": "\xed\xa0\x80"}',
    '{"reason": "x"}'.encode("utf-16"),
    '{"reason": "x"}'.encode("utf-32"),
    b"\xef\xbb\xbf{}",
    b"{",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"1" * 5000,
]


@pytest.mark.parametrize(("method", "route"), JSON_ROUTES)
@pytest.mark.parametrize("body", BAD_JSON, ids=range(len(BAD_JSON)))
async def test_a_body_that_is_no_json_is_refused(attacker: Attacker, method: str, route: str, body: bytes) -> None:
    answer = await attacker.send(method, route, body, JSON)

    assert answer.status == 400, answer.body
    assert len(answer.body) < 3000


ODD_JSON = [
    b"null",
    b"[]",
    b"1e999",
    b'"x"',
    b'{"reason": "\\u0000"}',
    b'{"reason": "\\ud800"}',
    b'{"reason": NaN}',
    b'{"\\ud800": 1}',
    b'{"labels": {"a\\u0000": "b"}, "deployment": "chat"}',
    b'{"replicas": 1e400}',
    b'{"replicas": 99999999999999999999999999}',
    b'{"deployment": "\\u0000", "replicas": 1}',
    b'{"query": "{ __typename \\ud800 }"}',
    b'{"query": "{ deployment(id: \\"a\\u0000b\\") { name } }"}',
    b'{"query": 1}',
    b'{"query": "{ __typename }", "variables": []}',
    b'{"query": "{ __typename }", "operationName": 3}',
]


@pytest.mark.parametrize(("method", "route"), JSON_ROUTES)
@pytest.mark.parametrize("body", ODD_JSON, ids=range(len(ODD_JSON)))
async def test_no_content_of_a_body_is_a_fault(attacker: Attacker, method: str, route: str, body: bytes) -> None:
    answer = await attacker.send(method, route, body, JSON)

    assert answer.status < 500, answer.body


@pytest.mark.parametrize("body", [b'{"x"', b"--x", b"\xff"])
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/graphql", "text/plain", FORM, "\xff"])
async def test_graphql_reads_nothing_but_json(attacker: Attacker, kind: str, body: bytes) -> None:
    answer = await attacker.send("POST", "/graphql", body, headers=(b"content-type: " + kind.encode("latin-1"),))

    assert 400 <= answer.status < 500


TARGETS = [
    "/deployments/{}",
    "/deployments/{}/rollouts",
    "/v1/deployments/{}",
    "/v1/deployments/{}/events",
    "/v1/deployments/{}/history",
    "/v1/deployments/{}/stream",
    "/changes?deployment={}",
    "/login?next={}",
    "/login?code={}",
    "/v1/rollouts?phase={}",
    "/v1/events?after={}",
    "/static/{}",
    "/{}",
    "/v1/whoami?{}=1",
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("text", ["%ff", "%C3%28", "%ED%A0%80", "a%00b", "%1b%5b31m", "%7f", "%", "%4", "%zz"])
async def test_an_address_that_is_no_text_is_refused(attacker: Attacker, target: str, text: str) -> None:
    answer = await attacker.send("GET", target.format(text))

    assert (answer.status, answer.code) == (400, "MALFORMED_ADDRESS")


@pytest.mark.parametrize("verb", ["promote", "abort", "rollback", "scale", "revisions"])
async def test_an_address_that_is_no_text_changes_nothing(attacker: Attacker, verb: str) -> None:
    assert (await attacker.send("POST", f"/v1/deployments/ch%00at/{verb}", b"{}", JSON)).status == 400
    assert (await attacker.send("DELETE", "/v1/routers/edge%00")).status == 400
    assert (await attacker.send("DELETE", "/v1/deployments/chat?reason=%ff")).status == 400


async def test_an_address_that_is_too_long_is_refused(attacker: Attacker) -> None:
    for target in ("/v1/deployments/" + "x" * LONGEST_PATH, "/v1/events?x=" + "x" * LONGEST_QUERY):
        answer = await attacker.send("GET", target)
        assert (answer.status, answer.code) == (414, "ADDRESS_TOO_LONG")


async def test_a_reason_in_any_language_is_an_address(attacker: Attacker) -> None:
    answer = await attacker.send("DELETE", "/v1/deployments/nobody?reason=%E7%90%86%E7%94%B1+a%0Ab")

    assert (answer.status, answer.code) == (404, "NO_SUCH_DEPLOYMENT")


async def test_what_is_told_back_is_bounded(attacker: Attacker) -> None:
    long = "x" * 1900
    for method, target in (
        ("GET", f"/deployments/{long}"),
        ("GET", f"/v1/deployments/chat/{long}"),
        ("POST", f"/v1/deployments/{long}/abort"),
        ("GET", f"/v1/rollouts?phase={long}"),
        ("GET", f"/v1/rollouts/{long}"),
    ):
        answer = await attacker.send(method, target, b"{}", JSON)
        assert 400 <= answer.status < 500
        assert len(answer.body) < 5000
    body = json.dumps({"deployment": "y" * 500_000, "replicas": 1}).encode()
    answer = await attacker.send("POST", "/v1/deployments", body, JSON)
    assert answer.status == 422
    assert len(answer.body) < 5000


@pytest.mark.parametrize(
    "header",
    [
        b"cookie: \xff\xfe=\xff",
        b'cookie: celadon_console="\\400"',
        b"cookie: ;;;===;;",
        b"cookie: celadon_notice=\xff.\xff",
        b"origin: http://[",
        b"origin: \xff",
        b"idempotency-key: \xff",
        b"idempotency-key: " + b"x" * 5000,
        b"last-event-id: \xb2",
        b"last-event-id: 99999999999999999999999999",
        b"x-celadon-door: \xff",
        b"x-forwarded-for: \xff, [::, 1.2.3.4:x",
        b"sec-fetch-site: \xff",
        b"accept: \xff",
        b"content-type: \xff",
        b"content-type: application/json; charset=\xff",
        b"authorization: Bearer \xff",
        b"authorization: \xff",
    ],
)
@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/"), ("GET", "/deployments/chat"), ("POST", "/login"), ("POST", "/v1/deployments/chat/scale")],
)
async def test_no_header_is_a_fault(attacker: Attacker, header: bytes, method: str, target: str) -> None:
    answer = await attacker.raw(
        f"{method} {target} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: 0\r\n".encode()
        + header
        + b"\r\n\r\n",
    )

    assert answer.status < 500


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: a\x00b\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        b"GET  / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: gzip\r\n\r\n",
        b"POST /login HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused(attacker: Attacker, sent: bytes) -> None:
    answer = await attacker.raw(sent)

    assert 400 <= answer.status < 500


async def test_headers_that_are_too_long_are_refused(attacker: Attacker) -> None:
    one = await attacker.send("GET", "/", headers=(b"x: " + b"y" * 60_000,))
    many = await attacker.send("GET", "/", headers=tuple(b"x%d: " % n + b"y" * 100 for n in range(400)))

    assert (one.status, many.status) == (431, 431)


async def test_an_invalid_query_is_told_to_its_caller_and_to_no_log(
    attacker: Attacker, caplog: pytest.LogCaptureFixture
) -> None:
    body = json.dumps({"query": '{ nothing(a: "\u001b[31m") }'}).encode()

    answer = await attacker.send("POST", "/graphql", body, JSON)

    assert "errors" in json.loads(answer.body)
    assert [one for one in caplog.records if one.name.startswith("strawberry")] == []


async def test_whoever_leaves_in_the_middle_leaves_no_trace(attacker: Attacker) -> None:
    """The fixture looks through the log at its end."""
    for target, kind in (("/login", FORM), ("/v1/deployments", JSON), ("/graphql", JSON)):
        _, writer = await asyncio.open_connection("127.0.0.1", attacker.port)
        head = (
            f"POST {target} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {attacker.token}\r\n"
            f"content-type: {kind}\r\ncontent-length: 100\r\n\r\n"
        )
        writer.write(head.encode() + b"half")
        await writer.drain()
        # So that the application waits for the rest when the connection ends.
        await asyncio.sleep(0.2)
        writer.close()

    assert (await attacker.send("GET", "/v1/whoami")).status == 200


@pytest.mark.parametrize("method", ["BREW", "X" * 1000, "get", "PROPFIND"])
async def test_an_unknown_method_is_one_label(attacker: Attacker, method: str) -> None:
    for target in ("/v1/whoami", "/nowhere", f"/{'x' * 300}", "/v1/deployments/some-name"):
        assert (await attacker.send(method, target)).status in {404, 405}

    text = (await attacker.send("GET", "/metrics")).body
    assert method not in text
    assert "some-name" not in text
    assert "nowhere" not in text
    assert 'method="other"' in text
    assert 'route="none"' in text
