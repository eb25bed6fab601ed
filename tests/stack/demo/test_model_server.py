"""The model server, asked by the official OpenAI client and by hand."""

import asyncio
import json
import sys

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI

from celadon.stack.demo.grpc_model import GrpcModelClient
from celadon.stack.demo.model_server import MODEL, REVISION_HEADER
from celadon.stack.environment import python_environment
from tests.stack.demo.model_processes import ModelProcess, running_model_server

pytestmark = pytest.mark.parts

QUESTION = {"role": "user", "content": "Who answers?"}


def client_of(server: ModelProcess) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=server.base_url, api_key="unused", max_retries=0)


async def test_plain_answer_names_the_revision(model_server: ModelProcess) -> None:
    async with client_of(model_server) as client:
        raw = await client.chat.completions.with_raw_response.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Who answers?"}],
            max_tokens=3,
        )
    answer = raw.parse()
    assert raw.headers[REVISION_HEADER] == "r2"
    assert answer.model == f"{MODEL}-r2"
    assert answer.system_fingerprint == "r2"
    assert answer.choices[0].message.content is not None
    assert answer.choices[0].message.content.startswith("r2 ")


async def test_plain_answer_has_as_many_tokens_as_asked_for(model_server: ModelProcess) -> None:
    async with client_of(model_server) as client:
        answer = await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Who answers?"}],
            max_completion_tokens=20,
        )
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (2, 20, 22)
    assert len((answer.choices[0].message.content or "").split()) == 20


async def test_stream_comes_token_by_token_and_ends_well(model_server: ModelProcess) -> None:
    async with client_of(model_server) as client:
        stream = await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Who answers?"}],
            max_tokens=5,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    words = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert words[0] == "r2"
    assert len(words) == 5
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5


async def test_stream_ends_with_done(model_server: ModelProcess) -> None:
    body = {"model": MODEL, "messages": [QUESTION], "max_tokens": 2, "stream": True}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{model_server.base_url}/chat/completions", json=body) as response,
    ):
        text = await response.text()
    assert text.endswith("data: [DONE]\n\n")


async def test_models_are_listed(model_server: ModelProcess) -> None:
    async with client_of(model_server) as client:
        names = [model.id async for model in client.models.list()]
        shown = await client.models.retrieve(f"{MODEL}-r2")
    assert names == [MODEL, f"{MODEL}-r2"]
    assert shown.owned_by == "celadon"


async def test_another_model_is_not_found(model_server: ModelProcess) -> None:
    async with client_of(model_server) as client:
        with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-4' here: use celadon-demo") as refused:
            await client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "Who?"}])
    assert refused.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("{", "no JSON"),
        ("7", "JSON object"),
        (json.dumps({"model": MODEL}), "messages"),
        (json.dumps({"model": MODEL, "messages": []}), "messages"),
        (json.dumps({"model": MODEL, "messages": ["hello"]}), "messages"),
        (json.dumps({"model": MODEL, "messages": [QUESTION], "max_tokens": -1}), "max_tokens"),
        (json.dumps({"model": MODEL, "messages": [QUESTION], "max_tokens": "many"}), "max_tokens"),
        (json.dumps({"model": MODEL, "messages": [QUESTION], "max_tokens": 5000}), "max_tokens"),
        (json.dumps({"model": MODEL, "messages": [QUESTION], "stream": "yes"}), "stream"),
        (json.dumps({"model": MODEL, "messages": [QUESTION], "stream_options": 1}), "stream_options"),
    ],
)
async def test_bad_request_is_told_what_is_wrong(model_server: ModelProcess, body: str, complaint: str) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{model_server.base_url}/chat/completions", data=body) as response,
    ):
        error = (await response.json())["error"]
    assert response.status == 400
    assert complaint in error["message"]
    assert error["type"] == "invalid_request_error"


async def test_unknown_path_is_answered_as_the_api_does(model_server: ModelProcess) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{model_server.base_url}/embeddings") as response,
    ):
        error = (await response.json())["error"]
    assert response.status == 404
    assert "/v1/embeddings" in error["message"]


async def test_health_and_answers_wait_for_the_model_to_load() -> None:
    async with running_model_server(revision_label="r2", load_seconds=600) as server:
        assert await server.health() == 503
        async with client_of(server) as client:
            with pytest.raises(openai.InternalServerError, match="still loading"):
                await client.models.list()


async def test_health_and_answers_are_there_when_the_model_has_loaded() -> None:
    async with running_model_server(revision_label="r2", load_seconds=0.5) as server:
        await server.wait_until_loaded()
        async with client_of(server) as client:
            assert [model.id async for model in client.models.list()]


async def test_sigterm_lets_a_running_stream_end() -> None:
    async with running_model_server(revision_label="r2", token_interval_seconds=0.02) as server:
        body = {"model": MODEL, "messages": [QUESTION], "max_tokens": 50, "stream": True}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{server.base_url}/chat/completions", json=body) as response,
        ):
            server.process.terminate()
            text = await response.text()
        assert text.endswith("data: [DONE]\n\n")
        assert await server.process.wait() == 0


async def test_a_client_that_leaves_does_not_disturb_others(model_server: ModelProcess) -> None:
    body = {"model": MODEL, "messages": [QUESTION], "max_tokens": 500, "stream": True}
    async with aiohttp.ClientSession() as session:
        response = await session.post(f"{model_server.base_url}/chat/completions", json=body)
        await response.content.readline()
        response.close()
    assert await model_server.health() == 200


async def test_negative_duration_is_a_usage_error() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "celadon.stack.demo.model_server", "--port", "1", "--revision-label", "r1", "--load-seconds", "-1"),
        env=python_environment({}),
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"zero or more" in errors


async def test_it_ends_with_the_process_it_was_started_for() -> None:
    keeper = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    async with running_model_server(revision_label="r1", while_process=keeper.pid) as server:
        assert server.process.returncode is None
        keeper.kill()
        await keeper.wait()
        async with asyncio.timeout(60):
            assert await server.process.wait() == 0


async def call(server: ModelProcess, words: int) -> tuple[str | None, list[str]]:
    """Ask by gRPC; return what is wrong, and the labels that answered."""
    labels: list[str] = []
    client = GrpcModelClient(f"127.0.0.1:{server.grpc_port}", "chat")
    try:
        return await client.generate(words, 60, labels.append), labels
    finally:
        await client.close()


async def test_a_call_of_grpc_has_as_many_words_as_asked_for_and_names_the_revision(model_server: ModelProcess) -> None:
    assert await call(model_server, 3) == (None, ["r2"])


async def test_a_call_of_grpc_is_refused_while_the_model_loads() -> None:
    async with running_model_server(revision_label="r1", load_seconds=600) as server:
        error, _ = await call(server, 1)
    assert error == "gRPC UNAVAILABLE: the model is still loading"


async def test_a_running_call_of_grpc_ends_well_when_the_server_is_stopped() -> None:
    async with running_model_server(revision_label="r1", token_interval_seconds=0.2) as server:
        await server.wait_until_loaded()
        begun = asyncio.Event()
        client = GrpcModelClient(f"127.0.0.1:{server.grpc_port}", "chat")
        running = asyncio.create_task(client.generate(10, 60, lambda _: begun.set()))
        await begun.wait()
        server.process.terminate()
        assert await running is None
        await client.close()
