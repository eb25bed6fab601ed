"""``init`` and ``schema``: files to begin with, and what editors need to check them."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from celadon.cli.options import DeploymentArgument
from celadon.cli.running import faults_told
from celadon.domain.language.file_schemas import FileKind


class StarterProvisioner(StrEnum):
    """Who starts the replicas of a new deployment."""

    LOCAL = "local"
    STATIC = "static"


def init(
    deployment: DeploymentArgument,
    *,
    provisioner: Annotated[
        StarterProvisioner,
        typer.Option(help="local: Celadon starts the replicas on this machine; static: they run already."),
    ] = StarterProvisioner.LOCAL,
    directory: Annotated[
        Path, typer.Option("--directory", "-C", metavar="DIR", help="Where to write the files.")
    ] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
) -> None:
    """Write a commented deployment file and a commented policy file to begin with.

    Every key stands in them with what it means and its default. With the schemas beside them, an editor that knows
    YAML schemas completes and checks the files while you write.

    Examples:
    ```console
    celadon init chat
    celadon init chat --provisioner static -C deployments
    celadon deploy -f chat.yaml --policy chat.policy.yaml
    ```
    """
    from celadon.cli.starter_files import write_starter_files
    from celadon.domain.language.revision import Provisioner

    with faults_told():
        write_starter_files(deployment, Provisioner(provisioner.value), directory, overwrite=force)


def schema(
    kind: Annotated[FileKind, typer.Argument(help="The kind of file.", metavar="KIND")],
) -> None:
    """Print the JSON Schema of a kind of file: deployment or policy.

    Examples:
    ```console
    celadon schema deployment > deployment.schema.json
    celadon schema policy
    ```
    """
    from celadon.cli.output import print_document
    from celadon.domain.language.file_schemas import file_schema

    print_document(file_schema(kind))
