"""One resource's arguments, as the binding that was generated from its schema tells them."""

import re
from functools import cached_property
from typing import Any, Final, NamedTuple

Schema = dict[str, Any]
CLASS: Final = re.compile(r"^export class (\w+) extends cdktf\.(\w+) \{(.*?)^\}", re.S | re.M)
MEMBER: Final = re.compile(
    r"^  // (\w+) - computed: (\w+), optional: (\w+), required: (\w+)\n"
    r"(.*?)(?=^  // \w+ - computed|\Z)",
    re.S | re.M,
)
HCL: Final = re.compile(
    r"^ +(\w+): \{\n +value: [^\n]*\n +isBlock: (\w+),\n +type: \"(\w+)\",\n"
    r" +storageClassType: \"(\w+)\",",
    re.M,
)
NESTED: Final = re.compile(r"new (\w+)\(this, \"\w+\"(?:, (true|false))?\)")
PLAIN: Final = re.compile(r"this\.get(\w+?)(List|Map|MapList)?Attribute\(")
COMPLEX: Final = re.compile(r"new cdktf\.(String|Number|Boolean|Any)(MapList|Map|List)\(")
HCL_FUNCTION: Final = re.compile(r"^export function (\w+)ToHclTerraform\(.*?^\}", re.S | re.M)
SCALARS: Final = {"String": "string", "Number": "number", "Boolean": "bool", "Any": "dynamic"}


class Member(NamedTuple):
    """An argument or attribute: what the comment above it says, and the code below."""

    name: str
    computed: bool
    optional: bool
    required: bool
    code: str


class Hcl(NamedTuple):
    """How an argument is written: as a block or not, and in which collection."""

    is_block: bool
    collection: str
    storage: str


class Binding:
    """The source of one resource, data source or provider. Raises nothing: `kind` may be ''.

    The bindings write a nested argument like a block. `has_blocks` says whether it is one: version
    5 of Cloudflare's provider has arguments only.
    """

    def __init__(self, text: str, *, has_blocks: bool = True) -> None:
        self.text = text
        self.has_blocks = has_blocks
        self.classes = {name: (kind, body) for name, kind, body in CLASS.findall(text)}

    @property
    def kind(self) -> str:
        return next((kind for _, kind, _ in self._outermost), "")

    @property
    def type_name(self) -> str:
        match = re.search(r"tfResourceType = \"(\w+)\"", self.text)
        return match[1] if match else ""

    @property
    def outer(self) -> str:
        return next(name for name, _, _ in self._outermost)

    @cached_property
    def _outermost(self) -> list[tuple[str, str, str]]:
        classes = ((name, kind, body) for name, (kind, body) in self.classes.items())
        return [one for one in classes if one[1].startswith("Terraform")]

    @cached_property
    def functions(self) -> dict[str, str]:
        return {match[1]: match[0] for match in HCL_FUNCTION.finditer(self.text)}

    def members(self, name: str) -> list[Member]:
        found = MEMBER.findall(self.classes[name][1])
        return [
            Member(member, computed == "true", optional == "true", required == "true", code)
            for member, computed, optional, required, code in found
        ]

    def hcl(self, name: str) -> dict[str, Hcl]:
        """How the arguments of this class are written; attributes that are only read are absent."""
        if name == self.outer:
            text = self.classes[name][1]
        else:
            struct = name.removesuffix("OutputReference")
            text = self.functions.get(struct[:1].lower() + struct[1:], "")
        return {
            argument: Hcl(block == "true", collection, storage)
            for argument, block, collection, storage in HCL.findall(text)
        }


def block_of(binding: Binding, name: str = "") -> Schema:
    """Return {"attributes": …, "blocks": …} of the resource, or of one of its nested classes."""
    name = name or binding.outer
    written = binding.hcl(name)
    attributes, blocks = {}, {}
    for member in binding.members(name):
        hcl = written.get(member.name)
        if hcl is not None and hcl.is_block and binding.has_blocks:
            blocks[member.name] = _block(binding, member, hcl)
        else:
            attributes[member.name] = _attribute(binding, member, hcl)
    return {"attributes": attributes, "blocks": blocks}


def _block(binding: Binding, member: Member, hcl: Hcl) -> Schema:
    nesting = "single" if hcl.collection == "struct" else hcl.collection
    if not NESTED.search(member.code):
        return {"nesting": nesting, "min": 0, "max": 0, "block": _block_by_hcl(binding, hcl)}
    element, is_list = _element(binding, member)
    block = block_of(binding, element)
    return {
        "nesting": nesting,
        # A map may not say how many.
        "min": 1 if member.required and nesting != "map" else 0,
        "max": 0 if is_list or nesting in ("single", "map") else 1,
        "block": _fixed(block) if nesting == "set" else block,
    }


