"""How requests find a deployment, on the real Envoy."""

import pytest

from celadon.domain.decisions.publication import SetRole
from celadon.gateway.local_replies import COLOUR_HEADER
from celadon.gateway.routing import PREFIX_HEADER, PREVIEW_HEADER
from tests.gateway.conftest import Gateway
from tests.gateway.replica import Replica
from tests.gateway.router import Router, until
from tests.gateway.traffic import BLUE, PREVIEW_KEY, after_switch, publication

pytestmark = pytest.mark.parts


@pytest.mark.parametrize(
    "host", ["chat", "chat:8000", "CHAT", "chat.localhost", "chat.models.example.com:80", "Chat.Models.example.com"]
)
async def test_a_deployment_answers_under_its_host_names(router: Router, host: str) -> None:
    assert (await router.ask("/v1/models", host)).json["path"] == "/v1/models"


@pytest.mark.parametrize(
    ("asked", "passed_on"),
    [
        ("/chat/v1/models?x=1", "/v1/models"),
        ("/chat/", "/"),
        ("/chat", "/"),
        ("/chat?x=1", "/"),
        ("/chat/chat/v1", "/chat/v1"),
        ("/./chat/v1", "/v1"),
    ],
)
async def test_a_deployment_answers_under_its_path(router: Router, asked: str, passed_on: str) -> None:
    answer = await router.ask(asked, host="127.0.0.1")
    assert (answer.json["colour"], answer.json["path"]) == ("blue", passed_on)
    assert answer.json["headers"][PREFIX_HEADER] == "/chat"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_every_method_passes_by_the_bare_path(router: Router, method: str) -> None:
    assert (await router.ask("/chat", "127.0.0.1", method=method)).json["path"] == "/"


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("nobody", "/v1/models"),
        ("chatty", "/"),
        ("chat.example.com", "/"),
        ("chat.models.example.com.evil.test", "/"),
        ("a.chat", "/"),
        ("127.0.0.1", "/"),
        ("127.0.0.1", "/chatty/v1"),
        ("127.0.0.1", "/chat-2"),
        ("127.0.0.1", "/chat;x"),
        ("127.0.0.1", "/v1/chat"),
    ],
)
async def test_what_addresses_no_deployment_is_answered_404(router: Router, host: str, path: str) -> None:
    answer = await router.ask(path, host)
    assert (answer.status, answer.json["error"]["code"]) == (404, "no_deployment")


async def test_paths_of_names_that_begin_alike_are_told_apart(gateway: Gateway, router: Router, green: Replica) -> None:
    await gateway.tell(
        publication(1, {(BLUE, SetRole.LIVE): [green.port]}, "chat-2"),
        publication(1, {(BLUE, SetRole.LIVE): [green.port]}, "ch"),
    )
    colours = {
        path: (await router.ask(path, "127.0.0.1")).json.get("colour")
        for path in ("/chat", "/chat/x", "/chat-2", "/chat-2/x", "/ch", "/ch/x", "/cha", "/chat-", "/chat-23/x")
    }
    blues = dict.fromkeys(("/chat", "/chat/x"), "blue")
    greens = dict.fromkeys(("/chat-2", "/chat-2/x", "/ch", "/ch/x"), "green")
    assert colours == {**blues, **greens, "/cha": None, "/chat-": None, "/chat-23/x": None}


async def test_a_router_with_the_name_of_a_deployment_in_its_own_leads_to_all_deployments(
    gateway: Gateway, router: Router, green: Replica
) -> None:
    await gateway.tell(publication(1, {(BLUE, SetRole.LIVE): [green.port]}, "llm"))
    assert (await router.ask("/chat/x", "llm.corp.example")).json["colour"] == "blue"
    assert (await router.ask("/llm/x", "llm.corp.example")).json["colour"] == "green"


async def test_clients_cannot_send_a_prefix_or_whom_they_forward_for(router: Router) -> None:
    for path, host, prefix in (("/x", "chat", None), ("/chat/x", "127.0.0.1", "/chat")):
        answer = await router.ask(path, host, x_forwarded_prefix="/evil", forwarded="for=1.2.3.4")
        headers = answer.json["headers"]
        assert headers.get(PREFIX_HEADER) == prefix
        assert "forwarded" not in headers


async def test_a_deployment_that_goes_leaves_no_path_behind(gateway: Gateway, router: Router, green: Replica) -> None:
    await gateway.tell(publication(1, {(BLUE, SetRole.LIVE): [green.port]}, "other"))
    gateway.server.publish([], ["chat"])

    async def is_gone() -> bool:
        return (await router.ask("/chat", "127.0.0.1")).status == 404

    await until(is_gone)
    assert (await router.ask("/other", "127.0.0.1")).json["colour"] == "green"
    gateway.server.publish([], ["other"])

    async def all_are_gone() -> bool:
        return (await router.ask("/other", "127.0.0.1")).status == 404

    await until(all_are_gone)


