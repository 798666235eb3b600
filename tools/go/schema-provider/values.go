package main

import (
	"encoding/json"
	"fmt"
	"math/big"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// plain returns a value as encoding/json writes it; what is null or not known yet is nil.
func plain(value tftypes.Value) (any, error) {
	if !value.IsKnown() || value.IsNull() {
		return nil, nil
	}
	kind := value.Type()
	switch {
	case kind.Is(tftypes.String):
		var text string
		err := value.As(&text)
		return text, err
	case kind.Is(tftypes.Bool):
		var truth bool
		err := value.As(&truth)
		return truth, err
	case kind.Is(tftypes.Number):
		var number big.Float
		err := value.As(&number)
		return json.Number(number.Text('f', -1)), err
	case kind.Is(tftypes.Map{}), kind.Is(tftypes.Object{}):
		return plainMap(value)
	case kind.Is(tftypes.List{}), kind.Is(tftypes.Set{}), kind.Is(tftypes.Tuple{}):
		return plainList(value)
	}
	return nil, fmt.Errorf("no JSON for %s", kind)
}

func plainMap(value tftypes.Value) (any, error) {
	var inner map[string]tftypes.Value
	if err := value.As(&inner); err != nil {
		return nil, err
	}
	made := map[string]any{}
	for name, one := range inner {
		element, err := plain(one)
		if err != nil {
			return nil, err
		}
		made[name] = element
	}
	return made, nil
}

func plainList(value tftypes.Value) (any, error) {
	var inner []tftypes.Value
	if err := value.As(&inner); err != nil {
		return nil, err
	}
	made := []any{}
	for _, one := range inner {
		element, err := plain(one)
		if err != nil {
			return nil, err
		}
		made = append(made, element)
	}
	return made, nil
}

// dynamic returns the JSON text as a value of the type.
func dynamic(text json.RawMessage, kind tftypes.Type) (*tfprotov6.DynamicValue, error) {
	value, err := tfprotov6.RawState{JSON: text}.Unmarshal(kind)
	if err != nil {
		return nil, err
	}
	made, err := tfprotov6.NewDynamicValue(kind, value)
	return &made, err
}

// planned returns a proposed value as a provider plans it: what the cloud computes is not known yet
// when a resource is made, and what is write-only is in no plan.
func planned(block *tfprotov6.SchemaBlock, value tftypes.Value, isNew bool) (tftypes.Value, error) {
	if value.IsNull() || !value.IsKnown() {
		return value, nil
	}
	var inner map[string]tftypes.Value
	if err := value.As(&inner); err != nil {
		return value, err
	}
	for _, one := range block.Attributes {
		kind := one.ValueType()
		switch {
		case one.WriteOnly:
			inner[one.Name] = tftypes.NewValue(kind, nil)
		case one.Computed && isNew && inner[one.Name].IsNull():
			inner[one.Name] = tftypes.NewValue(kind, tftypes.UnknownValue)
		}
	}
	for _, one := range block.BlockTypes {
		made, err := plannedBlocks(one.Block, inner[one.TypeName], isNew)
		if err != nil {
			return value, err
		}
		inner[one.TypeName] = made
	}
	return tftypes.NewValue(value.Type(), inner), nil
}

func plannedBlocks(block *tfprotov6.SchemaBlock, value tftypes.Value, isNew bool) (tftypes.Value, error) {
	if value.Type().Is(tftypes.Object{}) {
		return planned(block, value, isNew)
	}
	if value.IsNull() || !value.IsKnown() || value.Type().Is(tftypes.Map{}) {
		return value, nil
	}
	var inner []tftypes.Value
	if err := value.As(&inner); err != nil {
		return value, err
	}
	for place, one := range inner {
		made, err := planned(block, one, isNew)
		if err != nil {
			return value, err
		}
		inner[place] = made
	}
	return tftypes.NewValue(value.Type(), inner), nil
}
