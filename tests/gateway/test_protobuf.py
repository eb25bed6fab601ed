"""The descriptors: what is shipped, and that they are in nobody's way."""

import subprocess
import sys
from importlib.metadata import packages_distributions
from importlib.resources import files

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from celadon.gateway.descriptors_build import ROOTS
from celadon.gateway.protobuf import DESCRIPTORS, message, message_class, serialise

GATEWAY = "import celadon.gateway.server; from celadon.gateway.resources import cluster; cluster('chat')"
OPENTELEMETRY = (
    "import opentelemetry.exporter.otlp.proto.grpc.trace_exporter\n"
    "import opentelemetry.exporter.otlp.proto.http.trace_exporter"
)
TEMPORAL = "import temporalio.client, temporalio.worker"


@pytest.mark.parametrize(
    "order",
    [(GATEWAY, OPENTELEMETRY, TEMPORAL), (OPENTELEMETRY, TEMPORAL, GATEWAY), (TEMPORAL, GATEWAY, OPENTELEMETRY)],
)
def test_the_gateway_lives_with_opentelemetry_and_temporal_in_one_process(order: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-c", "\n".join(order)], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_nothing_of_xds_is_registered_for_others() -> None:
    code = (
        f"{GATEWAY}\n"
        "import sys\n"
        "from google.protobuf import descriptor_pool\n"
        "assert not {'envoy', 'xds', 'udpa', 'validate'} & set(sys.modules)\n"
        "try:\n"
        "    descriptor_pool.Default().FindFileByName('envoy/config/cluster/v3/cluster.proto')\n"
        "except KeyError:\n"
        "    print('unknown')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (b"unknown\n", b"")


def test_the_generated_modules_are_not_installed() -> None:
    assert "xds-protos" not in {name for names in packages_distributions().values() for name in names}


def test_the_descriptors_are_the_roots_and_all_that_they_import_and_nothing_else() -> None:
    shipped = (files("celadon.gateway") / DESCRIPTORS).read_bytes()
    imports = {file.name: set(file.dependency) for file in FileDescriptorSet.FromString(shipped).file}
    needed: set[str] = set()
    waiting = {root.removesuffix("_pb2").replace(".", "/") + ".proto" for root in ROOTS}
    while waiting:
        needed |= waiting
        waiting = {name for file in waiting for name in imports[file]} - needed
    assert imports.keys() == needed


def test_imports_come_before_importers() -> None:
    known: set[str] = set()
    for file in FileDescriptorSet.FromString((files("celadon.gateway") / DESCRIPTORS).read_bytes()).file:
        assert set(file.dependency) <= known
        known.add(file.name)


def test_the_licences_are_shipped_with_the_descriptors() -> None:
    notice = (files("celadon.gateway") / "NOTICE.md").read_text()
    assert "Apache-2.0" in notice
    assert "BSD-3-Clause" in notice


def test_a_field_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="connect_timeuot"):
        message("envoy.config.cluster.v3.Cluster", {"connect_timeuot": "1s"})


def test_a_message_that_was_not_shipped_is_refused() -> None:
    with pytest.raises(KeyError):
        message_class("envoy.service.status.v3.ClientConfig")


def test_the_same_fields_give_the_same_bytes() -> None:
    request = "envoy.service.discovery.v3.DeltaDiscoveryRequest"
    first = serialise(request, {"initial_resource_versions": {"a": "1", "b": "2"}})
    second = serialise(request, {"initial_resource_versions": {"b": "2", "a": "1"}})
    assert first == second
