"""Faults that can be foreseen are one sentence with the next step, never a traceback."""

import json

import pytest

from tests.cli.conftest import NOBODY, Command
from tests.table.rows import Rows

READING = (
    ("rollout", "list"),
    ("rollout", "status", "chat"),
    ("rollout", "watch", "chat"),
    ("rollout", "history", "chat"),
    ("db", "upgrade"),
)


@pytest.mark.parametrize("words", READING, ids=" ".join)
async def test_no_celadon_at_all(
    words: tuple[str, ...],
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))

    result = await command(*words)

    assert result.exit_code == 1
    assert "no Celadon found" in result.stderr
    assert "'celadon up'" in result.stderr


@pytest.mark.parametrize("words", READING, ids=" ".join)
async def test_no_postgres(words: tuple[str, ...], command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql+asyncpg://celadon:hidden@{NOBODY}/celadon")
    monkeypatch.setenv("TEMPORAL_ADDRESS", NOBODY)

    result = await command(*words)

    assert result.exit_code == 1
    assert f"Postgres does not answer at postgresql+asyncpg://celadon:***@{NOBODY}/celadon" in result.stderr
    assert "correct DATABASE_URL" in result.stderr
    assert "hidden" not in result.output


async def test_no_tables(command: Command, monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", postgres_url.replace("/celadon?", "/postgres?"))

    result = await command("rollout", "list")

    assert result.exit_code == 1
    assert "run 'celadon db upgrade'" in result.stderr


@pytest.mark.parametrize("words", [("promote", "chat"), ("abort", "chat"), ("rollback", "chat")], ids=" ".join)
async def test_no_temporal(words: tuple[str, ...], command: Command, rows: Rows) -> None:
    await rows.ready()

    result = await command(*words)

    assert result.exit_code == 1
    assert f"Temporal does not answer at {NOBODY}" in result.stderr


async def test_a_program_gets_the_error_as_an_object_too(command: Command, rows: Rows) -> None:
    await rows.live()

    result = await command("rollout", "status", "talk", "-o", "json")

    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "error": {
            "code": "NO_SUCH_DEPLOYMENT",
            "message": "there is no deployment talk",
            "next_step": "there are: chat",
        },
    }


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DATABASE_URL", None, "DATABASE_URL is not set"),
        ("CELADON_ROUTER_ADDRESS", "8000", "CELADON_ROUTER_ADDRESS ('8000'): '8000' is no address"),
        ("CELADON_PREVIEW_KEY", "short", "CELADON_PREVIEW_KEY: "),
    ],
)
async def test_the_gateway_names_the_setting_that_is_wrong(
    name: str,
    value: str | None,
    told: str,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if value is not None:
        monkeypatch.setenv("DATABASE_URL", f"postgresql+asyncpg://celadon@{NOBODY}/celadon")
        monkeypatch.setenv(name, value)

    result = await command("gateway")

    assert result.exit_code == 1
    assert told in result.stderr
    assert "short" not in result.stderr
