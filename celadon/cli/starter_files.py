"""``celadon init``: files to begin with, in which every key stands with what it means and its default.

They are written from the models themselves, so that a key that Celadon learns is in them.
"""

import os
import sys
import textwrap
from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Final

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from celadon.cli.faults import CommandError
from celadon.cli.output import print_text
from celadon.domain.language.base_models import field_texts
from celadon.domain.language.durations import format_duration
from celadon.domain.language.file_schemas import FileKind, file_schema
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.revision import Provisioner, Revision
from celadon.ending import ExitCode

SCHEMAS: Final = Path(".celadon-schemas")
"""Below the directory of the files; editors with a YAML language server read them from there."""

_WIDTH: Final = 100
_INDENT: Final = "  "
_OWN_FILE: Final = frozenset({"policy"})
"""Keys of a deployment file that are left to the policy's own file."""

STAND_IN: Final = "celadon.stack.demo.model_server"
"""What a new local deployment serves until a person puts another command there."""

Given = Mapping[str, object]

_REVISIONS: Final[Mapping[Provisioner, Given]] = {
    Provisioner.LOCAL: {
        "provisioner": "local",
        "command": [sys.executable, "-m", STAND_IN, "--port", "{port}", "--revision-label", "r1"],
        "health_check": {"path": "/health"},
    },
    Provisioner.STATIC: {
        "provisioner": "static",
        "endpoints": ["127.0.0.1:9001"],
        "health_check": {"path": "/health"},
    },
}
_ABOUT_REVISION: Final[Mapping[Provisioner, str]] = {
    Provisioner.LOCAL: ". The command starts a small server that comes with Celadon; put your own there.",
    Provisioner.STATIC: ". The endpoints must serve already; put your own there.",
}
_POLICY: Final[Given] = {"bake": "5m"}
"""It leaves ``auto_promote`` out: one that is given would let a first revision wait for its promotion as well."""


def write_starter_files(name: str, provisioner: Provisioner, directory: Path, *, overwrite: bool) -> ExitCode:
    """Write a deployment file, a policy file, and their schemas for editors.

    Raises:
        CommandError: a file is there already, or cannot be written.

    """
    deployment, policy = directory / f"{name}.yaml", directory / f"{name}.policy.yaml"
    texts = {
        deployment: deployment_file(name, provisioner),
        policy: policy_file(name),
        **{directory / SCHEMAS / f"{kind.value}.json": file_schema(kind) for kind in FileKind},
    }
    for file in (deployment, policy):
        if file.exists() and not overwrite:
            raise CommandError(f"{file} is there already and was left as it is; overwrite it with --force")
    try:
        for file, text in texts.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            _write(file, text)
    except OSError as error:
        raise CommandError(f"the files cannot be written: {error}") from error
    print_text(
        f"Wrote {deployment} (what to serve), {policy} (how it may go) and {directory / SCHEMAS} (for your editor).",
        f"Edit them, then: celadon deploy -f {deployment} --policy {policy}",
    )
    return ExitCode.DONE


def _write(file: Path, text: str) -> None:
    """Write a file that a person edits and shares, but not through a link: it may lead anywhere."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(file, flags, 0o666), "w", encoding="utf-8") as stream:
        stream.write(text)


def deployment_file(name: str, provisioner: Provisioner) -> str:
    """Return a deployment file with every key, those that have a default as comments."""
    head = _head(
        FileKind.DEPLOYMENT,
        f"What is served as '{name}'. Lines that begin with '#' and a key show its default. Roll it out with: "
        f"celadon deploy -f {name}.yaml --policy {name}.policy.yaml --wait{_ABOUT_REVISION[provisioner]}",
    )
    content: Given = {"deployment": name, "replicas": 1, "revision": _REVISIONS[provisioner]}
    return "\n".join([*head, *_keys(RolloutRequest, content, "", without=_OWN_FILE)]) + "\n"


def policy_file(name: str) -> str:
    """Return a policy file with every key, those that have a default as comments."""
    head = _head(
        FileKind.POLICY,
        f"How a rollout of '{name}' may go. A key that the deployment file's own 'policy' gives wins over this file.",
    )
    return "\n".join([*head, *_keys(BlueGreenPolicy, _POLICY, "")]) + "\n"


def _head(kind: FileKind, text: str) -> list[str]:
    return [f"# yaml-language-server: $schema={SCHEMAS}/{kind.value}.json", *_comment(text, "")]


def _keys(model: type[BaseModel], given: Given, indent: str, without: frozenset[str] = frozenset()) -> Iterator[str]:
    texts = field_texts(model)
    for key, field in model.model_fields.items():
        if key in without:
            continue
        yield ""
        yield from _comment(texts[key], indent)
        value = given.get(key)
        if isinstance(value, Mapping):
            yield f"{indent}{key}:"
            yield from _keys(_model_of(field), value, indent + _INDENT)
        elif key in given:
            yield f"{indent}{key}: {_flow(value)}"
        else:
            yield f"{indent}# {key}: {_flow(_plain(field.get_default(call_default_factory=True)))}"


def _model_of(field: FieldInfo) -> type[BaseModel]:
    """Return the model that an object under this field is read as."""
    default = field.default
    return type(default) if isinstance(default, BaseModel) else Revision


def _comment(text: str, indent: str) -> list[str]:
    width = _WIDTH - len(indent) - 2
    return [f"{indent}# {line}" for line in textwrap.wrap(text.replace("``", "'"), width)]


def _flow(value: object) -> str:
    """Return a value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _plain(value: object) -> object:
    """Return a default as a person would write it."""
    match value:
        case timedelta():
            return format_duration(value)
        case Enum():
            return value.value
        case BaseModel():
            return {key: _plain(getattr(value, key)) for key in type(value).model_fields}
        case tuple():
            return list(value)
        case dict():
            return {key: _plain(one) for key, one in value.items()}
        case _:
            return value
