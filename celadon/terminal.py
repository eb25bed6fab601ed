"""What a terminal shows: text, tables and trees in which the words of people and programs are text and nothing else.

Nothing else of Celadon makes Rich's own text, tables, trees or consoles: those read words in brackets as markup, and
write escape sequences as they come.
"""

from collections.abc import Callable, Iterable
from typing import IO, Any, Self, TypeAlias

from rich import console as rich_console
from rich import table as rich_table
from rich import text as rich_text
from rich import tree as rich_tree
from rich.live import Live
from rich.style import StyleType

from celadon.domain.language.shown_text import one_line


class Text(rich_text.Text):
    """A styled line: whatever words it is made of neither break it nor are obeyed."""

    def __init__(self, text: str = "", style: StyleType = "", *, end: str = "\n", **layout: Any) -> None:  # noqa: ANN401 - as Rich's
        """Begin with some words."""
        super().__init__(one_line(text), style, end=end, **layout)

    def append(self, text: rich_text.Text | str, style: StyleType | None = None) -> Self:
        """Add words, with a style of their own."""
        if isinstance(text, str):
            super().append(one_line(text), style)
        else:
            super().append(_checked(text))
        return self

    def append_text(self, text: rich_text.Text) -> Self:
        """Add a text with its styles."""
        super().append_text(_checked(text))
        return self

    def append_tokens(self, tokens: Iterable[tuple[str, StyleType | None]]) -> Self:
        """Add words with their styles."""
        for words, style in tokens:
            self.append(words, style)
        return self

    def begin_line(self, text: str, style: StyleType | None = None) -> Self:
        """Begin another line with some words."""
        super().append("\n")
        return self.append(text, style)


class Table(rich_table.Table):
    """A table whose cells show what they are given."""

    @classmethod
    def of_pairs(cls) -> Self:
        """Return a table of names and values, without headings."""
        return cls(box=None, show_header=False, show_edge=False, pad_edge=False, collapse_padding=True, padding=(0, 2))

    def add_column(self, header: object = "", *further: Any, **layout: Any) -> None:  # noqa: ANN401 - as Rich's
        """Add a column under a heading."""
        super().add_column(_words(header), *further, **layout)

    def add_row(self, *cells: object, **layout: Any) -> None:  # noqa: ANN401 - as Rich's
        """Add a row."""
        super().add_row(*(_words(cell) for cell in cells), **layout)


class Tree(rich_tree.Tree):
    """A tree whose labels show what they are given."""

    def __init__(self, label: object, **layout: Any) -> None:  # noqa: ANN401 - as Rich's
        """Begin with the label of the root."""
        super().__init__(_words(label), **layout)

    def add(self, label: object, **layout: Any) -> "Tree":  # noqa: ANN401 - as Rich's
        """Add a branch, with the style of this tree; return it."""
        branch = Tree(label, **({"style": self.style, "guide_style": self.guide_style} | layout))
        self.children.append(branch)
        return branch


Shown: TypeAlias = str | Text | Table | Tree
"""What can be shown."""


class TerminalConsole(rich_console.Console):
    """Where text is shown; nothing in it is read as markup."""

    def __init__(self, file: IO[str] | None = None, *, width: int | None = None, stderr: bool = False) -> None:
        """Show on ``file``, by default standard output, or standard error."""
        super().__init__(file=file, width=width, stderr=stderr, highlight=False, markup=False, emoji=False)

    def print(self, *shown: Any, **layout: Any) -> None:  # noqa: ANN401 - as Rich's
        """Show things as Rich does, but words as text."""
        super().print(*(Text(one) if isinstance(one, str) else one for one in shown), **layout)

    def on_broken_pipe(self) -> None:
        """Let whoever prints know that the reader has gone; Rich's own way would end the process."""
        raise  # noqa: PLE0704 - Rich calls this while it handles the error

    def show(self, shown: Shown) -> None:
        """Show one thing; a line that is too long is left to the terminal, so that it can be copied."""
        words = _words(shown)
        self.print(words, soft_wrap=isinstance(words, Text))


def console_of(*, width_of_files: int) -> TerminalConsole:
    """Return standard output; where it is no terminal, lines are as long as they need to be."""
    console = TerminalConsole()
    return console if console.is_terminal else TerminalConsole(width=width_of_files)


def live_picture(draw: Callable[[], Shown], *, redraws_a_second: float) -> Live:
    """Return a picture on standard output that is drawn anew, cut where the terminal ends."""
    return Live(
        console=TerminalConsole(),
        get_renderable=lambda: _words(draw()),
        refresh_per_second=redraws_a_second,
        vertical_overflow="crop",
    )


def fits_on(console: rich_console.Console, shown: Shown) -> bool:
    """Whether a picture has room on a terminal, with a line for the cursor."""
    return len(console.render_lines(_words(shown), pad=False)) < console.height


def _words(value: object) -> Text | Table | Tree:
    match value:
        case str():
            return Text(value)
        case Text() | Table() | Tree():
            return value
        case _:
            raise TypeError(f"{type(value).__name__} is not shown: give it as Text, Table or Tree of celadon.terminal")


def _checked(text: rich_text.Text) -> Text:
    """Return a text that was made here, which is therefore safe."""
    if not isinstance(text, Text):
        raise TypeError("a text that Rich has made is not shown: give it as Text of celadon.terminal")
    return text
