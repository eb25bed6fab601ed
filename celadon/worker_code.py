"""Where the worker's code lies, the command that starts a worker, and the process that this command becomes.

The packages ``worker``, ``activities`` and ``workflows`` stand beside ``celadon`` in a checkout. At the top of
site-packages their names would collide with packages of other projects, so a wheel carries them inside this package.
Only a worker's process has them on its import path, before everything else; the rest of Celadon never imports them.
"""

import runpy
import sys
from pathlib import Path
from typing import Final

PACKAGES: Final = ("activities", "worker", "workflows")

BUNDLE: Final = "_bundled"
"""The directory of this package in which a wheel has the three; ``pyproject.toml`` says so too."""

_HERE: Final = Path(__file__).parent
_MODULE: Final = "celadon.worker_code"


class WorkerCodeMissingError(Exception):
    """The packages of the worker are neither inside this package nor beside it."""

    def __init__(self, package: Path) -> None:
        """Say that they do not belong to ``package``, the directory of ``celadon``."""
        super().__init__(
            f"the worker's code is missing: {', '.join(PACKAGES)} are neither in {package / BUNDLE} nor in "
            f"{package.parent}; install Celadon again",
        )


def code_directory(package: Path = _HERE) -> Path:
    """Return the directory that holds the worker's packages: of the wheel, or the root of the checkout.

    Args:
        package: the directory of the package ``celadon``.

    Raises:
        WorkerCodeMissingError: there is no such directory.

    """
    for directory in (package / BUNDLE, package.parent):
        if all((directory / name / "__init__.py").is_file() for name in PACKAGES):
            return directory
    raise WorkerCodeMissingError(package)


def worker_command() -> tuple[str, ...]:
    """Return the command of a worker's process, which must be able to import this package.

    The working directory is not on its import path: a module of the operator's must not pass for one of Celadon's.
    """
    return (sys.executable, "-P", "-u", "-m", _MODULE)


def main() -> None:
    """Run the worker in this process.

    Raises:
        WorkerCodeMissingError: its code is not installed.

    """
    sys.path.insert(0, str(code_directory()))
    runpy.run_module("worker", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
