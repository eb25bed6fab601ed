"""The API on a whole stack: start, watch, promote and go back as other systems do; the documentation's examples run."""

import asyncio
import itertools
import json
import re
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from celadon.domain.language.names import Epoch
from celadon.domain.language.states import RolloutPhase
from celadon.stack.addresses import StackAddresses
from tests.end_to_end.conftest import DEADLINE_SECONDS, LiveDeployment, run, until

pytestmark = [pytest.mark.stack, pytest.mark.shared]

DOCS = Path(__file__).parents[2] / "docs" / "api.md"


class Caller:
    """The owner of the stack, as a client of its API."""

    def __init__(self, addresses: StackAddresses, session: aiohttp.ClientSession) -> None:
        assert addresses.admin_token_file is not None
        self.url = addresses.api
        self.file = addresses.admin_token_file
        self.headers = {"authorization": f"Bearer {self.file.read_text().strip()}"}
        self.session = session

    async def rest(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        sent = {**self.headers, **headers}
        async with self.session.request(method, f"{self.url}{path}", json=body, headers=sent) as answer:
            found = await answer.json(content_type=None)
            assert answer.status < 400, found
            return found

    async def graphql(self, query: str) -> Any:
        answer = await self.rest("POST", "/graphql", {"query": query})
        assert "errors" not in answer, answer
        return answer["data"]

    @asynccontextmanager
    async def stream(self, name: str) -> AsyncIterator[asyncio.Queue[tuple[str, Any]]]:
        """Follow a deployment in the background."""
        heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        path = f"{self.url}/v1/deployments/{name}/stream"
        timeout = aiohttp.ClientTimeout(total=None)
        async with self.session.get(path, headers=self.headers, timeout=timeout) as answer:
            assert answer.status == 200

            async def listen() -> None:
                kind = ""
                while line := (await answer.content.readuntil(b"\n")).decode():
                    if line.startswith("event: "):
                        kind = line.removeprefix("event: ").strip()
                    elif line.startswith("data: "):
                        heard.put_nowait((kind, json.loads(line.removeprefix("data: "))))

            listening = asyncio.create_task(listen())
            try:
                yield heard
            finally:
                listening.cancel()
                await asyncio.wait({listening})


async def until_heard(heard: asyncio.Queue[tuple[str, Any]], event: str, **wanted: object) -> Any:
    """Wait for an event with these values."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            name, data = await heard.get()
            if name == event and all(data.get(key) == value for key, value in wanted.items()):
                return data


@pytest.fixture
def request_of(deployment: LiveDeployment) -> Any:
    """Return what starts a rollout through the API."""

    def make(label: str) -> dict[str, Any]:
        request = deployment.request(label)
        del request["requested_by"]
        return request

    return make


async def promote(caller: Caller, name: str) -> tuple[dict[str, Any], str]:
    """Promote, and again where a busy machine let the keeper's lease expire; return the answer and what was sent."""
    numbers = itertools.count(1)
    while True:
        mutation = f"""mutation {{ promoteDeployment(
            input: {{deploymentId: "{name}", revision: 2, reason: "good", requestId: "{name}-promote-{next(numbers)}"}}
        ) {{
            ... on PromotePayload {{
                state
                switch {{ epoch acknowledgedBy silent milliseconds }}
                deployment {{ liveRevision phase }}
            }}
            ... on Refused {{ code message }}
        }} }}"""
        answer = (await caller.graphql(mutation))["promoteDeployment"]
        if answer.get("code") != "KEEPER_SILENT":
            return answer, mutation


async def test_a_rollout_is_started_watched_promoted_and_taken_back_through_the_api(
    stack: StackAddresses, deployment: LiveDeployment, request_of: Any
) -> None:
    name = deployment.name
    async with aiohttp.ClientSession() as session:
        caller = Caller(stack, session)
        assert stat.S_IMODE(caller.file.stat().st_mode) == 0o600
        me = (await caller.rest("GET", "/v1/whoami"))["name"]
        await caller.rest("POST", "/v1/rollouts", request_of("r1"))
        await deployment.ended()

        async with caller.stream(name) as heard:
            shown = await until_heard(heard, "deployment")
            assert shown["deployment"]["live_revision"] == 1
            started = await caller.rest("POST", "/v1/rollouts", request_of("r2"), **{"idempotency-key": f"{name}-2"})
            assert (started["from_revision"], started["to_revision"]) == (1, 2)
            await until_heard(heard, "audit", kind="awaiting_promotion")

            answer, mutation = await promote(caller, name)
            assert answer["state"] == "SWITCHED", answer
            assert answer["deployment"]["liveRevision"] == 2
            assert (answer["switch"]["acknowledgedBy"], answer["switch"]["silent"]) == (["local"], [])
            assert answer["switch"]["milliseconds"] > 0
            switched = await until_heard(heard, "audit", kind="switched")
            assert (switched["actor"], switched["door"], switched["verified"]) == (me, "api", True)
            assert (await deployment.answer())[1] == "r2"
            repeated = (await caller.graphql(mutation))["promoteDeployment"]
            assert repeated["switch"] == answer["switch"]

            wrong = mutation.replace("revision: 2", "revision: 1").replace("-promote-", "-again-")
            refused = (await caller.graphql(wrong))["promoteDeployment"]
            assert refused["code"] == "WRONG_REVISION"

            path = f"/v1/deployments/{name}/rollback"
            back = await caller.rest("POST", path, {"reason": "slow"}, **{"idempotency-key": f"{name}-back"})
            assert back["answer"]["outcome"] == "rolled_back"
            assert Epoch(back["answer"]["epoch"]) > answer["switch"]["epoch"]
            await until_heard(heard, "audit", kind="switched_back", verified=True, actor=me)
            assert (await deployment.answer())[1] == "r1"
            again = await caller.rest("POST", path, {"reason": "slow"}, **{"idempotency-key": f"{name}-back"})
            assert again == back

        await deployment.ended()
        # A later rollout is never meant by a repeat of an earlier request.
        await caller.rest("POST", "/v1/rollouts", request_of("r3"))
        assert await caller.rest("POST", path, {"reason": "slow"}, **{"idempotency-key": f"{name}-back"}) == back
        assert (await caller.rest("GET", f"/v1/deployments/{name}"))["deployment"]["rollout"]["outcome"] is None
        await caller.rest("POST", f"/v1/deployments/{name}/abort", {"reason": "enough"})
        await deployment.ended()


async def test_what_comes_by_plain_signal_is_only_declared(stack: StackAddresses, deployment: LiveDeployment) -> None:
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2")
    await deployment.handle.signal("abort", {"by": "the-boss", "door": "api", "signature": "Zm9yZ2Vk", "reason": "x"})
    await deployment.ended()
    async with aiohttp.ClientSession() as session:
        events = (await Caller(stack, session).rest("GET", f"/v1/deployments/{deployment.name}/events"))["events"]
    forged = [(one["door"], one["verified"]) for one in events if one["actor"] == "the-boss"]
    assert forged
    assert set(forged) == {("signal", False)}


def examples() -> dict[str, str]:
    """Return the shell examples of the documentation, by name."""
    return dict(re.findall(r"<!-- example: (\w+) -->\n```\n(.*?)```", DOCS.read_text(), re.DOTALL))


def queries() -> dict[str, str]:
    """Return the GraphQL examples of the documentation, by name."""
    return dict(re.findall(r"<!-- graphql: (\w+) -->\n```graphql\n(.*?)```", DOCS.read_text(), re.DOTALL))


async def test_the_examples_of_the_documentation_run_as_written(
    stack: StackAddresses, deployment: LiveDeployment, request_of: Any, tmp_path: Path
) -> None:
    await deployment.serve("r1")
    (tmp_path / "chat.json").write_text(json.dumps(request_of("r2")))
    assert set(examples()) == {"start", "status", "promote", "rollback", "scale", "stream"}
    assert set(queries()) == {"list", "show", "page", "promote"}
    async with aiohttp.ClientSession() as session:
        caller = Caller(stack, session)
        token = caller.file.read_text().strip()

        async def try_in_shell(example: str) -> tuple[int, str, str]:
            written = examples()[example].replace("/chat", f"/{deployment.name}").replace("build-1842", deployment.name)
            script = f"export CELADON_URL={stack.api} CELADON_TOKEN={token}\n{written}"
            return await run(stack, "bash", "-euc", script, directory=tmp_path)

        async def shell(example: str) -> str:
            code, out, err = await try_in_shell(example)
            assert code == 0, (example, out, err)
            return out

        async def promoted() -> bool:
            """Whether the promotion was taken; green may be unhealthy for a moment on a busy machine: ask again."""
            code, out, err = await try_in_shell("promote")
            assert code == 0 or "409" in err, (out, err)
            return code == 0 and json.loads(out)["answer"]["state"] == "switched"

        async def ask(query: str) -> Any:
            return await caller.graphql(queries()[query].replace('"chat"', f'"{deployment.name}"'))

        async def listed() -> set[str]:
            """Return the deployments of all pages."""
            names: set[str] = set()
            place = "first: 50"
            while True:
                page = (await caller.graphql(queries()["list"].replace("first: 50", place)))["deployments"]
                names |= {one["node"]["name"] for one in page["edges"]}
                if not page["pageInfo"]["hasNextPage"]:
                    return names
                place = f'first: 50, after: "{page["pageInfo"]["endCursor"]}"'

        assert json.loads(await shell("start"))["to_revision"] == 2
        assert json.loads(await shell("status"))["deployment"]["deployment"] == deployment.name
        await deployment.phase(RolloutPhase.AWAITING_PROMOTION)
        assert deployment.name in await listed()

        async def is_shown() -> bool:
            return bool((await ask("show"))["deployment"]["phase"] == "AWAITING_PROMOTION")

        await until(is_shown, "the API shows that it waits, which the table is told after the workflow knows")
        shown = (await ask("show"))["deployment"]
        assert len(shown["routes"]["edges"]) == 4
        assert shown["workflow"]["refused"] == []
        await until(promoted, "the promotion is taken")
        assert (await ask("promote"))["promoteDeployment"]["code"] == "ALREADY_DECIDED"
        assert json.loads(await shell("rollback"))["answer"]["outcome"] == "rolled_back"
        assert (await ask("page"))["rollouts"]["edges"][0]["node"]["phase"] in {"ROLLING_BACK", "COMPLETED"}
        assert '"replicas":2' in await shell("scale")
        await deployment.ended()
        followed = examples()["stream"].replace("/chat", f"/{deployment.name}")
        assert "/stream" in followed


async def test_tokens_are_made_listed_and_revoked_by_the_command_line(
    stack: StackAddresses, deployment: LiveDeployment
) -> None:
    name = f"ci-{deployment.name}"
    code, out, err = await run(stack, "celadon", "token", "create", name, "--role", "viewer", "-o", "json")
    assert code == 0, err
    token = json.loads(out)["token"]
    async with aiohttp.ClientSession() as session:

        async def status() -> int:
            headers = {"authorization": f"Bearer {token}"}
            async with session.get(f"{stack.api}/v1/whoami", headers=headers) as answer:
                return answer.status

        assert await status() == 200
        code, out, err = await run(stack, "celadon", "token", "list")
        assert name in out
        assert token.rpartition("_")[2] not in out
        code, out, err = await run(stack, "celadon", "token", "create", name, "--role", "viewer")
        assert code == 1
        assert "names are given once" in err
        assert (await run(stack, "celadon", "token", "revoke", name))[0] == 0
        assert await status() == 401
    code, _, err = await run(stack, "celadon", "token", "create", "x", "--role", "viewer", "--label", "team")
    assert code == 2
    assert "NAME=VALUE" in err
