"""The google and aws providers as terraform sees them: real schemas, and nothing behind them.

The schemas of tests/terraform/*.json over Terraform's plugin protocol, version 6. Terraform itself then refuses unknown
resources and arguments, missing ones and wrong types.

What only the provider knows is not checked: allowed values, arguments that exclude one another, quotas. Attributes that
the provider computes are unknown in a plan; after an apply (and in data sources, also in a plan) they are `ANSWERS` by
the attribute's name, else `<type>.<attribute>`. An optional argument that is left out is null, but `id`. A
`.tftest.hcl` file may say more exactly what it needs with `override_data` and `override_resource`.

By hand: `.cache/terraform/venv/bin/python -m tests.infra.terraform_protocol` prints the variables to export, and
serves until its input ends.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import msgpack
from tf.gen import grpc_controller_pb2 as controller
from tf.gen import grpc_controller_pb2_grpc as controller_rpc
from tf.gen import grpc_stdio_pb2_grpc as stdio_rpc
from tf.gen import tfplugin_pb2 as protocol
from tf.gen import tfplugin_pb2_grpc as protocol_rpc

SCHEMAS = Path(__file__).parents[1] / "terraform"
PROVIDERS = ("google", "aws")
ANSWERS: Mapping[str, object] = {
    "account_id": "123456789012",
    "dns_suffix": "amazonaws.com",
    "function_url": "https://abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-central-1.on.aws/",
    "json": "{}",
    "number": "123456789012",
    "partition": "aws",
    "region": "eu-central-1",
    "ids": ["one", "two"],
}
UNKNOWN = msgpack.ExtType(0, b"\x00")  # a value that is known after the apply

Schema = dict[str, Any]
Values = dict[str, Any]


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


def attribute_type(attribute: Schema) -> Any:
    """The type of an attribute as the protocol spells it: `nested_type` is a collection of objects."""
    if "type" in attribute:
        return attribute["type"]
    nested = attribute["nested_type"]
    item = ["object", {name: attribute_type(inner) for name, inner in nested["attributes"].items()}]
    return item if nested["nesting_mode"] == "single" else [nested["nesting_mode"], item]


def made_up(type_: Any, owner: str, name: str) -> object:
    """A value for what the provider would compute."""
    if name in ANSWERS:
        return ANSWERS[name]
    scalars: Values = {"string": f"{owner}.{name}", "number": 0, "bool": False, "dynamic": None}
    if isinstance(type_, str):
        return scalars[type_]
    if type_[0] == "object":
        return {key: made_up(inner, owner, key) for key, inner in type_[1].items()}
    return {} if type_[0] == "map" else []


def fill_in(block: Schema, values: Values, make: Callable[[Any, str], object]) -> Values:
    """`values` with `make(type, name)` for every computed attribute of the block that has none."""
    computed = {
        name: one for name, one in block["attributes"].items() if one.get("computed") and values.get(name) is None
    }
    return values | {name: make(attribute_type(one), name) for name, one in computed.items()}


def serve() -> None:
    """Serve both providers until standard input ends; the first line says how to reach them."""
    with tempfile.TemporaryDirectory() as folder:
        servers, reattach = [], {}
        for provider in PROVIDERS:
            server = grpc.server(ThreadPoolExecutor(max_workers=8))
            add_provider(server, json.loads((SCHEMAS / f"{provider}.json").read_text()))
            address = f"{folder}/{provider}.sock"
            server.add_insecure_port(f"unix://{address}")
            server.start()
            servers.append(server)
            reattach[f"registry.terraform.io/hashicorp/{provider}"] = {
                "Protocol": "grpc",
                "ProtocolVersion": 6,
                "Pid": os.getpid(),
                "Test": True,
                "Addr": {"Network": "unix", "String": address},
            }
        print(f"export TF_REATTACH_PROVIDERS='{json.dumps(reattach)}'")
        print("export TF_CLI_CONFIG_FILE=/dev/null CHECKPOINT_DISABLE=1", flush=True)
        sys.stdin.read()
        for server in servers:
            server.stop(grace=None).wait()


if __name__ == "__main__":
    serve()
