"""The compose file: well-formed, and of one mind with the image, the bootstrap and itself."""

import json
from importlib.resources import files

from jsonschema.validators import validator_for
from sqlalchemy import make_url

from celadon.gateway.open_files import MOST_DESCRIPTORS
from celadon.stack.temporal_server import CLOSED_DOORS, LIMITS
from tests.deploy.files import DEPLOY, PASSWORD, Service, compose_document, read_image, read_services
from worker.settings import WorkerSettings

IMAGE = read_image()
SERVICES = read_services()
OURS = {name: one for name, one in SERVICES.items() if one.is_ours}


def _published(service: Service) -> dict[int, str]:
    """Return the ports of a service that are published, with the address at which they are."""
    found = {}
    for published in service.content.get("ports", ()):
        host, here, inside = published.split(":")
        assert here == inside
        found[int(inside)] = host
    return found


def test_it_is_as_the_compose_specification_says() -> None:
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    validator = validator_for(schema)(schema)

    problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(compose_document())]
    broken = list(validator.iter_errors({"services": {"worker": {"comand": ["celadon"]}}}))

    assert problems == []
    assert broken, "the schema refuses what it does not know"


def test_it_has_all_parts() -> None:
    processes = {"postgres", "temporal", "worker", "gateway", "api", "router"}
    assert set(SERVICES) == processes | {"db-upgrade", "gateway-certificate", "router-enrolment", "signing-keys"}
    assert SERVICES["worker"].replicas == 2
    assert SERVICES["worker"].command(IMAGE) == IMAGE.command


def test_no_container_of_ours_can_become_more_than_it_is() -> None:
    for service in OURS.values():
        assert service.content["read_only"] is True
        assert service.content["cap_drop"] == ["ALL"]
        assert service.content["security_opt"] == ["no-new-privileges:true"]
        assert "user" not in service.content, "the image's own"


def test_a_router_has_the_descriptors_from_which_its_enrolment_derives_its_connections() -> None:
    figures = {"soft": MOST_DESCRIPTORS, "hard": MOST_DESCRIPTORS}
    assert SERVICES["router"].content["ulimits"] == {"nofile": figures}
    unit = (DEPLOY / "systemd" / "celadon-router.service").read_text()
    assert f"\nLimitNOFILE={MOST_DESCRIPTORS}\n" in unit


def test_nothing_is_published_beyond_this_machine() -> None:
    published = {port: host for service in SERVICES.values() for port, host in _published(service).items()}

    assert set(published.values()) == {"127.0.0.1"}


def test_what_is_published_is_for_clients() -> None:
    assert {name for name, one in SERVICES.items() if _published(one)} == {"api", "router"}
    for name, one in SERVICES.items():
        makes_keys = name in {"gateway-certificate", "signing-keys"}
        assert one.content.get("network_mode") == ("none" if makes_keys else None), name


def test_what_decides_is_reached_from_within_alone() -> None:
    networks = compose_document()["networks"]
    internal = {name for name, one in networks.items() if one.get("internal")}

    assert internal == {"inside"}
    assert set(networks) == {"inside", "outside"}
    for name in ("postgres", "temporal", "gateway", "db-upgrade"):
        assert SERVICES[name].content["networks"] == ["inside"], name
    for name, one in SERVICES.items():
        if one.content.get("network_mode") == "none":
            continue
        assert "inside" in one.content["networks"], name
        assert one.content["networks"] == ["inside", "outside"] or not _published(one), name


def test_temporals_side_doors_are_shut_as_in_the_local_stack() -> None:
    shut = {one.partition("=")[2] for one in SERVICES["temporal"].command(IMAGE) if one.startswith("--dynamic-config")}

    assert {*CLOSED_DOORS, *LIMITS} <= shut


def test_all_speak_to_the_same_database() -> None:
    postgres = SERVICES["postgres"].environment
    urls = {one.environment["DATABASE_URL"] for one in OURS.values() if "DATABASE_URL" in one.environment}
    [url] = map(make_url, urls)

    assert (url.host, url.username, url.database) == ("postgres", postgres["POSTGRES_USER"], postgres["POSTGRES_DB"])
    assert url.password == postgres["POSTGRES_PASSWORD"] == PASSWORD
    for name in (postgres["POSTGRES_USER"], postgres["POSTGRES_DB"]):
        assert name in SERVICES["postgres"].content["healthcheck"]["test"]


