// Package component holds the parts of Kubernetes this program can run as, each under its own name.
//
// One binary stands in for all of them, as its text pages are then shared and the modules are compiled once. A part is
// chosen by the program's first argument or by the name it was started under.
package component

import (
	"context"
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics of every part
	_ "k8s.io/component-base/metrics/prometheus/version"  // build metrics of every part
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"easel.dev/tests/cluster/internal/config"
)

var mains = map[string]func() int{
	config.Etcd:              func() int { etcdmain.Main(os.Args); return 0 },
	config.APIServer:         func() int { return cli.Run(apiserver.NewAPIServerCommand()) },
	config.ControllerManager: func() int { return cli.Run(manager.NewControllerManagerCommand()) },
	config.Scheduler:         func() int { return cli.Run(scheduler.NewSchedulerCommand()) },
	config.Kubelet:           func() int { return cli.Run(kubelet.NewKubeletCommand(context.Background())) },
	config.Proxy:             func() int { return cli.Run(proxy.NewProxyCommand()) },
	config.Kubectl:           kubectl,
	config.CoreDNS:           coreDNS,
}

// Known says whether this program can run as the part `name`.
func Known(name string) bool {
	_, known := mains[name]
	return known
}

// Run becomes the part `name`, with os.Args[0] as its name and the rest as its arguments, and returns its exit status.
func Run(name string) int {
	return mains[name]()
}

func kubectl() int {
	command := cmd.NewDefaultKubectlCommand()
	if err := cli.RunNoErrOutput(command); err != nil {
		// Pretty-prints the error and exits with the status kubectl documents.
		util.CheckErr(err)
	}
	return 0
}
