package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

type file struct {
	Provider    block            `json:"provider"`
	Resources   map[string]block `json:"resources"`
	DataSources map[string]block `json:"data_sources"`
	Ephemeral   map[string]block `json:"ephemeral"`
}

type block struct {
	Attributes map[string]attribute   `json:"attributes"`
	Blocks     map[string]nestedBlock `json:"blocks"`
}

type nestedBlock struct {
	Nesting string `json:"nesting"`
	Min     int64  `json:"min"`
	Max     int64  `json:"max"`
	Block   block  `json:"block"`
}

type attribute struct {
	Type      json.RawMessage `json:"type"`
	Nested    *nestedType     `json:"nested"`
	Computed  bool            `json:"computed"`
	Optional  bool            `json:"optional"`
	Required  bool            `json:"required"`
	WriteOnly bool            `json:"write_only"`
}

type nestedType struct {
	Nesting    string               `json:"nesting"`
	Attributes map[string]attribute `json:"attributes"`
}

func readSchema(path string) (*file, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	read := &file{}
	return read, json.Unmarshal(text, read)
}

func schemasOf(blocks map[string]block) (map[string]*tfprotov6.Schema, error) {
	made := map[string]*tfprotov6.Schema{}
	for name, one := range blocks {
		schema, err := schemaOf(one)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		made[name] = schema
	}
	return made, nil
}

func schemaOf(one block) (*tfprotov6.Schema, error) {
	inner, err := blockOf(one)
	return &tfprotov6.Schema{Block: inner}, err
}

func blockOf(one block) (*tfprotov6.SchemaBlock, error) {
	attributes, err := attributesOf(one.Attributes)
	if err != nil {
		return nil, err
	}
	made := &tfprotov6.SchemaBlock{Attributes: attributes}
	for name, nested := range one.Blocks {
		inner, err := blockOf(nested.Block)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		made.BlockTypes = append(made.BlockTypes, &tfprotov6.SchemaNestedBlock{
			TypeName: name, Block: inner, Nesting: blockNesting[nested.Nesting],
			MinItems: nested.Min, MaxItems: nested.Max,
		})
	}
	return made, nil
}

var blockNesting = map[string]tfprotov6.SchemaNestedBlockNestingMode{
	"single": tfprotov6.SchemaNestedBlockNestingModeSingle,
	"list":   tfprotov6.SchemaNestedBlockNestingModeList,
	"set":    tfprotov6.SchemaNestedBlockNestingModeSet,
	"map":    tfprotov6.SchemaNestedBlockNestingModeMap,
}

var objectNesting = map[string]tfprotov6.SchemaObjectNestingMode{
	"single": tfprotov6.SchemaObjectNestingModeSingle,
	"list":   tfprotov6.SchemaObjectNestingModeList,
	"set":    tfprotov6.SchemaObjectNestingModeSet,
	"map":    tfprotov6.SchemaObjectNestingModeMap,
}

func attributesOf(attributes map[string]attribute) ([]*tfprotov6.SchemaAttribute, error) {
	made := []*tfprotov6.SchemaAttribute{}
	for name, one := range attributes {
		attribute, err := attributeOf(name, one)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		made = append(made, attribute)
	}
	return made, nil
}

func attributeOf(name string, one attribute) (*tfprotov6.SchemaAttribute, error) {
	made := &tfprotov6.SchemaAttribute{
		Name: name, Computed: one.Computed, Optional: one.Optional, Required: one.Required,
		WriteOnly: one.WriteOnly,
	}
	if one.Nested != nil {
		attributes, err := attributesOf(one.Nested.Attributes)
		made.NestedType = &tfprotov6.SchemaObject{
			Attributes: attributes, Nesting: objectNesting[one.Nested.Nesting],
		}
		return made, err
	}
	kind, err := tftypes.ParseJSONType(one.Type) //nolint:staticcheck // The only reader of this form.
	made.Type = kind
	return made, err
}
