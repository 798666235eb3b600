package main

import (
	"context"
	"os"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// provider answers what OpenTofu asks for validation and mocks, and with a stand-in for plan and
// apply; the embedded interface is nil, so all else ends the process, which OpenTofu reports.
type provider struct {
	tfprotov6.ProviderServer
	schema *file
}

func (p *provider) GetMetadata(context.Context, *tfprotov6.GetMetadataRequest) (*tfprotov6.GetMetadataResponse, error) {
	made := &tfprotov6.GetMetadataResponse{}
	for name := range p.schema.Resources {
		made.Resources = append(made.Resources, tfprotov6.ResourceMetadata{TypeName: name})
	}
	for name := range p.schema.DataSources {
		made.DataSources = append(made.DataSources, tfprotov6.DataSourceMetadata{TypeName: name})
	}
	for name := range p.schema.Ephemeral {
		made.EphemeralResources = append(made.EphemeralResources, tfprotov6.EphemeralResourceMetadata{TypeName: name})
	}
	return made, nil
}

func (p *provider) GetProviderSchema(context.Context, *tfprotov6.GetProviderSchemaRequest) (*tfprotov6.GetProviderSchemaResponse, error) {
	made := &tfprotov6.GetProviderSchemaResponse{
		ServerCapabilities: &tfprotov6.ServerCapabilities{GetProviderSchemaOptional: true},
	}
	var err error
	if made.Provider, err = schemaOf(p.schema.Provider); err != nil {
		return nil, err
	}
	if made.ResourceSchemas, err = schemasOf(p.schema.Resources); err != nil {
		return nil, err
	}
	if made.DataSourceSchemas, err = schemasOf(p.schema.DataSources); err != nil {
		return nil, err
	}
	made.EphemeralResourceSchemas, err = schemasOf(p.schema.Ephemeral)
	return made, err
}

func (p *provider) ValidateProviderConfig(_ context.Context, request *tfprotov6.ValidateProviderConfigRequest) (*tfprotov6.ValidateProviderConfigResponse, error) {
	return &tfprotov6.ValidateProviderConfigResponse{PreparedConfig: request.Config}, nil
}

// ConfigureProvider tells a stand-in the default tags; without one there is nothing to configure.
func (p *provider) ConfigureProvider(_ context.Context, request *tfprotov6.ConfigureProviderRequest) (*tfprotov6.ConfigureProviderResponse, error) {
	if os.Getenv(standInVariable) == "" {
		return &tfprotov6.ConfigureProviderResponse{}, nil
	}
	schema, err := schemaOf(p.schema.Provider)
	if err != nil {
		return nil, err
	}
	value, err := request.Config.Unmarshal(schema.ValueType())
	if err != nil {
		return nil, err
	}
	_, err = ask("configure", "provider", map[string]tftypes.Value{"config": value})
	return &tfprotov6.ConfigureProviderResponse{}, err
}

func (p *provider) StopProvider(context.Context, *tfprotov6.StopProviderRequest) (*tfprotov6.StopProviderResponse, error) {
	return &tfprotov6.StopProviderResponse{}, nil
}

// ValidateResourceConfig finds attributes that only the provider sets; OpenTofu leaves it to us.
func (p *provider) ValidateResourceConfig(_ context.Context, request *tfprotov6.ValidateResourceConfigRequest) (*tfprotov6.ValidateResourceConfigResponse, error) {
	known := p.schema.Resources[request.TypeName]
	schema, err := schemaOf(known)
	if err != nil {
		return nil, err
	}
	config, err := request.Config.Unmarshal(schema.ValueType())
	if err != nil {
		return nil, err
	}
	values := map[string]tftypes.Value{}
	if err := config.As(&values); err != nil {
		return nil, err
	}
	made := &tfprotov6.ValidateResourceConfigResponse{}
	for name, one := range known.Attributes {
		if !one.Optional && !one.Required && !values[name].IsNull() {
			made.Diagnostics = append(made.Diagnostics, readOnly(name))
		}
	}
	return made, nil
}

func readOnly(name string) *tfprotov6.Diagnostic {
	return &tfprotov6.Diagnostic{
		Severity:  tfprotov6.DiagnosticSeverityError,
		Summary:   "Read-only attribute",
		Detail:    name + " is set by the provider.",
		Attribute: tftypes.NewAttributePath().WithAttributeName(name),
	}
}

func (p *provider) ValidateDataResourceConfig(context.Context, *tfprotov6.ValidateDataResourceConfigRequest) (*tfprotov6.ValidateDataResourceConfigResponse, error) {
	return &tfprotov6.ValidateDataResourceConfigResponse{}, nil
}

func (p *provider) ValidateEphemeralResourceConfig(context.Context, *tfprotov6.ValidateEphemeralResourceConfigRequest) (*tfprotov6.ValidateEphemeralResourceConfigResponse, error) {
	return &tfprotov6.ValidateEphemeralResourceConfigResponse{}, nil
}

// UpgradeResourceState reads a mocked resource's state back, when a test ends and it is destroyed.
func (p *provider) UpgradeResourceState(_ context.Context, request *tfprotov6.UpgradeResourceStateRequest) (*tfprotov6.UpgradeResourceStateResponse, error) {
	schema, err := schemaOf(p.schema.Resources[request.TypeName])
	if err != nil {
		return nil, err
	}
	value, err := request.RawState.Unmarshal(schema.ValueType())
	if err != nil {
		return nil, err
	}
	state, err := tfprotov6.NewDynamicValue(schema.ValueType(), value)
	return &tfprotov6.UpgradeResourceStateResponse{UpgradedState: &state}, err
}
