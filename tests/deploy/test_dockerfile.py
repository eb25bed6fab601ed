"""The Dockerfile: what it takes in, what it leaves out, and as whom it runs."""

import re
import tomllib

from tests.deploy.files import DEPLOY, ROOT, read_image

IMAGE = read_image()


def _copied_from_here() -> set[str]:
    """Return what is copied out of the repository."""
    copies = [one.value.split() for stage in IMAGE.stages for one in stage if one.name == "COPY"]
    return {source for copy in copies if not copy[0].startswith("--from") for source in copy[:-1]}


def test_images_are_named_plainly() -> None:
    bases = [one.value.split()[0] for stage in IMAGE.stages for one in stage if one.name == "FROM"]

    assert bases
    assert all(re.fullmatch(r"[a-z]+:[a-z0-9.-]+", base) for base in bases), "no registry's name, and a version"


def test_python_is_the_one_that_celadon_is_tested_with() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lowest = project["project"]["requires-python"].removeprefix(">=")

    assert {stage[0].value.split()[0] for stage in IMAGE.stages} == {f"python:{lowest}-slim"}


def test_packages_are_those_of_the_lock_and_checked_against_its_hashes() -> None:
    commands = [one.value for one in IMAGE.stages[0] if one.name == "RUN" and " pip " in one.value]
    download, build, install = commands

    assert "--require-hashes" in download
    assert "--requirement requirements.lock" in download
    assert "--no-deps" in build
    assert "--no-index --find-links /wheels" in install


def test_what_only_the_build_needs_stays_out() -> None:
    copies = [one.value for one in IMAGE.last if one.name == "COPY"]

    assert copies == ["--from=build /opt/celadon /opt/celadon"]
    assert not [one for one in IMAGE.last if one.name == "ADD"]
    assert not [one for one in IMAGE.last if one.name == "RUN" and "pip" in one.value]


def test_all_that_the_wheel_is_built_from_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {
        *project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"],
        *project["project"]["license-files"],
        project["project"]["readme"],
        "pyproject.toml",
        "requirements.lock",
    }

    assert _copied_from_here() == needed
    assert all((ROOT / source).exists() for source in needed)


def test_nothing_else_is_sent_to_the_builder() -> None:
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]

    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == _copied_from_here()


def test_it_runs_as_a_user_who_is_not_root_and_owns_the_state_directory() -> None:
    state = IMAGE.environment["CELADON_STATE_DIR"]
    made = [one.value for one in IMAGE.last if one.name == "RUN"]
    user, group = IMAGE.value("USER").split(":")

    assert int(user) > 0
    assert int(group) > 0
    assert any(f"useradd --system --user-group --uid {user} " in command for command in made)
    assert any("install --directory --owner=celadon" in command and command.endswith(state) for command in made)
    assert IMAGE.value("VOLUME") == f'["{state}"]'
    assert IMAGE.value("WORKDIR") == state


def test_the_health_check_asks_where_worker_and_gateway_have_their_metrics() -> None:
    port = IMAGE.environment["CELADON_METRICS_ADDRESS"].rpartition(":")[2]

    assert IMAGE.environment["CELADON_GATEWAY_METRICS_ADDRESS"].endswith(f":{port}")
    assert f"http://127.0.0.1:{port}/metrics" in IMAGE.health_check[-1]
    assert port in IMAGE.value("EXPOSE").split()
    assert IMAGE.value("STOPSIGNAL") == "SIGTERM"
