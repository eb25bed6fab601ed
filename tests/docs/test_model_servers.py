"""The page about model servers shows the files that ``make test-servers`` deploys."""

import re
from pathlib import Path

import pytest
import yaml

from celadon.cli.deployment_file import read_deployment_file, request_of_content
from tests.docs.marked_blocks import filled
from tests.docs.model_servers_page import BLOCKS, PAGE, servers
from tests.servers.environments import MODELS


def test_blocks_say_what_is_tested() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert page == filled(page, BLOCKS), "docs/model-servers.md is stale: write it anew with 'python -m tests.docs'"


@pytest.mark.parametrize("server", servers())
def test_a_deployment_file_of_the_page_is_accepted_as_it_stands(server: str, tmp_path: Path) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    written = yaml.safe_load((MODELS / server / "deployment.yaml").read_text(encoding="utf-8"))
    [block] = [block for block in blocks if yaml.safe_load(block) == written]
    file = tmp_path / "deployment.yaml"
    file.write_text(block, encoding="utf-8")

    assert request_of_content(read_deployment_file(file)).deployment == written["deployment"]


@pytest.mark.parametrize("server", servers())
def test_every_package_of_a_server_is_pinned_with_hashes(server: str) -> None:
    lines = (MODELS / server / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", "")
    packages = [line for line in lines.splitlines() if line and not line.lstrip().startswith("#")]

    assert packages
    assert [line for line in packages if "==" not in line or "--hash=sha256:" not in line] == []
    assert "://" not in lines
