"""What the page about model servers has from ``tests/servers``: versions, and the files that its tests deploy."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import yaml

from tests.docs.tables import REPOSITORY, code, table
from tests.servers import environments
from tests.servers.environments import MODELS

PAGE: Final = REPOSITORY / "docs" / "model-servers.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    """What is said of a server in words."""

    package: str
    asked: str
    note: str


_SERVERS: Final[Mapping[str, _Server]] = MappingProxyType(
    {
        "litserve": _Server(
            package="litserve",
            asked="REST",
            note="refuses connections until its workers are set up",
        ),
        "mlserver": _Server(
            package="mlserver",
            asked="V2 REST and V2 gRPC at once",
            note="needs `uvloop<0.22`; listens before its models are loaded, and answers 400 to the probe until then",
        ),
        "bentoml": _Server(
            package="bentoml",
            asked="REST",
            note="listens well before its workers can answer, so `tcp: true` would put it live too early",
        ),
        "llama.cpp": _Server(
            package="xllamacpp",
            asked="streamed completions with OpenAI's client",
            note="a GGUF file of random weights; answers 503 while it loads a model",
        ),
        "kserve": _Server(
            package="kserve",
            asked="V1 REST, V2 REST and V2 gRPC at once",
            note="refuses connections until its models are loaded",
        ),
        "ray-serve": _Server(
            package="ray",
            asked="REST",
            note="its health path answers before its application does, so `first` is a real request; each replica is "
            "a cluster of its own",
        ),
    }
)
"""The servers in the order of the page; one without words fails here."""


def servers() -> list[str]:
    """Return the servers that are tested, by their directories, in the order of the page."""
    return sorted(environments.servers(), key=list(_SERVERS).index)


def servers_block() -> str:
    """Return the table of the servers."""
    rows = [
        (
            f"[{server}](#{re.sub(r'[^a-z-]', '', server)})",
            f"{code(_SERVERS[server].package)} {_version(server)}",
            _health_check(server),
            _SERVERS[server].asked,
            _SERVERS[server].note,
        )
        for server in servers()
    ]
    return table(("server", "package", "health check", "asked by", "note"), rows)


def file_block(file: Path) -> str:
    """Return a file as a block of code."""
    kind = {".yaml": "yaml", ".py": "python", ".json": "json"}[file.suffix]
    return f"```{kind}\n{file.read_text(encoding='utf-8')}```\n"


def _version(server: str) -> str:
    package = _SERVERS[server].package
    lines = (MODELS / server / "requirements.lock").read_text(encoding="utf-8")
    found = re.search(rf"^{re.escape(package)}(?:\[\w+\])?==(\S+)", lines, re.MULTILINE)
    if found is None:
        raise ValueError(f"tests/servers/models/{server}/requirements.lock has no {package}")
    return found[1]


def _health_check(server: str) -> str:
    written: Any = yaml.safe_load((MODELS / server / "deployment.yaml").read_text(encoding="utf-8"))
    check = written["revision"]["health_check"]
    return code(f"preset: {check['preset']}") + (" and `first`" if "first" in check else "")


BLOCKS: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "servers": servers_block,
        **{server: partial(file_block, MODELS / server / "deployment.yaml") for server in servers()},
    }
)
