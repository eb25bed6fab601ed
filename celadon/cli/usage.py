"""The root of the command line, which tells what was typed wrong as text."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typer.core import TyperGroup

from celadon.domain.language.shown_text import one_line


class PlainUsageGroup(TyperGroup):
    """A group of commands whose errors quote what was typed without obeying it."""

    def make_context(self, *given: Any, **further: Any) -> Any:  # noqa: ANN401 - as Typer's
        """Read the options of the root."""
        with _told_as_text():
            return super().make_context(*given, **further)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - as Typer's
        """Read and run the command that was named."""
        with _told_as_text():
            return super().invoke(ctx)


@contextmanager
def _told_as_text() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Typer's errors of usage have no public base; each has its sentence here.
        message = getattr(error, "message", None)
        if isinstance(message, str):
            error.message = one_line(message)  # type: ignore[attr-defined]
        raise
