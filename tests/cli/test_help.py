"""Help teaches, and answers at once."""

import subprocess
import sys

import pytest
from typer.main import get_command

from celadon.cli.main import app
from tests.cli.conftest import Command


def _commands(group: object, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the words of every command below a group; some groups are commands themselves."""
    found = [words] if words and getattr(group, "invoke_without_command", True) else []
    for name, command in getattr(group, "commands", {}).items():
        found += _commands(command, (*words, name))
    return found


COMMANDS = _commands(get_command(app))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
async def test_every_command_shows_examples_of_itself(words: tuple[str, ...], command: Command) -> None:
    result = await command(*words, "--help")

    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert f"celadon {' '.join(words)}" in result.stdout


async def test_the_program_lists_its_commands_when_nothing_is_asked(command: Command) -> None:
    result = await command()

    assert result.exit_code == 2
    for words in COMMANDS:
        assert words[0] in result.output


async def test_the_program_says_its_version(command: Command) -> None:
    result = await command("--version")

    assert result.exit_code == 0
    assert result.stdout.strip() == "0.1.0"


def test_completion_through_an_api_loads_neither_database_nor_temporal() -> None:
    program = (
        "import sys, celadon.cli.main, celadon.cli.target, celadon.cli.access.calls\n"
        "print([name for name in ('sqlalchemy', 'temporalio', 'grpc', 'fastapi') if name in sys.modules])"
    )

    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert loaded.stdout.strip() == "[]"


def test_help_loads_neither_database_nor_temporal() -> None:
    program = (
        "import sys, celadon.cli.main as m\n"
        "heavy = ('sqlalchemy', 'temporalio', 'grpc', 'aiohttp', 'pydantic_settings')\n"
        "print([name for name in heavy if name in sys.modules])"
    )

    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert loaded.stdout.strip() == "[]"