async def test_the_preview_listener_reaches_green_by_either_name(router: Router) -> None:
    for host in ("chat", "chat-preview", "chat.localhost", "chat-preview.models.example.com:80"):
        assert (await router.ask(host=host, port=router.preview)).json["colour"] == "green"
    for path in ("/chat/x", "/chat"):
        answer = await router.ask(path, host="127.0.0.1", port=router.preview)
        assert answer.json["path"] == (path.removeprefix("/chat") or "/")
        assert answer.json["headers"][PREFIX_HEADER] == "/chat"


async def test_the_previews_name_is_unknown_to_the_live_listener(router: Router) -> None:
    assert (await router.ask(host="chat-preview")).status == 404


async def test_the_key_reaches_green_on_the_live_listener(router: Router) -> None:
    assert (await router.ask(x_celadon_preview=PREVIEW_KEY)).json["colour"] == "green"
    for path in ("/chat/x", "/chat"):
        assert (await router.ask(path, "127.0.0.1", x_celadon_preview=PREVIEW_KEY)).json["colour"] == "green"


@pytest.mark.parametrize("value", ["green", "", PREVIEW_KEY + "x", PREVIEW_KEY.upper()])
async def test_any_other_key_goes_to_live_and_is_not_forwarded(router: Router, value: str) -> None:
    answer = await router.ask(x_celadon_preview=value)
    assert answer.json["colour"] == "blue"
    assert PREVIEW_HEADER not in answer.json["headers"]


async def test_the_key_is_never_forwarded(router: Router) -> None:
    for port in (router.live, router.preview):
        answer = await router.ask(port=port, x_celadon_preview=PREVIEW_KEY)
        assert PREVIEW_HEADER not in answer.json["headers"]
        assert PREVIEW_KEY not in answer.body


async def test_green_is_told_that_a_request_is_a_preview_and_clients_cannot_claim_it(router: Router) -> None:
    preview = await router.ask(x_celadon_preview=PREVIEW_KEY)
    assert preview.json["headers"][COLOUR_HEADER] == "green"
    live = await router.ask(x_celadon_colour="green")
    assert COLOUR_HEADER not in live.json["headers"]


async def test_a_preview_without_green_is_answered_404(gateway: Gateway, router: Router, blue: Replica) -> None:
    await gateway.tell(publication(2, {(BLUE, SetRole.LIVE): [blue.port]}))
    for answer in (
        await router.ask(port=router.preview),
        await router.ask(x_celadon_preview=PREVIEW_KEY),
        await router.ask("/chat/", "127.0.0.1", x_celadon_preview=PREVIEW_KEY),
    ):
        assert (answer.status, answer.json["error"]["code"]) == (404, "no_green")
        assert answer.headers["content-type"] == "application/json"


async def test_a_live_deployment_without_replicas_is_503_even_with_another_key(
    gateway: Gateway,
    router: Router,
) -> None:
    await gateway.tell(publication(2, {}))
    assert (await router.ask(x_celadon_preview="wrong")).status == 503
    assert (await router.ask(x_celadon_colour="green")).status == 503


async def test_a_preview_ends_with_the_switch(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    await gateway.tell(after_switch(2, [blue.port], [green.port]))
    assert (await router.ask()).json["colour"] == "green"
    assert (await router.ask(port=router.preview)).status == 404


async def test_clients_cannot_ask_the_router_for_retries_or_deadlines(router: Router, blue: Replica) -> None:
    answer = await router.ask(
        "/fail",
        method="POST",
        x_envoy_retry_on="5xx",
        x_envoy_max_retries="5",
        x_envoy_upstream_rq_timeout_ms="1",
    )
    assert (answer.status, blue.requests) == (503, 1)


async def test_the_routers_own_headers_reach_nobody(router: Router) -> None:
    answer = await router.ask()
    assert not [name for name in answer.headers if name.lower().startswith("x-envoy")]
    assert "aiohttp" in answer.headers["server"]


async def test_a_request_is_tried_again_on_another_replica(gateway: Gateway, router: Router, blue: Replica) -> None:
    nobody_listens = 1
    await gateway.tell(publication(2, {(BLUE, SetRole.LIVE): [blue.port, nobody_listens]}))
    for path, host in (("/x", "chat"), ("/chat/x", "127.0.0.1"), ("/chat", "127.0.0.1")):
        answers = [await router.ask(path, host, method=method) for method in ("GET", "POST") for _ in range(10)]
        assert {answer.status for answer in answers} == {200}


async def test_a_websocket_passes(router: Router) -> None:
    url = f"ws://127.0.0.1:{router.live}/websocket"
    async with router.client.ws_connect(url, headers={"host": "chat"}) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "blue: hello"
