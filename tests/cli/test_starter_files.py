"""Files to begin with, and the schemas that editors check them with."""

import asyncio
import re
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from celadon.cli.deployment_file import read_deployment_file, read_policy_file, with_policy
from celadon.cli.starter_files import deployment_file, policy_file
from celadon.domain.decisions.automatic_switch import asks_for_gate
from celadon.domain.language.base_models import field_texts
from celadon.domain.language.file_schemas import FileKind, file_schema
from celadon.domain.language.health_check import HealthCheck
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.policy import BlueGreenPolicy, resolve_policy
from celadon.domain.language.revision import Provisioner, Revision
from celadon.service.file_places import Content
from tests.cli.conftest import Command
from tests.gateway.conftest import free_port

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 60.0
"""A machine that is busy starts a process in a few seconds."""
STARTED = (Provisioner.LOCAL, Provisioner.STATIC)


def _schema(kind: FileKind) -> Any:
    return yaml.safe_load(file_schema(kind))


def _keys(text: str) -> set[str]:
    return set(re.findall(r"^ *(?:# )?([a-z_]+):", text, re.MULTILINE))


async def _init(command: Command, directory: Path, *options: str) -> dict[str, object]:
    result = await command("init", "chat", "-C", str(directory), *options)
    assert result.exit_code == 0, result.stderr
    return with_policy(
        read_deployment_file(directory / "chat.yaml"),
        read_policy_file(directory / "chat.policy.yaml"),
    )


async def _answers(url: str) -> None:
    """Wait until a server answers with 200."""
    async with asyncio.timeout(DEADLINE_SECONDS), aiohttp.ClientSession() as http:
        while True:
            with suppress(aiohttp.ClientConnectionError):
                async with http.get(url) as answer:
                    if answer.status == HTTPStatus.OK:
                        return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("provisioner", STARTED)
async def test_what_init_writes_is_a_request(provisioner: Provisioner, command: Command, tmp_path: Path) -> None:
    content = await _init(command, tmp_path, "--provisioner", provisioner.value)

    request = parse_payload(RolloutRequest, content)

    assert request.deployment == "chat"
    assert isinstance(request.revision, Revision)
    assert request.revision.provisioner is provisioner


@pytest.mark.parametrize("provisioner", STARTED)
async def test_the_first_revision_of_what_init_writes_waits_for_no_promotion(
    provisioner: Provisioner, command: Command, tmp_path: Path
) -> None:
    content = await _init(command, tmp_path, "--provisioner", provisioner.value)

    policy = parse_payload(RolloutRequest, content).policy

    assert not asks_for_gate(resolve_policy(policy), policy)


async def test_the_command_that_init_writes_starts_a_server_that_is_healthy(command: Command, tmp_path: Path) -> None:
    request = parse_payload(RolloutRequest, await _init(command, tmp_path))
    assert isinstance(request.revision, Revision)
    port = free_port()

    process = await asyncio.create_subprocess_exec(*(one.format(port=port) for one in request.revision.command))
    try:
        await _answers(f"http://127.0.0.1:{port}{request.revision.health_check.path}")
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize(
    ("text", "models"),
    [
        (deployment_file("chat", Provisioner.LOCAL), (RolloutRequest, Revision, HealthCheck)),
        (policy_file("chat"), (BlueGreenPolicy,)),
    ],
    ids=["deployment", "policy"],
)
def test_every_key_stands_in_the_files_with_what_it_means(text: str, models: tuple[type[BaseModel], ...]) -> None:
    for model in models:
        for key, meaning in field_texts(model).items():
            assert meaning, f"{model.__name__}.{key} says nothing"
            assert key in _keys(text) | {"policy"}


def test_the_defaults_that_a_policy_file_shows_are_those_that_hold() -> None:
    shown = yaml.safe_load(re.sub(r"^# ([a-z_]+:)", r"\1", policy_file("chat"), flags=re.MULTILINE))

    read = parse_payload(BlueGreenPolicy, shown)

    defaults = BlueGreenPolicy()
    assert {key: getattr(read, key) for key in BlueGreenPolicy.model_fields} == {
        key: getattr(defaults, key) for key in BlueGreenPolicy.model_fields
    }


async def test_files_that_are_there_are_left_alone(command: Command, tmp_path: Path) -> None:
    (tmp_path / "chat.policy.yaml").write_text("bake: 1h\n")

    result = await command("init", "chat", "-C", str(tmp_path))

    assert result.exit_code == 1
    assert "overwrite it with --force" in result.stderr
    assert (tmp_path / "chat.policy.yaml").read_text() == "bake: 1h\n"
    assert not (tmp_path / "chat.yaml").exists()


async def test_force_overwrites_them(command: Command, tmp_path: Path) -> None:
    (tmp_path / "chat.yaml").write_text("mine\n")

    content = await _init(command, tmp_path, "--force")

    assert content["deployment"] == "chat"


@pytest.mark.parametrize("kind", FileKind)
def test_the_schemas_of_the_docs_are_those_of_the_code(kind: FileKind) -> None:
    written = (ROOT / "docs" / "schemas" / f"{kind.value}.json").read_text(encoding="utf-8")

    assert written == file_schema(kind), f"write it anew: celadon schema {kind.value} > docs/schemas/{kind.value}.json"


@pytest.mark.parametrize("provisioner", STARTED)
async def test_an_editor_finds_no_fault_in_the_files(
    provisioner: Provisioner,
    command: Command,
    tmp_path: Path,
) -> None:
    await _init(command, tmp_path, "--provisioner", provisioner.value)

    for name in ("chat.yaml", "chat.policy.yaml"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        schema = tmp_path / text.splitlines()[0].rpartition("$schema=")[2]
        jsonschema.Draft202012Validator(yaml.safe_load(schema.read_text(encoding="utf-8"))).validate(
            yaml.safe_load(text),
        )


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (FileKind.POLICY, {"bakes": "5m"}),
        (FileKind.POLICY, {"bake": "five minutes"}),
        (FileKind.POLICY, {"bake": -1}),
        (FileKind.POLICY, {"on_deadline": "wait"}),
        (FileKind.DEPLOYMENT, {"deployment": "Chat", "revision": 1}),
        (FileKind.DEPLOYMENT, {"deployment": "chat"}),
        (FileKind.DEPLOYMENT, {"deployment": "chat", "revision": {"comand": ["serve"]}}),
    ],
)
def test_an_editor_finds_what_would_be_refused(kind: FileKind, content: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(_schema(kind)).validate(content)


def test_a_deployment_files_own_policy_wins_over_a_policy_file() -> None:
    content = with_policy(Content({"policy": {"bake": "1m"}}, {}), Content({"bake": "9m", "drain_timeout": "2m"}, {}))

    assert content == {"policy": {"bake": "1m", "drain_timeout": "2m"}}


def test_a_policy_file_without_keys_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("# bake: 5m\n")

    assert read_policy_file(file) == {}
