"""Command lines of ``celadon`` that texts and pages name, held against the commands that there are."""

import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from typer.main import get_command

from celadon.cli.main import app
from tests.docs.tables import REPOSITORY
from tests.docs.texts_of_code import HOLE, texts_of_code

_NAMED: Final = re.compile(r"""(?<![\w./\[:-])celadon ((?:"[^"]*"|[^'`·;,\n()"])+)""")
"""In a sentence: up to what ends a command line there, such as a quotation mark or a semicolon."""
_IN_CODE: Final = re.compile(
    r"""(?:^|[\s(&|])(?<!--task-queue )celadon (?=[\w…\[-])((?:"[^"]*"|'[^']*'|[^'`·;\n()"])+)""", re.MULTILINE
)
"""In code of a page, but not as the name of the task queue."""
_BLOCK: Final = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SPAN: Final = re.compile(r"`([^`]+)`")
_ALTERNATIVES: Final = re.compile(r"^[\w-]+(\|[\w-]+)+$")
_NOT_COMMANDS: Final = frozenset({"holds no migrations", "demo made this directory", "COMMAND --help"})
_FORMER: Final = frozenset({"gateway bootstrap"})
"""What the changelog names because it is gone."""
_MORE: Final = 1000


def lines_of_texts() -> Iterator[str]:
    """Yield the command lines in every text of the product: sentences, next steps, refusals, notifications."""
    for text in texts_of_code():
        yield from lines_of_text(text)


def lines_of_text(text: str) -> Iterator[str]:
    """Yield the command lines in one text."""
    for found in _NAMED.findall(text):
        yield from _variants(found)


def lines_of_pages() -> Iterator[tuple[str, str]]:
    """Yield the command lines in the code of every page, with the page's name."""
    for page in sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]):
        text = page.read_text(encoding="utf-8")
        code = [*_BLOCK.findall(text), *(span.replace("\n", " ") for span in _SPAN.findall(_BLOCK.sub("", text)))]
        for piece in code:
            plain = piece.replace("\\\n", " ").replace("\\|", "|")
            # A sentence that the page quotes, or what somebody types.
            form = _NAMED if "'celadon" in plain or ": celadon" in plain else _IN_CODE
            for found in form.findall(plain):
                yield from ((str(page.relative_to(REPOSITORY)), line) for line in _variants(found))


def wrong_with(line: str) -> str:
    """Return why the command line takes no such words; empty when it does, or when it names a command alone."""
    words = _words(line)
    root = command = _root()
    path: list[str] = []
    while words and words[0] in _children(command):
        command = _children(command)[words[0]]
        path.append(words.pop(0))
    if not path:
        return "" if not words or all(word.startswith((HOLE, "-")) for word in words) else "no such command"
    if _children(command) and not getattr(command, "invoke_without_command", False):
        # Sentences speak of groups, too.
        return "" if not words else f"{' '.join(path)} has no such command"
    return _wrong_words(words, [*root.params, *command.params], command.params)


def _wrong_words(words: list[str], options: list[Any], params: list[Any]) -> str:
    named = {name: one for one in options for name in (*one.opts, *one.secondary_opts) if name.startswith("-")}
    places = sum(1 if one.nargs > 0 else _MORE for one in params if one.param_type_name == "argument")
    given = iter(words)
    for word in given:
        if not word.startswith("-") or word == "-":
            # What is filled in may be empty, or options.
            places -= word != HOLE
            if places < 0:
                return f"'{word}' is one word too many"
            continue
        name, _, value = word.partition("=")
        if name == "--help":
            continue
        if name not in named:
            return f"there is no option {name}"
        if not named[name].is_flag and not value and next(given, None) is None:
            return f"{name} takes a value"
    return ""


def _variants(found: str) -> Iterator[str]:
    """Yield each of ``list`` and ``show`` for ``list|show``; nothing for what is no command line."""
    line = found.strip().rstrip(".:")
    if line in _NOT_COMMANDS | _FORMER:
        return
    words = line.split(" ")
    at = next((place for place, word in enumerate(words) if _ALTERNATIVES.match(word)), None)
    if at is None:
        yield line
        return
    for one in words[at].split("|"):
        yield " ".join([*words[:at], one, *words[at + 1 :]])


def _words(line: str) -> list[str]:
    """Return the words up to what the shell takes for itself, without the brackets around what may be left out."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&<>;")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    for word in lexer:
        if word[0] in "|&<>;":
            break
        bare = word.strip("[]")
        # What is filled in without a space before it may be empty.
        words.append(bare if bare.startswith(HOLE) else bare.split(HOLE)[0])
    return words


@cache
def _root() -> Any:
    return get_command(app)


def _children(group: Any) -> Mapping[str, Any]:
    children: Mapping[str, Any] = getattr(group, "commands", {})
    return children
