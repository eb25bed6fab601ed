"""Reading deployment and policy files: YAML or JSON of a rollout's request, or of its policy alone."""

import json
import sys
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Final

import yaml

from celadon.cli.faults import CommandError

STANDARD_INPUT: Final = Path("-")

Content = dict[str, object]


def read_deployment_file(file: Path) -> Content:
    """Return a file's content; ``-`` is standard input.

    Raises:
        CommandError: it cannot be read, or is neither YAML nor JSON of one object.

    """
    name, parsed = _read(file, "deployment")
    return _as_object(
        parsed,
        name,
        "a deployment file begins with 'deployment: NAME' and has a 'revision' (see 'celadon deploy --help')",
    )


def read_policy_file(file: Path) -> Content:
    """Return the keys that a policy file gives; none when all of them are commented out. Errors as for a deployment."""
    name, parsed = _read(file, "policy")
    return _as_object({} if parsed is None else parsed, name, "a policy file has keys such as 'bake: 5m'")


def with_policy(content: Content, weaker: Content) -> Content:
    """Return ``content`` with the keys of a policy file that its own policy does not give."""
    own = content.get("policy", {})
    return {**content, "policy": {**weaker, **own}} if isinstance(own, dict) else content


def _read(file: Path, kind: str) -> tuple[str, object]:
    name = "standard input" if file == STANDARD_INPUT else str(file)
    try:
        text = sys.stdin.read() if file == STANDARD_INPUT else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CommandError(f"the {kind} file {name} cannot be read: {reason}") from error
    return name, _parse(text, name)


def _as_object(parsed: object, name: str, example: str) -> Content:
    if not isinstance(parsed, dict):
        held = "nothing" if parsed is None else type(parsed).__name__
        raise CommandError(f"{name} holds {held}, not an object; {example}")
    return {str(key): value for key, value in parsed.items()}


def with_settings(content: Mapping[str, object], settings: Sequence[str]) -> Content:
    """Return ``content`` with ``KEY=VALUE`` written into it; a dot in KEY leads into an object, VALUE is YAML.

    Raises:
        ValueError: a setting is none, or leads into something that is no object.

    """
    result = dict(content)
    for setting in settings:
        path, separator, text = setting.partition("=")
        keys = path.split(".")
        if not separator or not all(keys):
            raise ValueError(f"{setting!r} is no setting: write KEY=VALUE, for example policy.bake=30s")
        try:
            value: object = yaml.load(text, _StrictLoader)  # noqa: S506 - the loader is a safe one
        except yaml.YAMLError as error:
            raise ValueError(f"the value of {path} cannot be read: {_one_line(error)}") from error
        _put(result, keys, value)
    return result


def _put(target: Content, keys: Sequence[str], value: object) -> None:
    first, *rest = keys
    if not rest:
        target[first] = value
        return
    inner = target.get(first)
    if inner is not None and not isinstance(inner, dict):
        raise ValueError(f"{first} is {inner!r}, not an object: {'.'.join(rest)} cannot be set in it")
    copied: Content = dict(inner or {})
    _put(copied, rest, value)
    target[first] = copied


def _parse(text: str, name: str) -> object:
    if text.lstrip().startswith("{"):
        try:
            parsed: object = json.loads(text, object_pairs_hook=_object_without_doubles)
        except json.JSONDecodeError:
            # YAML's own objects begin in the same way.
            pass
        except ValueError as error:
            raise CommandError(f"{name} is not valid: {error}") from error
        else:
            return parsed
    try:
        read: object = yaml.load(text, _StrictLoader)  # noqa: S506 - the loader is a safe one
    except yaml.YAMLError as error:
        raise CommandError(f"{name} is neither YAML nor JSON: {_one_line(error)}") from error
    return read


class _StrictLoader(yaml.SafeLoader):
    """Refuses an object that names a key twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:  # noqa: FBT001, FBT002 - the base's signature
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key: Hashable = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", key_node.start_mark)
            if isinstance(key, Hashable):
                seen.add(key)
        mapping: dict[Hashable, object] = super().construct_mapping(node, deep)
        return mapping


def _object_without_doubles(pairs: list[tuple[str, object]]) -> Content:
    content: Content = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"{key!r} is given twice")
        content[key] = value
    return content


def _one_line(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{error.problem} in line {mark.line + 1}, column {mark.column + 1}"
    return " ".join(str(error).split())
