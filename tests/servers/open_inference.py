"""The messages of the V2 inference protocol over gRPC, as far as the tests need them."""

from typing import Any, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_PACKAGE: Final = "inference"
_STRING: Final = FieldDescriptorProto.TYPE_STRING
_INT64: Final = FieldDescriptorProto.TYPE_INT64
_BYTES: Final = FieldDescriptorProto.TYPE_BYTES
_ONE: Final = FieldDescriptorProto.LABEL_OPTIONAL
_MANY: Final = FieldDescriptorProto.LABEL_REPEATED


def _file() -> FileDescriptorProto:
    file = FileDescriptorProto(name="open_inference.proto", package=_PACKAGE, syntax="proto3")
    contents = file.message_type.add(name="InferTensorContents")
    contents.field.add(name="bytes_contents", number=8, type=_BYTES, label=_MANY)
    for message in ("InferInputTensor", "InferOutputTensor"):
        tensor = file.message_type.add(name=message)
        tensor.field.add(name="name", number=1, type=_STRING, label=_ONE)
        tensor.field.add(name="datatype", number=2, type=_STRING, label=_ONE)
        tensor.field.add(name="shape", number=3, type=_INT64, label=_MANY)
        tensor.field.add(name="contents", number=5, type_name=".inference.InferTensorContents", label=_ONE)
    request = file.message_type.add(name="ModelInferRequest")
    request.field.add(name="model_name", number=1, type=_STRING, label=_ONE)
    request.field.add(name="inputs", number=5, type_name=".inference.InferInputTensor", label=_MANY)
    response = file.message_type.add(name="ModelInferResponse")
    response.field.add(name="outputs", number=5, type_name=".inference.InferOutputTensor", label=_MANY)
    for message_type in file.message_type:
        for field in message_type.field:
            if field.type_name:
                field.type = FieldDescriptorProto.TYPE_MESSAGE
    return file


_POOL: Final = DescriptorPool()
_POOL.Add(_file())

ModelInferRequest: Final[Any] = GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.ModelInferRequest"))
ModelInferResponse: Final[Any] = GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.ModelInferResponse"))
