"""From a page to HTML: templates in which everything is escaped."""

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from celadon.domain.language.base_models import Record
from celadon.domain.language.moments import clock, utc
from celadon.domain.language.shown_text import all_lines
from celadon.service.door_words import Door, said_at

_HERE: Final = Path(__file__).parent
STATIC: Final = _HERE / "static"


class Person(Record):
    """Who looks at a page."""

    name: str
    roles: tuple[str, ...]
    csrf: str
    """Sent along with every form; a page of another site cannot know it."""


def _shown(value: object) -> object:
    """Return what a template shows of a value: words of people and programs, with no character that is obeyed."""
    return all_lines(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _said(text: str) -> str:
    """Return what Celadon says, with buttons and pages where command lines stand."""
    return said_at(Door.CONSOLE, text)


def _sentence(text: str) -> str:
    """Return words of a view as a sentence of their own."""
    text = _said(text)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


_environment = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_shown,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters["moment"] = utc
_environment.filters["clock"] = lambda value: f"{clock(value)} UTC"
_environment.filters["said"] = _said
_environment.filters["sentence"] = _sentence


def render(template: str, person: Person | None, stream: str | None = None, **values: object) -> str:
    """Return a page as HTML.

    Args:
        template: the page's name, such as ``list``.
        person: who looks; nobody on the page to log in.
        stream: the address of the events at which the page looks again; nothing for a page that does not change.
        values: what the template shows.

    """
    shown = {"person": person, "stream": stream, "notice": None, **values}
    return _environment.get_template(f"{template}.html").render(shown)
