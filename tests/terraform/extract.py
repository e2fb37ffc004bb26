"""Schemas of the Terraform resources that infra/terraform uses, out of npm packages that CDKTF made from the providers.

`make terraform-schemas`, or `python -m tests.terraform.extract FOLDER`: npm puts the packages into FOLDER if they are
not there (70 MB). Writes one JSON file a provider beside this one, formatted as by `terraform providers schema -json`.

The packages say of every argument its type, whether it is required, whether it is a block, and whether the block may be
repeated. They do not say which optional arguments the provider fills in by itself (but `id`), nor allowed values.
"""

import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CONFIGURATIONS = HERE.parents[1] / "infra" / "terraform"
PACKAGES = {"google": "16.12.1", "aws": "21.22.1"}  # of @cdktf/provider-…: the providers 6.50.0 and 6.25.0

Schema = dict[str, Any]
Type = str | list[Any]

_ENDINGS = ("js", "d.ts")
_USED = r'^(resource|data)\s+"({provider}_\w+)"'
_ARGUMENT = re.compile(
    r"^\s+(?P<name>\w+): \{\n\s+value: (?P<value>.*),\n\s+isBlock: (?P<block>true|false),\n"
    r'\s+type: "(?P<nesting>\w+)",\n\s+storageClassType: "(?P<type>\w+)",\n\s+\},',
    re.MULTILINE,
)
_GETTER = re.compile(
    r"get \w+\(\) \{\s+return (?P<set>cdktf\.Fn\.tolist\()?this\.get(?P<kind>\w+)Attribute\('(?P<name>\w+)'\)"
)
_FIELD = re.compile(r'this\._\w+ = new (?P<class>[\w.]+)\(this, "(?P<name>\w+)"(?:, (?P<set>true|false))?\)')
_KINDS: dict[str, Type] = {
    "String": "string",
    "Number": "number",
    "Boolean": "bool",
    "Any": "dynamic",
    "List": ["list", "string"],
}


def scalar_or_collection(kind: str) -> Type | None:
    """The type behind a name like string, numberMap or stringListList; None for the name of a class."""
    kind = kind[0].upper() + kind[1:]
    if kind in _KINDS:
        return _KINDS[kind]
    for ending in ("List", "Map"):
        inner = kind.endswith(ending) and scalar_or_collection(kind.removesuffix(ending) or "String")
        if inner:
            return [ending.lower(), inner]
    return None


class Module:
    """One `index.js` and its `index.d.ts`: a resource, a data source or the provider itself."""

    def __init__(self, script: str, declarations: str) -> None:
        self._script = script
        self._declarations = declarations

    def block(self) -> Schema:
        """The schema of the resource: what may be written, and what can only be read."""
        found = re.search(r"^class (\w+) extends cdktf\.Terraform(?:Resource|DataSource|Provider) ", self._script, re.M)
        assert found, "no resource here"
        name = found[1]
        block = self._arguments(self._class(name), f"{name}Config")
        known = block["attributes"].keys() | block.get("block_types", {}).keys()
        for attribute, type_ in self._readable(self._class(name)).items():
            if attribute not in known:
                block["attributes"][attribute] = {"type": type_, "computed": True}
        if "id" in block["attributes"]:
            block["attributes"]["id"]["computed"] = True
        return block

    def _class(self, name: str) -> str:
        found = re.search(rf"^class {name} extends .*?^\}}", self._script, re.MULTILINE | re.DOTALL)
        assert found, f"no class {name}"
        return found[0]

    def _struct(self, function: str) -> Schema:
        found = re.search(rf"^function {function}\(struct\) \{{.*?^\}}", self._script, re.MULTILINE | re.DOTALL)
        assert found, f"no function {function}"
        interface = function.removesuffix("ToHclTerraform")
        return self._arguments(found[0], interface[0].upper() + interface[1:])

    def _arguments(self, text: str, interface: str) -> Schema:
        """What the text hands over to Terraform, argument by argument."""
        attributes: Schema = {}
        blocks: Schema = {}
        required = self._required(interface)
        for argument in _ARGUMENT.finditer(text):
            value, nesting = argument["value"], argument["nesting"]
            accessor = re.search(r"(?:struct\.|this\._)(\w+)", value)
            assert accessor, value
            must = accessor[1] in required
            type_ = scalar_or_collection(argument["type"])
            if type_ is None:
                function = re.search(r"\w+ToHclTerraform", value)
                assert function, value
                inner = self._struct(function[0])
                repeated = "MapperHcl" in value
                mode = {"struct": "single"}.get(nesting, nesting)
                if argument["block"] == "true":
                    blocks[argument["name"]] = _nested_block(inner, mode, repeated=repeated, required=must)
                    continue
                assert not inner.get("block_types"), f"a block inside the argument {argument['name']}"
                nested = {"nesting_mode": mode, "attributes": inner["attributes"]}
                attributes[argument["name"]] = {"nested_type": nested, "required" if must else "optional": True}
                continue
            if nesting in ("set", "list") and isinstance(type_, list):
                type_ = [nesting, type_[1]]
            attributes[argument["name"]] = {"type": type_, "required" if must else "optional": True}
        return {"attributes": attributes} | ({"block_types": blocks} if blocks else {})

    def _required(self, interface: str) -> set[str]:
        found = re.search(rf"^export interface {interface}\b.*?^\}}", self._declarations, re.MULTILINE | re.DOTALL)
        return set(re.findall(r"^    readonly (\w+): ", found[0], re.MULTILINE)) if found else set()

    def _readable(self, text: str) -> dict[str, Type]:
        """Every attribute that a class can read, with its type."""
        types: dict[str, Type] = {}
        for getter in _GETTER.finditer(text):
            type_ = scalar_or_collection(getter["kind"])
            assert type_, getter["kind"]
            types[getter["name"]] = ["set", type_[1]] if getter["set"] else type_
        for field in _FIELD.finditer(text):
            name = field["class"]
            if name.startswith("cdktf."):
                types[field["name"]] = scalar_or_collection(name.removeprefix("cdktf.")) or "dynamic"
                continue
            collection = next((ending for ending in ("List", "Map") if name.endswith(ending)), None)
            item = name if collection is None else f"{name.removesuffix(collection)}OutputReference"
            object_ = ["object", self._readable(self._class(item))]
            wrapper = "set" if field["set"] == "true" else (collection or "").lower()
            types[field["name"]] = [wrapper, object_] if wrapper else object_
        return types


