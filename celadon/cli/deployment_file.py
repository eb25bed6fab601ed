"""Reading deployment and policy files: YAML or JSON of a rollout's request, or of its policy alone."""

import json
import sys
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import yaml

from celadon.cli.faults import CommandError
from celadon.domain.decisions.new_revision import check_new_revision
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.payload import InvalidPayloadError, parse_payload
from celadon.service.file_places import Content, Keys, located

STANDARD_INPUT: Final = Path("-")


def read_deployment_file(file: Path) -> Content:
    """Return a file's content; ``-`` is standard input.

    Raises:
        CommandError: it cannot be read, or is neither YAML nor JSON of one object.

    """
    return _as_object(
        _read(file, "deployment"),
        "a deployment file begins with 'deployment: NAME' and has a 'revision' (see 'celadon deploy --help')",
    )


def read_policy_file(file: Path) -> Content:
    """Return the keys that a policy file gives; none when all of them are commented out. Errors as for a deployment."""
    read = _read(file, "policy")
    content = read if read.parsed is not None else replace(read, parsed={})
    return _as_object(content, "a policy file has keys such as 'bake: 5m'")


def with_policy(content: Content, weaker: Content) -> Content:
    """Return ``content`` with the keys of a policy file that its own policy does not give."""
    own = content.get("policy", {})
    if not isinstance(own, dict):
        return content
    places = {("policy", *keys): place for keys, place in weaker.places.items() if keys}
    return Content({**content, "policy": {**weaker, **own}}, {**places, **content.places})


