"""The arguments of a resource are read out of the binding that was generated from them."""

from tools.provider_bindings import Binding, block_of

TEXT = """
export function thingRuleToHclTerraform(struct?: ThingRule): any {
  const attrs = {
    port: {
      value: cdktf.numberToHclTerraform(struct!.port),
      isBlock: false,
      type: "simple",
      storageClassType: "number",
    },
  };
  return attrs;
}
export class ThingRuleOutputReference extends cdktf.ComplexObject {
  // port - computed: false, optional: false, required: true
  public get port() {
    return this.getNumberAttribute('port');
  }
}
export class ThingRuleList extends cdktf.ComplexList {
}
export class Thing extends cdktf.TerraformResource {
  public static readonly tfResourceType = "aws_thing";
  // arn - computed: true, optional: false, required: false
  public get arn() {
    return this.getStringAttribute('arn');
  }

  // names - computed: false, optional: true, required: false
  public get names() {
    return cdktf.Fn.tolist(this.getListAttribute('names'));
  }

  // token_wo - computed: false, optional: true, required: false
  public get tokenWo() {
    return this.getStringAttribute('token_wo');
  }

  // rule - computed: false, optional: false, required: true
  private _rule = new ThingRuleList(this, "rule", true);
  protected synthesizeHclAttributes(): { [name: string]: any } {
    const attrs = {
      names: {
        value: cdktf.listMapperHcl(cdktf.stringToHclTerraform, false)(this._names),
        isBlock: false,
        type: "set",
        storageClassType: "stringList",
      },
      rule: {
        value: cdktf.listMapperHcl(thingRuleToHclTerraform, true)(this._rule.internalValue),
        isBlock: true,
        type: "set",
        storageClassType: "ThingRuleList",
      },
    };
    return attrs;
  }
}
"""


def test_names_types_and_flags_are_read() -> None:
    binding = Binding(TEXT)
    attributes = block_of(binding)["attributes"]
    assert (binding.kind, binding.type_name) == ("TerraformResource", "aws_thing")
    assert attributes["arn"]["type"] == "string"
    assert attributes["arn"]["computed"]
    assert attributes["names"]["type"] == ["set", "string"]
    assert attributes["names"]["optional"]


def test_what_is_written_only_is_known_by_its_name() -> None:
    attributes = block_of(Binding(TEXT))["attributes"]
    assert attributes["token_wo"]["write_only"]
    assert not attributes["names"]["write_only"]


def test_blocks_are_nested_as_they_are_written() -> None:
    block = block_of(Binding(TEXT))["blocks"]["rule"]
    assert (block["nesting"], block["min"], block["max"]) == ("set", 1, 0)
    assert block["block"]["attributes"]["port"]["required"]
