package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// A cloud that is asked by HTTP, when its address is in this variable: tests of ours answer there by
// calling moto. Without it nothing can be planned or applied.
const standInVariable = "SCHEMA_PROVIDER_STAND_IN"

// ask sends {"op", "type", ...values} and returns the answer's JSON.
func ask(op string, typeName string, values map[string]tftypes.Value) (json.RawMessage, error) {
	address := os.Getenv(standInVariable)
	if address == "" {
		return nil, errors.New("this provider knows a schema and no cloud: it validates, and tests mock it")
	}
	question := map[string]any{"op": op, "type": typeName}
	for name, one := range values {
		value, err := plain(one)
		if err != nil {
			return nil, err
		}
		question[name] = value
	}
	text, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	return post(address, text)
}

func post(address string, text []byte) (json.RawMessage, error) {
	response, err := http.Post(address, "application/json", bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct {
		Value json.RawMessage `json:"value"`
		Error string          `json:"error"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	return answer.Value, nil
}

func (p *provider) PlanResourceChange(_ context.Context, request *tfprotov6.PlanResourceChangeRequest) (*tfprotov6.PlanResourceChangeResponse, error) {
	schema, err := schemaOf(p.schema.Resources[request.TypeName])
	if err != nil {
		return nil, err
	}
	proposed, prior, err := both(request.ProposedNewState, request.PriorState, schema.ValueType())
	if err != nil {
		return nil, err
	}
	value, err := planned(schema.Block, proposed, prior.IsNull())
	if err != nil {
		return nil, err
	}
	state, err := tfprotov6.NewDynamicValue(schema.ValueType(), value)
	return &tfprotov6.PlanResourceChangeResponse{PlannedState: &state}, err
}

func (p *provider) ApplyResourceChange(_ context.Context, request *tfprotov6.ApplyResourceChangeRequest) (*tfprotov6.ApplyResourceChangeResponse, error) {
	schema, err := schemaOf(p.schema.Resources[request.TypeName])
	if err != nil {
		return nil, err
	}
	kind := schema.ValueType()
	wanted, prior, err := both(request.PlannedState, request.PriorState, kind)
	if err != nil {
		return nil, err
	}
	config, err := request.Config.Unmarshal(kind)
	if err != nil {
		return nil, err
	}
	op := "update"
	if prior.IsNull() {
		op = "create"
	} else if wanted.IsNull() {
		op = "delete"
	}
	values := map[string]tftypes.Value{"planned": wanted, "prior": prior, "config": config}
	answer, err := ask(op, request.TypeName, values)
	if err != nil {
		return &tfprotov6.ApplyResourceChangeResponse{NewState: request.PriorState, Diagnostics: said(request.TypeName, err)}, nil
	}
	state, err := dynamic(answer, kind)
	return &tfprotov6.ApplyResourceChangeResponse{NewState: state}, err
}

func (p *provider) ReadResource(_ context.Context, request *tfprotov6.ReadResourceRequest) (*tfprotov6.ReadResourceResponse, error) {
	schema, err := schemaOf(p.schema.Resources[request.TypeName])
	if err != nil {
		return nil, err
	}
	state, diagnostics, err := one("read", request.TypeName, request.CurrentState, schema)
	return &tfprotov6.ReadResourceResponse{NewState: state, Diagnostics: diagnostics}, err
}

func (p *provider) ReadDataSource(_ context.Context, request *tfprotov6.ReadDataSourceRequest) (*tfprotov6.ReadDataSourceResponse, error) {
	schema, err := schemaOf(p.schema.DataSources[request.TypeName])
	if err != nil {
		return nil, err
	}
	state, diagnostics, err := one("data", request.TypeName, request.Config, schema)
	return &tfprotov6.ReadDataSourceResponse{State: state, Diagnostics: diagnostics}, err
}

func (p *provider) OpenEphemeralResource(_ context.Context, request *tfprotov6.OpenEphemeralResourceRequest) (*tfprotov6.OpenEphemeralResourceResponse, error) {
	schema, err := schemaOf(p.schema.Ephemeral[request.TypeName])
	if err != nil {
		return nil, err
	}
	result, diagnostics, err := one("open", request.TypeName, request.Config, schema)
	return &tfprotov6.OpenEphemeralResourceResponse{Result: result, Diagnostics: diagnostics}, err
}

func (p *provider) CloseEphemeralResource(context.Context, *tfprotov6.CloseEphemeralResourceRequest) (*tfprotov6.CloseEphemeralResourceResponse, error) {
	return &tfprotov6.CloseEphemeralResourceResponse{}, nil
}

// one sends a single value and returns what it becomes.
func one(op string, typeName string, given *tfprotov6.DynamicValue, schema *tfprotov6.Schema) (*tfprotov6.DynamicValue, []*tfprotov6.Diagnostic, error) {
	kind := schema.ValueType()
	value, err := given.Unmarshal(kind)
	if err != nil {
		return nil, nil, err
	}
	answer, err := ask(op, typeName, map[string]tftypes.Value{"config": value})
	if err != nil {
		return given, said(typeName, err), nil
	}
	made, err := dynamic(answer, kind)
	return made, nil, err
}

func both(first *tfprotov6.DynamicValue, second *tfprotov6.DynamicValue, kind tftypes.Type) (tftypes.Value, tftypes.Value, error) {
	one, err := first.Unmarshal(kind)
	if err != nil {
		return one, one, err
	}
	other, err := second.Unmarshal(kind)
	return one, other, err
}

func said(typeName string, err error) []*tfprotov6.Diagnostic {
	return []*tfprotov6.Diagnostic{{
		Severity: tfprotov6.DiagnosticSeverityError,
		Summary:  fmt.Sprintf("%s: the stand-in says", typeName),
		Detail:   err.Error(),
	}}
}