def request_of_content(content: Content) -> RolloutRequest:
    """Return the request that a file and the command line give.

    Raises:
        RefusedError: it is none; the message names file, line and key.

    """
    try:
        request = parse_payload(RolloutRequest, content)
    except InvalidPayloadError as error:
        raise located(error, content, "see 'celadon schema deployment' for what each key takes") from None
    try:
        check_new_revision(request.revision)
    except InvalidPayloadError as error:
        raise located(error, content, error.refusal.next_step) from None
    return request


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What was read from a file."""

    name: str
    parsed: object
    lines: Mapping[Keys, int]
    """The line of each key, where it is known."""
    first_line: int | None
    """Where its content begins; ``None`` when it has none."""


def _read(file: Path, kind: str) -> _Read:
    name = "standard input" if file == STANDARD_INPUT else str(file)
    try:
        text = sys.stdin.read() if file == STANDARD_INPUT else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CommandError(f"the {kind} file {name} cannot be read: {reason}") from error
    parsed = _parse(text, name)
    root = _root_of(text)
    return _Read(
        name=name,
        parsed=parsed,
        lines=dict(_lines_below(root, (), frozenset())),
        first_line=None if root is None else root.start_mark.line + 1,
    )


def _as_object(read: _Read, example: str) -> Content:
    if not isinstance(read.parsed, dict):
        line = f":{read.first_line}" if read.first_line is not None else ""
        raise CommandError(f"{read.name}{line}: {_held(read.parsed)}, not an object; {example}")
    places = {keys: f"{read.name}:{line}" for keys, line in read.lines.items()}
    return Content({str(key): value for key, value in read.parsed.items()}, {(): read.name, **places})


def _held(parsed: object) -> str:
    """Return what a file holds instead of an object, in words."""
    match parsed:
        case None:
            return "this is empty"
        case list():
            return "this is a list"
        case str():
            return "this is text"
        case bool():
            return "this is true or false"
        case int() | float():
            return "this is a number"
        case _:
            return "this is another value"


def _root_of(text: str) -> yaml.Node | None:
    """Return what YAML reads, with the place of each part; ``None`` for JSON that is not YAML too."""
    try:
        root: yaml.Node | None = yaml.compose(text, _StrictLoader)
    except yaml.YAMLError:
        return None
    return root


def _lines_below(node: yaml.Node | None, above: Keys, outer: frozenset[int]) -> Iterator[tuple[Keys, int]]:
    """Yield the lines of the keys in a node, counted from 1; an alias of a node around it leads nowhere."""
    if node is None or id(node) in outer:
        return
    inside: list[tuple[str | int, yaml.Node, yaml.Node]]
    if isinstance(node, yaml.MappingNode):
        inside = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        inside = [(number, value, value) for number, value in enumerate(node.value)]
    else:
        return
    for name, beginning, value in inside:
        yield (*above, name), beginning.start_mark.line + 1
        yield from _lines_below(value, (*above, name), outer | {id(node)})


def with_settings(content: Content, settings: Sequence[str], *, of_policy: bool = False) -> Content:
    """Return ``content`` with ``KEY=VALUE`` written into it; a dot in KEY leads into an object, VALUE is YAML.

    Args:
        content: what a file holds.
        settings: what was typed; as the option ``--set``, whose values may be secrets and are not shown again.
        of_policy: whether ``content`` is a policy, and the settings were typed as they are.

    Raises:
        ValueError: a setting is none, or leads into something that is no object.

    """
    result: dict[str, object] = dict(content)
    places = dict(content.places)
    for setting in settings:
        path, separator, text = setting.partition("=")
        keys = path.split(".")
        if not separator or not all(keys):
            example = "bake=30s" if of_policy else "policy.bake=30s"
            raise ValueError(f"{setting!r} is no setting: write KEY=VALUE, for example {example}")
        try:
            value: object = yaml.load(text, _StrictLoader)  # noqa: S506 - the loader is a safe one
        except yaml.YAMLError as error:
            raise ValueError(f"the value of {path} cannot be read: {_one_line(error)}") from error
        _put(result, keys, value)
        places[tuple(keys)] = setting if of_policy else f"--set {path}"
    return Content(result, places)


def _put(target: dict[str, object], keys: Sequence[str], value: object) -> None:
    first, *rest = keys
    if not rest:
        target[first] = value
        return
    inner = target.get(first)
    if inner is not None and not isinstance(inner, dict):
        raise ValueError(f"{first} is {inner!r}, not an object: {'.'.join(rest)} cannot be set in it")
    copied: dict[str, object] = dict(inner or {})
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
        line = _line_of(error)
        raise CommandError(f"{name}{line}: {_problem_of(error)}") from error
    return read


class _KeyTwiceError(yaml.constructor.ConstructorError):
    """An object names a key twice."""


class _StrictLoader(yaml.SafeLoader):
    """Refuses an object that names a key twice, of which YAML would silently take the last.

    Moments and times of day stay the text that they are, as in JSON: each key's own type reads them.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:  # noqa: FBT001, FBT002 - the base's signature
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key: Hashable = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise _KeyTwiceError(None, None, f"{key!r} is given twice", key_node.start_mark)
            if isinstance(key, Hashable):
                seen.add(key)
        mapping: dict[Hashable, object] = super().construct_mapping(node, deep)
        return mapping


_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _number_or_time(loader: _StrictLoader, node: yaml.ScalarNode) -> object:
    """Read a number; YAML also takes 17:00 for one, of minutes."""
    return loader.construct_scalar(node) if ":" in node.value else loader.construct_yaml_int(node)


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _number_or_time)


def _object_without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content: dict[str, object] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"{key!r} is given twice")
        content[key] = value
    return content


def _line_of(error: yaml.YAMLError) -> str:
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    return "" if mark is None else f":{mark.line + 1}"


def _problem_of(error: yaml.YAMLError) -> str:
    if isinstance(error, _KeyTwiceError):
        return str(error.problem)
    problem = error.problem if isinstance(error, yaml.MarkedYAMLError) else " ".join(str(error).split())
    return f"neither YAML nor JSON: {problem}"


def _one_line(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{error.problem} in line {mark.line + 1}, column {mark.column + 1}"
    return " ".join(str(error).split())