def _fixed(part: Any) -> Any:
    """OpenTofu refuses elements of a set whose type is open."""
    if isinstance(part, dict):
        return {key: _fixed(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_fixed(value) for value in part]
    return "string" if part == "dynamic" else part


def _block_by_hcl(binding: Binding, hcl: Hcl) -> Schema:
    """A provider's own blocks have no classes; how they are written is all that is known."""
    struct = hcl.storage.removesuffix("List")
    text = binding.functions[struct[:1].lower() + struct[1:]]
    written = [(name, Hcl(block == "true", *rest)) for name, block, *rest in HCL.findall(text)]
    return {
        "attributes": {
            name: {"type": _type_by_hcl(one), "optional": True} for name, one in written
        },
        "blocks": {},
    }


def _type_by_hcl(hcl: Hcl) -> Any:
    scalar = re.sub("(List|Map)$", "", hcl.storage)
    kind = {"boolean": "bool"}.get(scalar, scalar)
    return kind if hcl.collection == "simple" else [hcl.collection, kind]


def _attribute(binding: Binding, member: Member, hcl: Hcl | None) -> Schema:
    flags = {
        # Terraform refuses what is required and computed at once; some bindings say both.
        "computed": not member.required and (member.computed or not member.optional),
        "optional": member.optional,
        "required": member.required,
        "write_only": member.optional and member.name.endswith("_wo"),
    }
    if NESTED.search(member.code):
        return {**flags, **_nested(binding, member, hcl)}
    return {**flags, "type": _plain_type(member, hcl)}


def _nested(binding: Binding, member: Member, hcl: Hcl | None) -> Schema:
    """An argument is an object with optional fields; what is only read is of a fixed type."""
    element, is_list = _element(binding, member)
    collection = hcl.collection if hcl else _collection(member, is_list)
    inner = block_of(binding, element)
    if hcl is None:
        shape = ["object", {key: _type_of(one) for key, one in inner["attributes"].items()}]
        return {"type": shape if collection == "struct" else [collection, shape]}
    nesting = "single" if collection == "struct" else collection
    return {"nested": {"nesting": nesting, "attributes": inner["attributes"]}}


def _type_of(attribute: Schema) -> Any:
    if "type" in attribute:
        return attribute["type"]
    nested = attribute["nested"]
    shape = ["object", {key: _type_of(one) for key, one in nested["attributes"].items()}]
    return shape if nested["nesting"] == "single" else [nested["nesting"], shape]


def _collection(member: Member, is_list: bool) -> str:
    if not is_list:
        return "struct"
    match = NESTED.search(member.code)
    assert match is not None
    return "map" if match[1].endswith("Map") else "set" if match[2] == "true" else "list"


def _element(binding: Binding, member: Member) -> tuple[str, bool]:
    """The class of one element, and whether there may be many."""
    match = NESTED.search(member.code)
    assert match is not None, member
    name = match[1]
    if name.endswith("OutputReference"):
        return name, False
    for suffix in ("List", "Map"):
        element = f"{name.removesuffix(suffix)}OutputReference"
        if name.endswith(suffix) and element in binding.classes:
            return element, True
    raise KeyError(f"{binding.type_name}.{member.name}: {name}")


def _plain_type(member: Member, hcl: Hcl | None) -> Any:
    """Sets and lists look alike in code; how they are written, or `tolist`, tells them apart."""
    match = PLAIN.search(member.code)
    if match is None:
        return _complex_type(member.code)
    # A list of strings is `getListAttribute`: its scalar is not named.
    if match[1] == "List":
        return [_list_kind(member, hcl), "string"]
    scalar = SCALARS.get(match[1], "dynamic")
    if match[2] == "Map":
        return ["map", scalar]
    if match[2] == "List":
        return [_list_kind(member, hcl), scalar]
    if match[2] == "MapList":
        return [_list_kind(member, hcl), ["map", scalar]]
    return scalar


def _list_kind(member: Member, hcl: Hcl | None) -> str:
    if hcl is not None and hcl.collection in ("set", "list"):
        return hcl.collection
    return "set" if "tolist" in member.code else "list"


def _complex_type(code: str) -> Any:
    """What is computed has classes of the library: StringMap, AnyMapList, …"""
    match = COMPLEX.search(code)
    if match is None:
        return "dynamic"
    scalar = SCALARS[match[1]]
    return ["list", ["map", scalar]] if match[2] == "MapList" else [match[2].lower(), scalar]
