// Command easel-cluster runs a real Kubernetes on this machine for Easel's tests and its demo.
package main

import (
	"os"
	"path/filepath"

	"easel.dev/tests/cluster/internal/component"
	_ "github.com/google/go-containerregistry/pkg/v1/mutate"
	_ "github.com/google/go-containerregistry/pkg/v1/tarball"
	_ "github.com/vishvananda/netlink"
	_ "google.golang.org/grpc"
	_ "k8s.io/client-go/kubernetes"
	_ "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	_ "sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

func main() {
	if name := filepath.Base(os.Args[0]); component.Known(name) {
		os.Exit(component.Run(name))
	}
	if len(os.Args) > 1 && component.Known(os.Args[1]) {
		os.Args = os.Args[1:]
		os.Exit(component.Run(os.Args[0]))
	}
}
