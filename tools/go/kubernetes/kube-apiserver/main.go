// Kubernetes' API server as Kubernetes builds it, for tests: its own go.mod points at a work tree
// that a module's archive lacks, so it cannot be built from there.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	os.Exit(cli.Run(app.NewAPIServerCommand()))
}
