"""Reading what stands in deploy/, as the programs read it that it is made for."""

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from dockerfile_parse import DockerfileParser

from celadon.domain.language.durations import parse_duration

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PASSWORD = "letters4and9digits"  # noqa: S105 - of no database

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+)(?::\?[^}]*)?\}")


def all_files() -> list[Path]:
    """Return every file in deploy/."""
    return sorted(path for path in DEPLOY.rglob("*") if path.is_file())


# The Dockerfile.


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile, with its comments and continued lines resolved."""

    name: str
    value: str


@dataclass(frozen=True)
class Image:
    """What the Dockerfile makes: its last stage, and the ones before it."""

    stages: tuple[tuple[Instruction, ...], ...]

    @property
    def last(self) -> tuple[Instruction, ...]:
        """The stage of which the image is made."""
        return self.stages[-1]

    def value(self, name: str) -> str:
        """Return the value of the one instruction of that name in the last stage."""
        [value] = [one.value for one in self.last if one.name == name]
        return value

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that the image sets."""
        pairs = [pair.partition("=") for pair in self.value("ENV").split()]
        return {name: value for name, _, value in pairs}

    @property
    def command(self) -> list[str]:
        """What runs when nothing else is asked for."""
        return _strings(json.loads(self.value("CMD")))

    @property
    def health_check(self) -> list[str]:
        """The command that tells whether a container is healthy."""
        return _strings(json.loads(self.value("HEALTHCHECK").partition("CMD ")[2]))


def read_image() -> Image:
    """Parse the Dockerfile."""
    parser = DockerfileParser(fileobj=io.BytesIO((DEPLOY / "Dockerfile").read_bytes()), env_replace=False)
    stages: list[list[Instruction]] = []
    for one in parser.structure:
        if one["instruction"] == "COMMENT":
            continue
        if one["instruction"] == "FROM":
            stages.append([])
        stages[-1].append(Instruction(one["instruction"], one["value"]))
    return Image(tuple(tuple(stage) for stage in stages))


# The compose file.


def compose_document() -> dict[str, Any]:
    """Return the compose file with its variables filled in."""
    text = (DEPLOY / "compose.yaml").read_text()
    values = {"POSTGRES_PASSWORD": PASSWORD}
    document: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(lambda found: values[found["name"]], text))
    return document


@dataclass(frozen=True)
class Service:
    """One service of the compose file."""

    name: str
    content: Mapping[str, Any]

    @property
    def is_ours(self) -> bool:
        """Whether it runs the image that the Dockerfile makes."""
        return "build" in self.content

    @property
    def replicas(self) -> int:
        """How many containers it has."""
        return int(self.content.get("deploy", {}).get("replicas", 1))

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that the file sets."""
        return {name: str(value) for name, value in self.content.get("environment", {}).items()}

    @property
    def conditions(self) -> Mapping[str, str]:
        """What it waits for: the condition of each other service."""
        return {name: one["condition"] for name, one in self.content.get("depends_on", {}).items()}

    @property
    def stop_time(self) -> timedelta:
        """How long it has to stop; Docker gives 10 s when nothing is said."""
        return parse_duration(str(self.content.get("stop_grace_period", "10s")))

    def command(self, image: Image) -> list[str]:
        """Return what it runs."""
        return _strings(self.content.get("command", image.command))

    def health_check(self, image: Image) -> list[str] | None:
        """Return what tells whether it is healthy; nothing when that is switched off."""
        own = self.content.get("healthcheck")
        if own is None:
            return image.health_check
        if own.get("disable"):
            return None
        kind, *command = _strings(own["test"])
        assert kind == "CMD"
        return command


def read_services() -> dict[str, Service]:
    """Return the services of the compose file."""
    return {name: Service(name, content) for name, content in compose_document()["services"].items()}


# Units.


@dataclass(frozen=True)
class Unit:
    """A unit of systemd: its settings in the order of the file; a key may come more than once."""

    name: str
    settings: tuple[tuple[str, str, str], ...]

    def values(self, section: str, key: str) -> list[str]:
        """Return all values of a key."""
        return [value for its_section, its_key, value in self.settings if (its_section, its_key) == (section, key)]

    def value(self, section: str, key: str) -> str:
        """Return the value of a key that is there once."""
        [value] = self.values(section, key)
        return value

    @property
    def command(self) -> list[str]:
        """What it runs."""
        return self.value("Service", "ExecStart").split()

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that the unit itself sets."""
        pairs = [pair.partition("=") for pair in self.values("Service", "Environment")]
        return {name: value for name, _, value in pairs}

    @property
    def stop_time(self) -> timedelta:
        """How long it has to stop."""
        return timedelta(seconds=int(self.value("Service", "TimeoutStopSec")))


def unit_files() -> list[Path]:
    """Return the units."""
    return sorted((DEPLOY / "systemd").glob("*.service"))


def read_unit(path: Path) -> Unit:
    """Parse a unit: sections, and lines of key and value without continuation."""
    section, settings = "", []
    for line in path.read_text().splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            section = found[1]
        elif line and not line.startswith("#"):
            key, equals, value = line.partition("=")
            assert equals, line
            assert not value.endswith("\\"), line
            settings.append((section, key, value))
    return Unit(path.name, tuple(settings))


def read_environment_file(*, with_commented: bool = False) -> dict[str, str]:
    """Return the example of the units' environment; with the variables that stand there commented out on demand."""
    found = {}
    for line in (DEPLOY / "systemd/celadon.env.example").read_text().splitlines():
        assignment = re.fullmatch(r"(?P<off>#?)(?P<name>[A-Z_]+)=(?P<value>.*)", line)
        if assignment and (with_commented or not assignment["off"]):
            found[assignment["name"]] = assignment["value"]
    return found


def _strings(values: Sequence[object]) -> list[str]:
    assert not isinstance(values, str), "a shell would stand between the signal and the process"
    return [str(value) for value in values]