def test_every_address_names_a_service_that_listens_there() -> None:
    temporal = SERVICES["temporal"].command(IMAGE)
    gateway = SERVICES["gateway"].environment

    assert SERVICES["worker"].environment["TEMPORAL_ADDRESS"] == "temporal:7233"
    assert {"--ip=0.0.0.0", "--port=7233", "--ui-port=8233"} <= set(temporal)
    listeners = {
        int(gateway[name].rpartition(":")[2]) for name in ("CELADON_ROUTER_ADDRESS", "CELADON_PREVIEW_ROUTER_ADDRESS")
    }
    assert set(_published(SERVICES["router"])) == listeners
    assert SERVICES["api"].environment["CELADON_API_ADDRESS"] == "0.0.0.0:18080"
    assert set(_published(SERVICES["api"])) == {18080}


def test_what_must_be_kept_is_in_a_volume() -> None:
    document = compose_document()
    [database] = [one for one in SERVICES["temporal"].command(IMAGE) if one.startswith("--db-filename=")]
    mounts = {mount for one in SERVICES.values() for mount in one.content.get("volumes", ())}
    state = IMAGE.environment["CELADON_STATE_DIR"]

    identities = {
        mount for mount in mounts if mount.partition(":")[0] in {"authority", "gateway", "router", "signing", "verify"}
    }
    assert mounts - identities == {"postgres:/var/lib/postgresql", f"temporal:{state}"}
    assert database.startswith(f"--db-filename={state}/")
    assert set(document["volumes"]) == {mount.partition(":")[0] for mount in mounts}
    of_workers = SERVICES["worker"].content["volumes"]
    assert of_workers == ["verify:/etc/celadon/verify:ro"], "claims of two workers never meet in one directory"


def test_the_api_alone_can_read_the_key_that_it_signs_with() -> None:
    private, public = SERVICES["signing-keys"].content["volumes"]
    readers = {
        volume: {name for name, one in SERVICES.items() if f"{volume}:ro" in one.content.get("volumes", ())}
        for volume in (private, public)
    }

    assert readers == {private: {"api"}, public: {"worker"}}
    assert SERVICES["api"].environment["CELADON_SIGNING_KEY_FILE"] in SERVICES["signing-keys"].command(IMAGE)
    assert SERVICES["worker"].environment["CELADON_VERIFY_KEYS_FILE"] in SERVICES["signing-keys"].command(IMAGE)


def test_conditions_can_be_met() -> None:
    for service in SERVICES.values():
        for name, condition in service.conditions.items():
            other = SERVICES[name]
            if condition == "service_healthy":
                assert other.content.get("healthcheck") is None or "test" in other.content["healthcheck"]
            else:
                assert condition == "service_completed_successfully"
                assert other.content["restart"] == "no"
    for name in ("worker", "gateway", "api"):
        assert SERVICES[name].conditions["db-upgrade"] == "service_completed_successfully"


def test_a_worker_has_time_to_end_its_steps() -> None:
    declared = SERVICES["worker"].environment["CELADON_GRACEFUL_SHUTDOWN"]
    settings = WorkerSettings.model_validate({"DATABASE_URL": "x", "graceful_shutdown": declared})

    assert settings.graceful_shutdown < SERVICES["worker"].stop_time / 2


def _mounts(name: str) -> set[str]:
    return set(SERVICES[name].content.get("volumes", ()))


def test_gateway_and_router_each_get_their_own_certificate_and_nothing_of_the_ca() -> None:
    certificate, enrolment = SERVICES["gateway-certificate"], SERVICES["router-enrolment"]

    assert _mounts("gateway") == {"gateway:/etc/celadon/gateway:ro"}
    assert _mounts("router") == {"router:/etc/celadon/router:ro"}
    assert SERVICES["gateway"].environment["CELADON_GATEWAY_TLS_DIR"] in certificate.command(IMAGE)
    assert "--to=/etc/celadon/router" in enrolment.command(IMAGE)
    assert "/etc/celadon/router/envoy.json" in SERVICES["router"].command(IMAGE)
    assert {name for name in SERVICES if any("authority" in one for one in _mounts(name))} == {
        "gateway-certificate",
        "router-enrolment",
    }
    assert certificate.environment["CELADON_AUTHORITY_DIR"] == enrolment.environment["CELADON_AUTHORITY_DIR"]


def test_what_is_mounted_belongs_to_the_images_user() -> None:
    """A new volume takes over owner and mode of the directory in the image."""
    made = " ".join(one.value for one in IMAGE.last if one.name == "RUN" and "--owner=celadon" in one.value)

    assert "--mode=0700" in made
    for service in OURS:
        for mount in _mounts(service):
            assert mount.split(":")[1] in made.split()


def test_envoys_admin_interface_is_a_socket_that_the_health_check_asks() -> None:
    assert "--admin=/tmp/admin.sock" in SERVICES["router-enrolment"].command(IMAGE)
    assert "/tmp/admin.sock" in (SERVICES["router"].health_check(IMAGE) or [""])[-1]  # noqa: S108 - in the container
