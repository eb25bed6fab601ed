"""Envoy's bootstrap in deploy/ is what the generator writes today, and Envoy takes it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from celadon.stack.programs import envoy_program
from tests.deploy.files import DEPLOY

FILE = DEPLOY / "envoy.json"


def test_it_is_what_the_command_beside_it_writes() -> None:
    """The command stands in the compose file: run it again when this fails."""
    found = re.search(r"# Made by: celadon (.+)", (DEPLOY / "compose.yaml").read_text())
    assert found
    command = [str(Path(sys.executable).parent / "celadon"), *found[1].split()]

    made = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env={"PATH": os.defpath})

    assert made.stdout == FILE.read_text()


def test_envoy_takes_it() -> None:
    command = [str(envoy_program()), "--mode", "validate", "-c", str(FILE)]

    answer = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)

    assert answer.returncode == 0, answer.stderr
