// A provider of Terraform that knows a schema and nothing else: OpenTofu validates against it, and
// its tests mock the resources. It plans and applies only where a stand-in does the work (standin.go).
//
// The schema is the JSON file that tools/provider_schemas.py wrote, beside the executable as
// schema.json.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "schema-provider:", err)
		os.Exit(1)
	}
}

func serve() error {
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	read, err := readSchema(filepath.Join(filepath.Dir(executable), "schema.json"))
	if err != nil {
		return err
	}
	server := func() tfprotov6.ProviderServer { return &provider{schema: read} }
	return tf6server.Serve("fileflux/schema", server)
}
