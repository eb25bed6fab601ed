"""The doors of a running Celadon, and rollouts brought to the phases in which commands are given."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from temporalio.client import Client

from celadon.domain.language.contracts import workflow_id
from celadon.domain.language.permissions import Role
from celadon.domain.language.states import RolloutOutcome
from celadon.table.replicas.outbox import read_owed_signals
from tests.api.conftest import DEADLINE_SECONDS, ApiClient
from tests.api.console.test_pages import Browser
from tests.cli.access.conftest import Ways
from tests.cli.conftest import Command
from tests.revisions import serving
from tests.table.rows import HEALTHY, Opened, Rows

CALLER = "admin"
"""Whose token is shown, and the name that a command past the API gives."""


class Way(StrEnum):
    """A way to give a command."""

    REST = "rest"
    GRAPHQL = "graphql"
    CLI = "cli"
    DIRECT = "direct"
    CONSOLE = "console"


@dataclass(frozen=True, kw_only=True)
class Words:
    """One command as each door wants it; no form where the console has none."""

    rest: tuple[str, str, Any]
    graphql: tuple[str, Mapping[str, Any], str]
    """The mutation, its input, and the fields of its payload that are asked for."""
    cli: tuple[str, ...]
    form: tuple[str, Mapping[str, str]] | None = None
    caller: str = "--by"
    """The option by which the command line is told who asks."""
    file: str | None = None
    """What the command line reads on standard input."""


@dataclass(frozen=True)
class Answer:
    """What a door said."""

    code: str = ""
    """The code of a refusal; empty when it was done."""
    text: str = ""
    values: dict[str, str] = field(default_factory=dict)
    """Every value of the answer by its innermost key, in snake case, as text in lower case."""


@dataclass(frozen=True)
class Doors:
    """Gives commands, as an admin."""

    api: ApiClient
    command: Command
    ways: Ways
    temporal: Client

    async def give(self, way: Way, words: Words, role: Role = Role.ADMIN) -> Answer:
        """Give a command by one way."""
        match way:
            case Way.REST:
                return await self._rest(words, role)
            case Way.GRAPHQL:
                return await self._graphql(words, role)
            case Way.CLI:
                await self.ways.through_api(role)
                return await self._cli(words)
            case Way.DIRECT:
                self.ways.directly()
                return await self._cli(words, words.caller, CALLER)
            case Way.CONSOLE:
                return await self._console(words, role)

    async def _rest(self, words: Words, role: Role) -> Answer:
        method, path, body = words.rest
        answer = await self.api.call(method, path, role, body=body)
        return Answer("" if answer.status < 400 else answer.json["code"], answer.text, _values(answer.json))

    async def _graphql(self, words: Words, role: Role) -> Answer:
        name, given, fields = words.graphql
        kind = _input_type(name)
        refused = "__typename ... on Refused { code message }"
        query = f"mutation($given: {kind}!) {{ {name}(input: $given) {{ {refused} {fields} }} }}"
        data = await self.api.data(query, role, given=given)
        payload = data[name]
        return Answer(payload.get("code", ""), json.dumps(payload), _values(payload))

    async def _cli(self, words: Words, *more: str) -> Answer:
        result = await self.command(*words.cli, *more, "-o", "json", stdin=words.file)
        printed = json.loads(result.stdout) if result.stdout.startswith("{") else {}
        assert result.exit_code in {0, 1}, result.output
        code = "" if result.exit_code == 0 else printed["error"]["code"]
        return Answer(code, result.output, _values(printed))

    async def _console(self, words: Words, role: Role) -> Answer:
        assert words.form is not None
        path, form = words.form
        browser = Browser(self.api)
        await browser.log_in(role)
        sent = await browser.post(path, {"csrf": browser.csrf, **form})
        if sent.status != 303:
            return Answer("FORBIDDEN" if sent.status == 403 else str(sent.status), sent.text)
        shown = await browser.get(sent.headers["location"])
        is_refused = shown.status >= 400 or 'class="notice bad' in shown.text
        return Answer("REFUSED" if is_refused else "", shown.text)


class Scenarios:
    """Brings deployment ``chat`` where a command is given."""

    def __init__(self, doors: Doors, rows: Rows) -> None:
        self._api = doors.api
        self._temporal = doors.temporal
        self._rows = rows

    async def bring(self, scenario: str) -> None:
        """Arrange what is there before a command."""
        await getattr(self, scenario)()

    async def nothing(self) -> None:
        """Leave the table empty."""

    async def live(self) -> None:
        """Let r1 be live and no rollout under way."""
        await self._rows.live()

    async def two_lives(self) -> None:
        """Let r2 be live, r1 have been live before, and no rollout be under way."""
        await self._rows.live()
        await self._rows.live("run-2")

    async def router(self) -> None:
        """Let a router be enrolled that has never connected."""
        await self._rows.enrol("edge-1")

    async def scheduled(self) -> None:
        """Let a schedule promote each night."""
        await self._rows.live()
        body = {"schedule": "nightly", "command": "promote", "cron": "0 3 * * *"}
        answer = await self._api.call("POST", "/v1/deployments/chat/schedules", Role.ADMIN, body=body)
        assert answer.status == 201, answer.text

    async def provisioning(self) -> None:
        """Let a first rollout wait for replicas, which nobody starts."""
        await self._start(serving())

    async def awaiting(self) -> None:
        """Let r2 wait for its promotion while r1 is live."""
        await self._rows.live()
        await self._start(serving("better"))
        opened = await self._green()
        await self._rows.add(opened, HEALTHY)
        await self._deliver()
        await self._until("awaiting_promotion")

    async def aborted(self) -> None:
        """Let r1 be live, and a rollout to r2 have been aborted."""
        await self._rows.live()
        await self._rows.finish(await self._rows.open("run-2"), RolloutOutcome.ABORTED)

    async def another_waits(self) -> None:
        """Let r2 wait for its promotion, and r3 for its turn."""
        await self.awaiting()
        body = {
            "deployment": "chat",
            "revision": serving("best"),
            "policy": {"on_new_revision": "queue"},
        }
        answer = await self._api.call("POST", "/v1/rollouts", Role.ADMIN, body=body)
        assert answer.json["state"] == "waits", answer.text

    async def frozen(self) -> None:
        """Let r1 be live and frozen."""
        await self._rows.live()
        answer = await self._api.call("POST", "/v1/freezes", Role.ADMIN, body={"deployment": "chat"})
        assert answer.status == 201, answer.text

    async def awaiting_two(self) -> None:
        """Let r2 wait for the approvals of two people while r1 is live."""
        await self._rows.live()
        await self._rows.sql("""update deployments set policy = '{"approvals": {"count": 2}}'""")
        await self._start(serving("better"))
        opened = await self._green()
        await self._rows.add(opened, HEALTHY)
        await self._deliver()
        await self._until("awaiting_promotion")

    async def approved_once(self) -> None:
        """Let r2 wait for one more approval beside the admin's."""
        await self.awaiting_two()
        answer = await self._api.call("POST", "/v1/deployments/chat/promote", Role.ADMIN, body={})
        assert answer.json["answer"]["state"] == "recorded", answer.text

    async def paused(self) -> None:
        """Let r2 wait for its promotion with all timers standing still."""
        await self.awaiting()
        answer = await self._api.call("POST", "/v1/deployments/chat/pause", Role.ADMIN, body={})
        assert answer.status == 200, answer.text

    async def baking(self) -> None:
        """Let r2 be live and r1 be kept warm."""
        await self.awaiting()
        path = "/v1/deployments/chat/promote"
        answer = await self._api.call("POST", path, Role.ADMIN, body={})
        assert answer.status == 200, answer.text
        await self._until("baking")

    async def stuck_abort(self) -> None:
        """Let r2 bake with an abort by the admin that waits for blue to be healthy."""
        await self.baking()
        await self._rows.sql("update routes set health = 'unhealthy' where set_id in (select min(id) from route_sets)")
        answer = await self._api.call("POST", "/v1/deployments/chat/abort", Role.ADMIN, body={})
        assert answer.json["answer"]["state"] == "recorded", answer.text

    async def _start(self, revision: Mapping[str, Any]) -> None:
        body = {"deployment": "chat", "replicas": 1, "revision": revision}
        answer = await self._api.call("POST", "/v1/rollouts", Role.ADMIN, body=body)
        assert answer.status == 202, answer.text

    async def _green(self) -> Opened:
        """Return the rollout under way once it has opened its green set."""
        found: list[Any] = []

        async def opened() -> bool:
            found[:] = await self._rows.rows(
                "select s.id from route_sets s join rollouts r on r.id = s.rollout where r.outcome is null"
            )
            return bool(found)

        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._api.until(opened)
        return Opened(_OfChat(), found[0]["id"])  # type: ignore[arg-type]

    async def _deliver(self) -> None:
        """Deliver what the keeper owes the rollout."""
        async with self._rows.table.transaction() as tx:
            owed = await read_owed_signals(tx, 100, ())
        handle = self._temporal.get_workflow_handle(workflow_id("chat"))
        for one in owed:
            await handle.signal(one.signal, one.payload)

    async def _until(self, phase: str) -> None:
        async def reached() -> bool:
            shown = await self._api.call("GET", "/v1/deployments/chat", Role.ADMIN)
            return shown.status == 200 and shown.json["phase"] == phase

        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._api.until(reached)


@dataclass(frozen=True)
class _OfChat:
    """As much of what begins a rollout as adding a replica needs."""

    deployment: str = "chat"


def _input_type(mutation: str) -> str:
    special = {"abortRollout": "BackInput"}
    return special.get(mutation, mutation[0].upper() + mutation[1:] + "Input")


def _values(value: Any, key: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        found: dict[str, str] = {}
        for name, one in value.items():
            found |= _values(one, re.sub(r"([A-Z])", r"_\1", name).lower())
        return found
    return {} if isinstance(value, list) else {key: str(value).lower()}
