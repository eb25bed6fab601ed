"""Reference pages of commands and permissions, made of the code: ``python -m celadon.service.reference DIR``."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from celadon.domain.language.base_models import field_texts
from celadon.domain.language.permissions import ALLOWED, Role, Verb
from celadon.domain.language.states import RolloutPhase
from celadon.service.command import AnyCommand, Scope, mutation_name, rest_path, words_of
from celadon.service.registry import commands

COMMANDS_PAGE: Final = "commands.md"
PERMISSIONS_PAGE: Final = "permissions.md"

_MADE: Final = "This page is made of the code: `python -m celadon.service.reference docs/reference`.\n"
_ABOUT: Final = {
    Scope.ROLLOUT: "the rollout of a deployment that is under way",
    Scope.DEPLOYMENT: "a deployment",
    Scope.FLEET: "a new deployment or rollout, or what all deployments share",
}


def reference_pages() -> dict[str, str]:
    """Return each page by the name of its file."""
    return {COMMANDS_PAGE: "\n".join(_commands()), PERMISSIONS_PAGE: "\n".join(_permissions())}


def _commands() -> Iterator[str]:
    yield "# Commands\n"
    yield "What can be changed, and how each door calls it. Each is carried out in the same way at every door.\n"
    yield _MADE
    for command in commands():
        yield from _command(command)


def _command(command: AnyCommand) -> Iterator[str]:
    yield f"## `{command.verb}`\n"
    yield f"{command.about}\n"
    yield "| | |"
    yield "|---|---|"
    yield f"| about | {_ABOUT[command.scope]} |"
    yield f"| right | {_words(command.right)} |"
    if command.scope is Scope.ROLLOUT:
        yield f"| phases | {', '.join(phase.value for phase in RolloutPhase if phase in command.phases)} |"
    yield f"| command line | `celadon {' '.join(words_of(command))}` |"
    yield f"| REST | `{command.rest.method} /v1{rest_path(command)}` |"
    yield f"| GraphQL | `{_camel(mutation_name(command))}` |"
    yield f"| console | {'a form on the page of the deployment' if command.form else 'no form'} |"
    yield ""
    texts = field_texts(command.request)
    yield "| field | needed | meaning |"
    yield "|---|---|---|"
    for name, field in command.request.model_fields.items():
        meaning = " ".join(texts[name].split())
        yield f"| `{name}` | {'yes' if field.is_required() else ''} | {meaning} |"
    yield ""


def _permissions() -> Iterator[str]:
    yield "# Permissions\n"
    yield "Which role may give which command. A caller may have several roles.\n"
    yield _MADE
    yield f"| command | right | {' | '.join(role.value for role in Role)} |"
    yield f"|---|---|{'---|' * len(Role)}"
    for command in commands():
        yield _row(f"`{command.verb}`", command.right)
    yield ""
    yield "Rights that belong to no command:\n"
    yield f"| right | {' | '.join(role.value for role in Role)} |"
    yield f"|---|{'---|' * len(Role)}"
    used = {command.right for command in commands()}
    for verb in Verb:
        if verb not in used:
            yield f"| {_words(verb)} | {_roles(verb)} |"
    yield ""


def _row(name: str, verb: Verb) -> str:
    return f"| {name} | {_words(verb)} | {_roles(verb)} |"


def _roles(verb: Verb) -> str:
    return " | ".join("yes" if verb in ALLOWED[role] else "" for role in Role)


def _words(verb: Verb) -> str:
    return verb.value.replace("_", " ")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def main(directory: Path) -> None:
    """Write every page into ``directory``.

    Raises:
        OSError: one cannot be written.

    """
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in reference_pages().items():
        (directory / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
