"""Terraform's plugin protocol, version 6, over a schema: what tests/terraform_provider.py answers."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import msgpack
from tf.gen import grpc_controller_pb2 as controller
from tf.gen import grpc_controller_pb2_grpc as controller_rpc
from tf.gen import grpc_stdio_pb2_grpc as stdio_rpc
from tf.gen import tfplugin_pb2 as protocol
from tf.gen import tfplugin_pb2_grpc as protocol_rpc

from tests.terraform_provider import Schema, Values, attribute_type, fill_in, made_up

UNKNOWN = msgpack.ExtType(0, b"\x00")  # a value that is known after the apply


def add_provider(server: grpc.Server, schema: Schema) -> None:
    """Let the server answer as the provider that `schema` describes."""
    protocol_rpc.add_ProviderServicer_to_server(Provider(schema), server)
    controller_rpc.add_GRPCControllerServicer_to_server(Controller(), server)
    stdio_rpc.add_GRPCStdioServicer_to_server(Stdio(), server)


class Provider(protocol_rpc.ProviderServicer):
    """Plans what was configured and applies what was planned; nothing lies behind it."""

    def __init__(self, schema: Schema) -> None:
        self._resources = schema["resource_schemas"]
        self._data_sources = schema["data_source_schemas"]
        self._schema = protocol.GetProviderSchema.Response(
            provider=_schema(schema["provider"]),
            resource_schemas={name: _schema(one) for name, one in self._resources.items()},
            data_source_schemas={name: _schema(one) for name, one in self._data_sources.items()},
            server_capabilities=protocol.ServerCapabilities(get_provider_schema_optional=True),  # asked for once
        )

    def GetProviderSchema(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._schema

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return protocol.ValidateProviderConfig.Response()

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return protocol.ValidateResourceConfig.Response()

    def ValidateDataResourceConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return protocol.ValidateDataResourceConfig.Response()

    def ConfigureProvider(self, request: Any, context: Any) -> Any:  # noqa: N802
        return protocol.ConfigureProvider.Response()

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:  # noqa: N802
        return protocol.UpgradeResourceState.Response(upgraded_state=protocol.DynamicValue(json=request.raw_state.json))

    def ReadResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        return protocol.ReadResource.Response(new_state=request.current_state)

    def PlanResourceChange(self, request: Any, context: Any) -> Any:  # noqa: N802
        proposed, prior = _read(request.proposed_new_state), _read(request.prior_state)
        if proposed is None:  # to be destroyed
            return protocol.PlanResourceChange.Response(planned_state=request.proposed_new_state)
        block = self._resources[request.type_name]["block"]
        planned = proposed if prior else fill_in(block, proposed, lambda type_, name: UNKNOWN)
        return protocol.PlanResourceChange.Response(planned_state=_written(planned))

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:  # noqa: N802
        planned = _read(request.planned_state)
        if planned is None:
            return protocol.ApplyResourceChange.Response(new_state=request.planned_state)
        name = request.type_name
        known = {key: None if value == UNKNOWN else value for key, value in planned.items()}
        state = fill_in(self._resources[name]["block"], known, lambda type_, key: made_up(type_, name, key))
        return protocol.ApplyResourceChange.Response(new_state=_written(state))

    def ReadDataSource(self, request: Any, context: Any) -> Any:  # noqa: N802
        name = request.type_name
        block = self._data_sources[name]["block"]
        state = fill_in(block, _read(request.config) or {}, lambda type_, key: made_up(type_, name, key))
        return protocol.ReadDataSource.Response(state=_written(state))

    def StopProvider(self, request: Any, context: Any) -> Any:  # noqa: N802
        return protocol.StopProvider.Response()


class Controller(controller_rpc.GRPCControllerServicer):
    """Terraform's wish to end the process is heard and not obeyed: it serves many runs."""

    def Shutdown(self, request: Any, context: Any) -> Any:  # noqa: N802
        return controller.Empty()


class Stdio(stdio_rpc.GRPCStdioServicer):
    """No output to stream."""

    def StreamStdio(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        return iter(())


def _read(value: Any) -> Values | None:
    values: Values | None = (
        json.loads(value.json) if value.json else msgpack.unpackb(value.msgpack, ext_hook=msgpack.ExtType)
    )
    return values


def _written(values: Values) -> Any:
    return protocol.DynamicValue(msgpack=msgpack.packb(values))


def _schema(schema: Schema) -> Any:
    return protocol.Schema(version=schema["version"], block=_block(schema["block"]))


def _block(block: Schema) -> Any:
    nesting = protocol.Schema.NestedBlock.NestingMode
    return protocol.Schema.Block(
        attributes=[_attribute(name, one) for name, one in sorted(block["attributes"].items())],
        block_types=[
            protocol.Schema.NestedBlock(
                type_name=name,
                block=_block(one["block"]),
                nesting=nesting.Value(one["nesting_mode"].upper()),
                min_items=one.get("min_items", 0),
                max_items=one.get("max_items", 0),
            )
            for name, one in sorted(block.get("block_types", {}).items())
        ],
    )


def _attribute(name: str, attribute: Schema) -> Any:
    flags = {flag: attribute.get(flag, False) for flag in ("required", "optional", "computed")}
    if "nested_type" not in attribute:
        return protocol.Schema.Attribute(name=name, type=json.dumps(attribute_type(attribute)).encode(), **flags)
    nested = attribute["nested_type"]
    object_ = protocol.Schema.Object(
        attributes=[_attribute(inner, one) for inner, one in sorted(nested["attributes"].items())],
        nesting=protocol.Schema.Object.NestingMode.Value(nested["nesting_mode"].upper()),
    )
    return protocol.Schema.Attribute(name=name, nested_type=object_, **flags)
