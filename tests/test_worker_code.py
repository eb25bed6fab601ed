"""The worker's code is found in a wheel and in a checkout, and nothing passes for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from celadon.worker_code import BUNDLE, PACKAGES, WorkerCodeMissingError, code_directory, worker_command

ROOT = Path(__file__).parents[1]


def _write_packages(directory: Path, content: str = "") -> None:
    for name in PACKAGES:
        (directory / name).mkdir(parents=True)
        (directory / name / "__init__.py").write_text(content)


def test_a_checkout_has_it_beside_celadon() -> None:
    assert code_directory() == ROOT


def test_a_wheel_has_it_inside_celadon_whatever_lies_beside(tmp_path: Path) -> None:
    _write_packages(tmp_path / "celadon" / BUNDLE)
    _write_packages(tmp_path)

    assert code_directory(tmp_path / "celadon") == tmp_path / "celadon" / BUNDLE


@pytest.mark.parametrize("missing", PACKAGES)
def test_half_of_it_is_none(missing: str, tmp_path: Path) -> None:
    _write_packages(tmp_path)
    (tmp_path / missing / "__init__.py").unlink()

    with pytest.raises(WorkerCodeMissingError, match="install Celadon again"):
        code_directory(tmp_path / "celadon")


def test_python_can_start_it_from_the_root_of_a_checkout() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CELADON_", "DATABASE"))}

    ran = subprocess.run(
        [sys.executable, "-m", "worker"], cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )

    assert ran.returncode == 1
    assert "DATABASE_URL is not set" in ran.stderr


@pytest.mark.parametrize(
    "command",
    [worker_command(), (str(Path(sys.executable).parent / "celadon"), "worker")],
    ids=["process", "celadon worker"],
)
def test_packages_of_others_do_not_pass_for_it(command: tuple[str, ...], tmp_path: Path) -> None:
    """They lie in the working directory and on the import path; the worker gets as far as to its settings."""
    _write_packages(tmp_path, "raise RuntimeError('not of Celadon')\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CELADON_", "DATABASE"))}

    ran = subprocess.run(
        command,
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 1
    assert "DATABASE_URL is not set" in ran.stderr
    assert "Traceback" not in ran.stderr
