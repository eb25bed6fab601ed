"""A command is one module: one that is put into the room is found at every door, and in the reference pages."""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from celadon.api.graphql_commands import mutation_type
from celadon.api.graphql_schema import make_schema
from celadon.api.schema_files import GRAPHQL_FILE, OPENAPI_FILE, schema_files
from celadon.cli.main import Root
from celadon.domain.language.permissions import Role
from celadon.service import commands as room
from celadon.service.reference import COMMANDS_PAGE, PERMISSIONS_PAGE, reference_pages
from celadon.service.registry import commands
from tests.service.doors import CALLER, Doors, Way, Words
from tests.table.rows import Rows

MODULE = '''
"""Write a greeting into the audit log."""

from datetime import timedelta
from enum import StrEnum

from celadon.domain.language.durations import Duration
from celadon.domain.language.commands import Reason
from celadon.domain.language.permissions import Verb
from celadon.domain.language.base_models import Record, StrictModel
from celadon.service.command import Call, Command, Form, Line, Scope, Terminal


class Warmth(StrEnum):
    """How warm a greeting is."""

    COOL = "cool"
    """Hardly."""
    WARM = "warm"
    """Very."""


class GreetRequest(StrictModel):
    """Asks for a greeting."""

    whom: str = "all"
    """Who is greeted."""
    times: int = 1
    """How often."""
    pause: Duration = timedelta(seconds=1)
    """How long between two."""
    warmth: Warmth = Warmth.WARM
    """How warmly."""
    extras: dict[str, str] = {}
    """What else is said."""
    reason: Reason = ""


class GreetResult(Record):
    """The answer to a greeting."""

    deployment: str
    """The deployment's name."""
    said: str
    """What was said."""
    pause: timedelta
    """How long it took between two."""
    extras: dict[str, str]
    """What else was said."""


async def greet(call: Call[GreetRequest]) -> GreetResult:
    """Write a greeting into the audit log."""
    from celadon.table.rollouts.audit import write_event

    asked = call.request
    said = " ".join([f"hello {asked.whom}"] * asked.times)
    async with call.service.serving(call, [Verb.SCALE]) as tx:
        author = call.service.author(call.who, asked.reason)
        await write_event(tx, call.subject, None, "greeted", author=author)
    return GreetResult(deployment=call.subject, said=said, pause=asked.pause, extras=asked.extras)


COMMAND = Command(
    verb="greet",
    scope=Scope.DEPLOYMENT,
    place=1000,
    about="Greet whoever reads the audit log.",
    right=Verb.SCALE,
    request=GreetRequest,
    result=GreetResult,
    run=greet,
    summary=lambda result: (Line(strong="Said", text=f": {result.said}"),),
    terminal=Terminal(takes_id=True),
    form=Form(title="Greet", what="Greets.", button="Greet", fields=("times",)),
)
'''

WHY = "they are new"
GREET = Words(
    rest=("POST", "/v1/deployments/chat/greet", {"times": 2, "pause": "2s", "extras": {"a": "b"}, "reason": WHY}),
    graphql=(
        "greetDeployment",
        {"deploymentId": "chat", "times": 2, "pause": "2s", "warmth": "COOL", "extras": {"a": "b"}, "reason": WHY},
        "... on GreetDeploymentPayload { said pause extras deployment { name } }",
    ),
    cli=("greet", "chat", "--times", "2", "--pause", "2s", "--warmth", "cool", "--extras", "a=b", "--reason", WHY),
    form=("/deployments/chat/greet", {"times": "2", "reason": WHY}),
)


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put one module into the room of the commands."""
    (tmp_path / "greet.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.setattr(room, "__path__", [*room.__path__, str(tmp_path)])
    _forget()
    yield
    sys.modules.pop(f"{room.__name__}.greet", None)
    _forget()


def _forget() -> None:
    for made in (commands, mutation_type, make_schema):
        made.cache_clear()


@pytest.fixture
def line(module: None) -> typer.Typer:
    """Return a command line that has loaded none of its commands."""
    del module
    root = typer.Typer(cls=Root)
    root.callback()(lambda: None)
    return root


def test_it_is_in_every_description(line: typer.Typer) -> None:
    files, pages = schema_files(), reference_pages()

    operation = json.loads(files[OPENAPI_FILE])["paths"]["/v1/deployments/{name}/greet"]["post"]
    assert operation["operationId"] == "greet_v1_deployments__name__greet_post"
    assert operation["description"] == "Greet whoever reads the audit log."
    assert operation["responses"]["422"]["content"].keys() == {"application/problem+json"}
    assert "input GreetDeploymentInput {" in files[GRAPHQL_FILE]
    assert '"""How long between two."""\n  pause: String = null\n' in files[GRAPHQL_FILE]
    assert "| `greet` | scale |  | yes |  | yes |" in pages[PERMISSIONS_PAGE]
    assert "`celadon greet`" in pages[COMMANDS_PAGE]
    assert "`greetDeployment`" in pages[COMMANDS_PAGE]
    shown = CliRunner().invoke(line, ["greet", "--help"])
    assert "How long between two." in shown.output
    assert "<cool|warm>" in shown.output


@pytest.mark.parts
@pytest.mark.parametrize("way", Way)
async def test_it_is_carried_out_at_every_door(way: Way, line: typer.Typer, doors: Doors, rows: Rows) -> None:
    await rows.live()

    async def command(*words: str, stdin: str | None = None) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, line, list(words), input=stdin)

    here = Doors(doors.api, command, doors.ways, doors.temporal)
    answer = await here.give(way, GREET)

    assert answer.code == "", answer.text
    if way is Way.CONSOLE:
        assert "Said: hello all hello all" in answer.text
    else:
        assert answer.values["said"] == "hello all hello all"
        assert answer.values["a"] == "b"
    written = await rows.rows("select actor, reason from rollout_events where kind = 'greeted'")
    assert [(one["actor"], one["reason"]) for one in written] == [(CALLER, WHY)]


@pytest.mark.parts
@pytest.mark.parametrize("way", [way for way in Way if way is not Way.DIRECT])
async def test_it_is_refused_to_who_may_not(way: Way, line: typer.Typer, doors: Doors, rows: Rows) -> None:
    await rows.live()

    async def command(*words: str, stdin: str | None = None) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, line, list(words), input=stdin)

    answer = await Doors(doors.api, command, doors.ways, doors.temporal).give(way, GREET, Role.VIEWER)

    assert answer.code == "FORBIDDEN", answer.text


@pytest.mark.parts
async def test_what_does_not_parse_is_refused_in_our_envelope(doors: Doors, rows: Rows) -> None:
    await rows.live()
    path = "/v1/deployments/chat/greet"

    answer = await doors.api.call("POST", path, Role.ADMIN, body={"times": "often", "loudly": True})

    assert (answer.status, answer.code) == (422, "INVALID_PAYLOAD")
    assert "times" in answer.json["detail"]
    assert "loudly" in answer.json["detail"]
