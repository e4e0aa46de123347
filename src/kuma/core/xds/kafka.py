"""The configuration of Envoy's Kafka filter.

The filter is a contrib extension, so its message is not part of the Envoy API our build generates. It is described
here, as far as it is used, because a message that nobody can describe could be sent but not shown.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass

from kuma.core.xds import names
from kuma.core.xds.pack import as_any
from kuma.envoy_api.envoy.config.listener.v3.listener_components_pb2 import Filter

_PACKAGE: Final = "envoy.extensions.filters.network.kafka_broker.v3"


def _message_class() -> Any:
    stat_prefix = FieldDescriptorProto(
        name="stat_prefix",
        json_name="statPrefix",
        number=1,
        type=FieldDescriptorProto.TYPE_STRING,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
    )
    file = FileDescriptorProto(
        name=f"{_PACKAGE.replace('.', '/')}/kafka_broker.proto",
        package=_PACKAGE,
        syntax="proto3",
        message_type=[DescriptorProto(name="KafkaBroker", field=[stat_prefix])],
    )
    pool = Default()
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.KafkaBroker"))


KafkaBroker: Final = _message_class()


def kafka_filter(stat_prefix: str) -> Filter:
    """Counts what passes; stands before the TCP proxy."""
    return Filter(name=names.KAFKA_BROKER, typed_config=as_any(KafkaBroker(stat_prefix=stat_prefix)))