def _nested_block(block: Schema, mode: str, *, repeated: bool, required: bool) -> Schema:
    nested: Schema = {"nesting_mode": mode, "block": block}
    if mode in ("list", "set"):
        if required:
            nested["min_items"] = 1
        if not repeated:
            nested["max_items"] = 1
    return nested


def used_types(provider: str) -> list[tuple[str, str]]:
    """(`resource` or `data`, type) of everything of this provider that a .tf file below infra/terraform declares."""
    pattern = re.compile(_USED.format(provider=provider), re.MULTILINE)
    texts = [path.read_text() for path in sorted(CONFIGURATIONS.rglob("*.tf"))]
    return sorted({(found[1], found[2]) for text in texts for found in pattern.finditer(text)})


def extract(provider: str, package: Path) -> Schema:
    """The schema of one provider, of its used types only. Raises KeyError for a type that it does not have."""
    folders = {("provider", provider): "provider"}
    for kind, type_ in used_types(provider):
        dashed = type_.removeprefix(f"{provider}_").replace("_", "-")
        folders[kind, type_] = dashed if kind == "resource" else f"data-{provider}-{dashed}"
    files = _read(
        package, {f"package/lib/{folder}/index.{ending}" for folder in folders.values() for ending in _ENDINGS}
    )
    schema: Schema = {"provider": {}, "resource": {}, "data": {}}
    for (kind, type_), folder in folders.items():
        module = Module(*(files[f"package/lib/{folder}/index.{ending}"] for ending in _ENDINGS))
        schema[kind][type_] = {"version": 0, "block": module.block()}
    return {
        "provider": schema["provider"][provider],
        "resource_schemas": schema["resource"],
        "data_source_schemas": schema["data"],
    }


def _read(package: Path, names: set[str]) -> dict[str, str]:
    """The named files, read in one pass: a .tgz has no other way that is fast."""
    with tarfile.open(package, "r|gz") as archive:
        found = ((member.name, archive.extractfile(member)) for member in archive if member.name in names)
        return {name: file.read().decode() for name, file in found if file}


def main(folder: Path) -> None:
    """Write the schemas of all providers."""
    folder.mkdir(parents=True, exist_ok=True)
    for provider, version in PACKAGES.items():
        package = folder / f"cdktf-provider-{provider}-{version}.tgz"
        if not package.exists():
            subprocess.run(
                ["npm", "pack", "--ignore-scripts", f"@cdktf/provider-{provider}@{version}"], cwd=folder, check=True
            )
        text = json.dumps(extract(provider, package), separators=(",", ":"), sort_keys=True)
        (HERE / f"{provider}.json").write_text(text.replace('},"', '},\n"') + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
