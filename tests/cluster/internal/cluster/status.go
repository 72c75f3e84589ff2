package cluster

import (
	"context"
	"fmt"
	"io"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"easel.dev/tests/cluster/internal/gpu"
	"easel.dev/tests/cluster/internal/layout"
)

// Status writes how the cluster is. It fails if the cluster does not run.
func Status(ctx context.Context, cluster layout.Cluster, to io.Writer) error {
	record, err := Running(cluster)
	if err != nil {
		return err
	}
	client, err := Client(cluster)
	if err != nil {
		return err
	}
	version, err := client.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("the cluster %s does not answer: %w", cluster.Name, err)
	}
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(to, format+"\n", args...) }
	say("cluster     %s, Kubernetes %s at %s", cluster.Name, version.GitVersion, record.Slot.APIServer())
	say("kubeconfig  %s", cluster.Kubeconfig())
	say("logs        %s", cluster.Logs())
	say("this host   is %s to pods; NodePorts are at the nodes' addresses, Services at %s",
		record.Slot.Host(), record.Slot.ServiceNetwork())
	nodes, err := client.CoreV1().Nodes().List(ctx, meta.ListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	for i := range nodes.Items {
		say("node        %s", describeNode(&nodes.Items[i]))
	}
	return describePods(ctx, client, say)
}

func describeNode(node *core.Node) string {
	state := "ready"
	if reason := notReady(node); reason != "" {
		state = "NOT READY (" + reason + ")"
	}
	address := "without an address"
	for _, candidate := range node.Status.Addresses {
		if candidate.Type == core.NodeInternalIP {
			address = candidate.Address
		}
	}
	info := node.Status.NodeInfo
	return fmt.Sprintf("%s at %s is %s, kubelet %s, %s, %d GPUs",
		node.Name, address, state, info.KubeletVersion, info.ContainerRuntimeVersion, gpusOf(node))
}

func describePods(ctx context.Context, client kubernetes.Interface, say func(string, ...any)) error {
	pods, err := client.CoreV1().Pods(core.NamespaceAll).List(ctx, meta.ListOptions{})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	waiting := 0
	for i := range pods.Items {
		if reason := podNotReady(&pods.Items[i]); reason != "" {
			waiting++
			say("not ready   %s/%s: %s", pods.Items[i].Namespace, pods.Items[i].Name, reason)
		}
	}
	say("pods        %d, %d not ready", len(pods.Items), waiting)
	return nil
}

// podNotReady is why a pod that should be ready is not, or empty.
func podNotReady(pod *core.Pod) string {
	if pod.Status.Phase == core.PodSucceeded {
		return ""
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == core.PodReady && condition.Status == core.ConditionTrue {
			return ""
		}
	}
	for _, container := range pod.Status.ContainerStatuses {
		if container.State.Waiting != nil && container.State.Waiting.Reason != "" {
			return container.State.Waiting.Reason + " " + container.State.Waiting.Message
		}
	}
	return string(pod.Status.Phase) + " " + pod.Status.Message
}

// SetGPUs makes every node advertise that many GPUs and waits until they do.
func SetGPUs(ctx context.Context, cluster layout.Cluster, count int) error {
	if _, err := Running(cluster); err != nil {
		return err
	}
	if err := gpu.WriteCount(cluster.GPUs(), count); err != nil {
		return err
	}
	client, err := Client(cluster)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerDeadline)
	defer cancel()
	return waitFor(ctx, client, gpusAdvertised(count))
}
