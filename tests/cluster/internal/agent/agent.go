// Package agent is the process of a node that does what a cloud or a vendor does elsewhere: volumes and GPUs.
package agent

import (
	"context"
	"flag"
	"fmt"
	"sync"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"easel.dev/tests/cluster/internal/config"
	"easel.dev/tests/cluster/internal/gpu"
	"easel.dev/tests/cluster/internal/storage"
)

// Run serves until the context ends.
func Run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(config.NodeAgent, flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the API server")
	gpus := flags.String("gpus-file", "", "file with the number of GPUs to advertise")
	volumes := flags.String("volumes", "", "directory of all nodes' volumes")
	provision := flags.Bool("provision", false, "make the volumes of all nodes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { gpu.Run(ctx, *gpus) })
	if !*provision {
		return nil
	}
	rest, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return fmt.Errorf("read %s: %w", *kubeconfig, err)
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return fmt.Errorf("make the client: %w", err)
	}
	parts.Go(func() { storage.Run(ctx, client, *volumes) })
	return nil
}
