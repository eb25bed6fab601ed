"""A revision asks for a secret that is not for it, or has a replica print one where others read it."""

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import select, update

from celadon.domain.language.revision import Revision
from celadon.domain.language.states import RouteStatus
from celadon.notifications.secrets import SecretError, Secrets
from celadon.notifications.settings import NotificationSettings
from celadon.provisioners.inherited import inherited_environment
from celadon.provisioners.protocol import StartError
from celadon.provisioners.secret_files import SecretFiles
from celadon.table.core.engine import Table
from celadon.table.core.models import Deployment, RolloutEvent, Route, RouteSet
from tests.keeper.conftest import chat, state_dir  # noqa: F401 - fixtures
from tests.keeper.rollouts import Deploying
from tests.keeper.running import Rollouts, Running, running_keeper
from tests.provisioners.programs import script, server, until_found

SECRET = "very-private-value"  # noqa: S105 - of nobody
TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUv"  # noqa: S105 - as above


@pytest.fixture
def secrets_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "secrets"
    directory.mkdir()
    (directory / "hub").write_text(f"{SECRET}\n")
    return directory


@pytest.fixture
def run_keeper(table: Table, state_dir: Path, secrets_dir: Path) -> AbstractAsyncContextManager[Running]:  # noqa: F811
    return running_keeper(table, state_dir, Rollouts(), secrets_dir=secrets_dir)


async def label(chat: Deploying, **labels: str) -> None:  # noqa: F811
    async with chat.table.transaction() as tx:
        await tx.execute(update(Deployment).where(Deployment.name == chat.name).values(labels=labels))


def uses(secret: str, command: tuple[str, ...]) -> dict[str, object]:
    return {"command": command, "env": {"KEY": {"secret": secret}}}


@pytest.mark.parametrize("labels", [{}, {"team": "search"}, {"team": "ads", "env": "test"}])
async def test_a_secret_of_other_labels_is_refused_with_the_reason(
    run_keeper: AbstractAsyncContextManager[Running],
    chat: Deploying,  # noqa: F811
    secrets_dir: Path,
    labels: dict[str, str],
) -> None:
    (secrets_dir / "hub.labels").write_text("# for the advertisements\nteam=ads\nenv = prod\n")
    await chat.open(uses("hub", server()), max_replacements=0)
    await label(chat, **labels)
    async with run_keeper:
        [ended] = await chat.ended(1)
    assert ended.status is RouteStatus.FAILED_TO_START
    assert "secret 'hub' is for deployments with the label env=prod" in ended.last_error
    assert SECRET not in ended.last_error


async def test_a_deployment_that_bears_the_labels_gets_the_secret(
    run_keeper: AbstractAsyncContextManager[Running],
    chat: Deploying,  # noqa: F811
    secrets_dir: Path,
) -> None:
    (secrets_dir / "hub.labels").write_text("team=ads\n")
    await chat.open(uses("hub", server()))
    await label(chat, team="ads", env="prod")
    async with run_keeper:
        await chat.healthy(1)


@pytest.mark.parametrize("text", ["", "team", "team=ads\nteam=search", "Team=ads", "=ads", "# nothing", "\xff"])
def test_labels_that_cannot_be_understood_bind_to_nobody(secrets_dir: Path, text: str) -> None:
    (secrets_dir / "hub.labels").write_bytes(text.encode("latin-1"))
    with pytest.raises(StartError, match="the labels of secret 'hub' cannot be read"):
        SecretFiles(secrets_dir).check_bound("hub", {"team": "ads"})


def test_who_may_have_a_secret_is_no_secret(secrets_dir: Path) -> None:
    (secrets_dir / "hub.labels").write_text("team=ads")
    with pytest.raises(StartError, match="is no secret"):
        SecretFiles(secrets_dir).read("hub.labels")


@pytest.mark.parametrize("name", ["../service/hook-key", "/etc/passwd", "..", "a/b", ".hidden"])
def test_a_secrets_name_leads_out_of_its_directory_for_nobody(name: str) -> None:
    with pytest.raises(ValidationError):
        Revision.model_validate({"command": ["serve"], "env": {"KEY": {"secret": name}}})


def test_a_revision_cannot_name_a_secret_of_celadons_own(secrets_dir: Path, tmp_path: Path) -> None:
    service = tmp_path / "service"
    service.mkdir()
    (service / "hook-key").write_text("whsec_1234567890")
    revision = Revision.model_validate(uses("hook-key", ("serve",)), strict=False)
    with pytest.raises(StartError, match="secret 'hook-key' is missing"):
        SecretFiles(secrets_dir).resolve(revision, {})
    with pytest.raises(SecretError, match="CELADON_SERVICE_SECRETS_DIR"):
        Secrets(service).read("hub")


@pytest.mark.parametrize(("own", "of_replicas"), [("a", "a"), ("a/own", "a"), ("a", "a/replicas"), ("b/../a", "a")])
def test_the_two_directories_of_secrets_lie_apart(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own: str,
    of_replicas: str,
) -> None:
    monkeypatch.setenv("CELADON_SECRETS_DIR", str(tmp_path / of_replicas))
    monkeypatch.setenv("CELADON_SERVICE_SECRETS_DIR", str(tmp_path / own))
    with pytest.raises(ValidationError, match="name a directory apart from"):
        NotificationSettings()


