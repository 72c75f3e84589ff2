package cluster

import (
	"context"
	"errors"
	"fmt"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"easel.dev/tests/cluster/internal/gpu"
	"easel.dev/tests/cluster/internal/layout"
)

// check says what is still missing, or nil. A *GaveUp ends the waiting.
type check func(context.Context, kubernetes.Interface) error

// waitFor asks until nothing is missing any more. On time-out the error is the last that was missing.
func waitFor(ctx context.Context, client kubernetes.Interface, state check) error {
	for {
		missing := state(ctx, client)
		if missing == nil {
			return nil
		}
		var gaveUp *GaveUp
		if errors.As(missing, &gaveUp) {
			return missing
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("%w: %w", err, missing)
		}
	}
}

// watchingNodes adds that the nodes live, so that a start that failed is not waited for.
func watchingNodes(cluster layout.Cluster, state check) check {
	return func(ctx context.Context, client kubernetes.Interface) error {
		missing := state(ctx, client)
		if missing == nil {
			return nil
		}
		if err := failure(cluster); err != nil {
			return err
		}
		return missing
	}
}

func allOf(checks ...check) check {
	return func(ctx context.Context, client kubernetes.Interface) error {
		for _, state := range checks {
			if err := state(ctx, client); err != nil {
				return err
			}
		}
		return nil
	}
}

func apiServerReady(ctx context.Context, client kubernetes.Interface) error {
	if err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error(); err != nil {
		return fmt.Errorf("the API server is not ready: %w", err)
	}
	return nil
}

// Pods are refused until the controller manager has made the account that they run as by default.
func defaultAccountExists(ctx context.Context, client kubernetes.Interface) error {
	_, err := client.CoreV1().ServiceAccounts(core.NamespaceDefault).Get(ctx, "default", meta.GetOptions{})
	if err != nil {
		return fmt.Errorf("the default service account is missing: %w", err)
	}
	return nil
}

func nodesReady(count int) check {
	return func(ctx context.Context, client kubernetes.Interface) error {
		nodes, err := client.CoreV1().Nodes().List(ctx, meta.ListOptions{})
		if err != nil {
			return fmt.Errorf("list nodes: %w", err)
		}
		ready := 0
		for i := range nodes.Items {
			if reason := notReady(&nodes.Items[i]); reason == "" {
				ready++
			} else {
				err = errors.New(reason)
			}
		}
		if ready < count {
			return errors.Join(fmt.Errorf("%d of %d nodes are ready", ready, count), err)
		}
		return nil
	}
}

// notReady is why a node takes no pods, or empty.
func notReady(node *core.Node) string {
	for _, taint := range node.Spec.Taints {
		if taint.Key == core.TaintNodeNotReady || taint.Key == core.TaintNodeUnreachable {
			return node.Name + " has the taint " + taint.Key
		}
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == core.NodeReady {
			if condition.Status == core.ConditionTrue {
				return ""
			}
			return node.Name + ": " + condition.Message
		}
	}
	return node.Name + " has not reported yet"
}

func gpusAdvertised(count int) check {
	return func(ctx context.Context, client kubernetes.Interface) error {
		nodes, err := client.CoreV1().Nodes().List(ctx, meta.ListOptions{})
		if err != nil {
			return fmt.Errorf("list nodes: %w", err)
		}
		for _, node := range nodes.Items {
			if have := gpusOf(&node); have != int64(count) {
				return fmt.Errorf("%s advertises %d GPUs, not %d", node.Name, have, count)
			}
		}
		return nil
	}
}

func gpusOf(node *core.Node) int64 {
	quantity := node.Status.Allocatable[gpu.Resource]
	return quantity.Value()
}
