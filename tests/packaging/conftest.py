"""Sdist and wheels, built once for all tests of this directory."""

import os
from pathlib import Path

import pytest

from tests.deploy.files import ROOT
from tests.packaging.builds import Builder, NoIndexError, copy_for_image, unpack


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Return what builds; without the build's tools the tests are skipped by name, or fail where CI is set."""
    try:
        return Builder.create(tmp_path_factory.mktemp("builder") / "environment")
    except NoIndexError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"the tools of the build cannot be installed: {error}")


@pytest.fixture(scope="session")
def sdist(builder: Builder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the sdist of the checkout."""
    return builder.build("sdist", ROOT, tmp_path_factory.mktemp("sdist") / "built")


@pytest.fixture(scope="session")
def wheel(builder: Builder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of what the image is built from."""
    directory = tmp_path_factory.mktemp("wheel")
    return builder.build("wheel", copy_for_image(directory / "source"), directory / "built")


@pytest.fixture(scope="session")
def wheel_of_sdist(builder: Builder, sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel that is built from the sdist."""
    directory = tmp_path_factory.mktemp("wheel-of-sdist")
    return builder.build("wheel", unpack(sdist, directory / "source"), directory / "built")
