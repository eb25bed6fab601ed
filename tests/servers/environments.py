"""The files of the model servers, in a directory for each below ``models``, and the environment of each."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

import yaml

REPOSITORY: Final = Path(__file__).parents[2]
MODELS: Final = Path(__file__).parent / "models"
ENVIRONMENTS: Final = REPOSITORY / ".servers"
"""Where ``make test-servers`` installs the servers."""


class EnvironmentMissingError(Exception):
    """A server is not installed, or not as its requirements are now."""


def servers() -> list[str]:
    """Return the servers that are tested, by the names of their directories."""
    return sorted(file.parent.name for file in MODELS.glob("*/deployment.yaml"))


def deployment_name(working_dir: Path) -> str:
    """Return the name that a server's deployment file gives to its deployment."""
    return str(yaml.safe_load((working_dir / "deployment.yaml").read_text(encoding="utf-8"))["deployment"])


def environment_of(server: str, environments: Path = ENVIRONMENTS) -> Path:
    """Return the virtual environment in which a server is installed.

    Raises:
        EnvironmentMissingError: it is not installed, or older than its requirements.

    """
    installed = environments / server / ".installed"
    requirements = MODELS / server / "requirements.lock"
    if not installed.exists():
        fault = "is missing"
    elif installed.stat().st_mtime < requirements.stat().st_mtime:
        fault = f"is older than {requirements.relative_to(REPOSITORY)}"
    else:
        return installed.parent
    raise EnvironmentMissingError(
        f"the environment of {server} {fault}: run 'make test-servers', or 'make "
        f"{ENVIRONMENTS.name}/{server}/.installed' for this server alone"
    )


def working_directory(server: str, directory: Path) -> Path:
    """Return a directory with the files of a server, its model, and its environment as ``venv``.

    Raises:
        EnvironmentMissingError: see ``environment_of``.

    """
    environment = environment_of(server)
    made = directory / server
    shutil.copytree(MODELS / server, made)
    (made / "venv").symlink_to(environment)
    if (made / "make_model.py").exists():
        subprocess.run(["venv/bin/python", "make_model.py", "model.gguf"], cwd=made, check=True)  # noqa: S607 - its own
    return made
