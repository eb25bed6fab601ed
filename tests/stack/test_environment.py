"""What children inherit."""

from pathlib import Path

import pytest
from temporalio.envconfig import ClientConfig

from celadon.stack.environment import inherited_environment, python_environment


@pytest.mark.parametrize("name", ["TEMPORAL_API_KEY", "TEMPORAL_TLS", "TEMPORAL_PROFILE", "PGHOST", "DATABASE_URL"])
def test_the_way_to_another_server_is_not_inherited(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "elsewhere")
    assert name not in inherited_environment()


def test_other_variables_are_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", "/models")
    assert inherited_environment()["HF_HOME"] == "/models"


def test_the_temporal_profile_in_the_home_directory_is_not_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder in (".config", "Library/Application Support"):
        profiles = tmp_path / folder / "temporalio" / "temporal.toml"
        profiles.parent.mkdir(parents=True)
        profiles.write_text('[profile.default]\naddress = "elsewhere:7233"\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert ClientConfig.load_client_connect_config() != {}
    environment = inherited_environment()
    assert ClientConfig.load_client_connect_config(override_env_vars=environment) == {}


def test_a_python_child_imports_the_same_celadon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/models/lib")
    source, *others = python_environment({})["PYTHONPATH"].split(":")
    assert (Path(source) / "celadon" / "stack").is_dir()
    assert others == ["/models/lib"]