PRINTS = f"""
import base64, json, os, sys
key = os.environ["KEY"]
print(key, json.dumps(key), base64.b64encode(key.encode()).decode())
print("Authorization: Bearer {TOKEN}", "https://ann:{TOKEN[3:]}@hub")
sys.exit("cannot log in with " + key + " or {TOKEN}")
"""


async def _all_that_is_stored(table: Table) -> str:
    async with table.transaction() as tx:
        routes = [(one.last_error, one.output) for one in await tx.scalars(select(Route))]
        sets = [one.last_error for one in await tx.scalars(select(RouteSet))]
        events = [(one.reason, one.evidence) for one in await tx.scalars(select(RolloutEvent))]
    return repr((routes, sets, events))


async def test_what_a_replica_prints_of_secrets_and_tokens_is_stored_nowhere(
    run_keeper: AbstractAsyncContextManager[Running],
    chat: Deploying,  # noqa: F811
    table: Table,
    capfd: pytest.CaptureFixture[str],
) -> None:
    await chat.open(uses("hub", script(PRINTS)), max_replacements=0)
    async with run_keeper:
        [ended] = await chat.ended(1)
    stored = await _all_that_is_stored(table) + "".join(capfd.readouterr())
    assert "cannot log in with [secret hub] or [token]" in ended.output
    assert SECRET not in stored
    assert TOKEN[3:] not in stored
    assert "dmVyeS1wcml2" not in stored, "the value in base64"


async def test_a_secret_that_was_changed_while_a_replica_had_it_is_stored_nowhere(
    run_keeper: AbstractAsyncContextManager[Running],
    chat: Deploying,  # noqa: F811
    table: Table,
    secrets_dir: Path,
    tmp_path: Path,
) -> None:
    gate = tmp_path / "gate"
    code = (
        "import os, sys, time\n"
        f"open({str(gate)!r}, 'w').close()\n"
        f"while os.path.exists({str(gate)!r}): time.sleep(0.02)\n"
        "sys.exit(os.environ['KEY'])"
    )
    await chat.open(uses("hub", script(code)), max_replacements=0)
    async with run_keeper:
        while not gate.exists():  # noqa: ASYNC110 - the test's own deadline ends it
            await asyncio.sleep(0.02)
        (secrets_dir / "hub").write_text("another-value")
        gate.unlink()
        [ended] = await chat.ended(1)
    assert ended.output == "[secret hub]"
    assert SECRET not in await _all_that_is_stored(table)


ANSWERS_WITH_ITS_KEY = """
import os, socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    client, _ = server.accept()
    client.recv(1000)
    client.sendall(b"HTTP/1.1 " + os.environ["KEY"].encode() + b"\\r\\n\\r\\n")
    client.close()
"""


async def test_what_a_replica_answers_to_a_probe_is_stored_without_secrets(
    run_keeper: AbstractAsyncContextManager[Running],
    chat: Deploying,  # noqa: F811
    table: Table,
) -> None:
    await chat.open(uses("hub", (*script(ANSWERS_WITH_ITS_KEY), "{port}")))
    async with run_keeper:

        async def told() -> str | None:
            routes = await chat.routes()
            return routes[0].last_error if routes and routes[0].last_error else None

        error = await until_found(told)
    assert error.startswith("GET /health: ")
    assert SECRET not in await _all_that_is_stored(table)


def test_a_replica_inherits_what_programs_need_and_nothing_that_lets_anybody_in() -> None:
    worker = {
        **dict.fromkeys(("PATH", "LANG", "LC_ALL", "CUDA_VISIBLE_DEVICES", "HF_HOME", "LD_LIBRARY_PATH"), "kept"),
        **dict.fromkeys(("HTTPS_PROXY", "no_proxy"), "http://proxy:3128"),
        "http_proxy": "http://ann:password@proxy:3128",
        **dict.fromkeys(("DATABASE_URL", "PGPASSWORD", "TEMPORAL_API_KEY", "CELADON_PREVIEW_KEY"), "left"),
        **dict.fromkeys(("HF_TOKEN", "VLLM_API_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "SSH_AUTH_SOCK"), "left"),
        **dict.fromkeys(("OTEL_EXPORTER_OTLP_HEADERS", "KUBECONFIG", "INVOCATION_ID"), "left"),
    }
    inherited = inherited_environment(worker, ())
    assert set(inherited) == {name for name, value in worker.items() if value in {"kept", "http://proxy:3128"}}


def test_an_operator_adds_variables_but_none_of_celadons_own() -> None:
    worker = dict.fromkeys(("AWS_PROFILE", "AWS_REGION", "TEAM", "CELADON_PREVIEW_KEY", "DATABASE_URL"), "x")
    assert set(inherited_environment(worker, ("AWS_*", "TEAM"))) == {"AWS_PROFILE", "AWS_REGION", "TEAM"}
    assert set(inherited_environment(worker, ("*", "DATABASE_URL"))) == {"AWS_PROFILE", "AWS_REGION", "TEAM"}
