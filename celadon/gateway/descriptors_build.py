"""Hatch build hook: writes the descriptors of the xDS messages that the gateway speaks.

The generated modules of ``xds-protos`` own top-level packages (``envoy``, ``google.rpc``, ``opentelemetry``, …) that
belong to other distributions too; installed beside OpenTelemetry's exporters they break them. So they are a dependency
of the build alone: the hook takes their file descriptors and ships those as data, which the gateway loads into a
descriptor pool of its own. This module is run by hatchling, outside the package, and imports nothing of Celadon.
"""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Final

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.builders.wheel import WheelBuilderConfig

TARGET: Final = Path("celadon/gateway/descriptors.binpb")

ROOTS: Final = (
    "envoy.config.cluster.v3.cluster_pb2",
    "envoy.config.endpoint.v3.endpoint_pb2",
    "envoy.config.listener.v3.listener_pb2",
    "envoy.config.route.v3.route_pb2",
    "envoy.extensions.common.matching.v3.extension_matcher_pb2",
    "envoy.extensions.filters.common.matcher.action.v3.skip_action_pb2",
    "envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2",
    "envoy.extensions.filters.http.header_to_metadata.v3.header_to_metadata_pb2",
    "envoy.extensions.filters.http.router.v3.router_pb2",
    "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2",
    "envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2",
    "envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config_pb2",
    "envoy.extensions.transport_sockets.tls.v3.tls_pb2",
    "envoy.extensions.upstreams.http.v3.http_protocol_options_pb2",
    "envoy.service.discovery.v3.ads_pb2",
    "envoy.service.load_stats.v3.lrs_pb2",
    "envoy.service.runtime.v3.rtds_pb2",
    "envoy.type.matcher.v3.http_inputs_pb2",
)
"""Modules whose messages the gateway names; all that they need follows from their imports."""


class CustomBuildHook(BuildHookInterface[WheelBuilderConfig]):
    """Writes :data:`TARGET` before a wheel, editable or not, is put together."""

    def initialize(self, version: str, build_data: dict[str, object]) -> None:  # noqa: ARG002 - hatchling calls it so
        """Write the descriptors; raises ``ModuleNotFoundError`` when ``xds-protos`` is not in the build environment."""
        if self.target_name == "wheel":
            (Path(self.root) / TARGET).write_bytes(serialised(ROOTS))


def serialised(modules: Iterable[str]) -> bytes:
    """Return the transitive closure of the modules' files as a ``FileDescriptorSet``, imports before importers."""
    files: dict[str, FileDescriptorProto] = {}
    for module in modules:
        _collect(import_module(module).DESCRIPTOR, files)
    return FileDescriptorSet(file=files.values()).SerializeToString(deterministic=True)


def _collect(file: FileDescriptor, files: dict[str, FileDescriptorProto]) -> None:
    """Add ``file`` after everything that it imports."""
    if file.name in files:
        return
    for imported in file.dependencies:
        _collect(imported, files)
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    files[file.name] = proto
