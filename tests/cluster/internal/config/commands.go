package config

import (
	"path/filepath"
	"strconv"

	"easel.dev/tests/cluster/internal/layout"
	"easel.dev/tests/cluster/internal/pki"
)

// ContainerdSocket is where a node's containerd listens, as seen inside the node.
const ContainerdSocket = "/run/containerd/containerd.sock"

// Command is one process of a node. Without a program it is this program under that name.
type Command struct {
	Name    string   `json:"name"`
	Program string   `json:"program,omitempty"`
	Args    []string `json:"args"`
	// Once: it ends by itself, and the next stage waits until it has succeeded.
	Once bool `json:"once,omitempty"`
}

// Stage is started when everything it waits for answers: `unix:PATH` accepts a connection, `https://…` answers 200.
type Stage struct {
	WaitFor  []string  `json:"waitFor,omitempty"`
	Commands []Command `json:"commands"`
}

// Stages is what a node starts and in which order. The control plane is on the first node.
func (n Node) Stages() []Stage {
	ready := n.Slot.APIServer() + "/readyz"
	containerd := "unix:" + ContainerdSocket
	first := []Command{masquerade(), n.containerd()}
	last := []Command{n.kubelet(), n.proxy(), n.agent()}
	if n.Number == 1 {
		first = append([]Command{n.etcd(), n.apiServer()}, first...)
		last = append([]Command{last[0], n.controllerManager(), n.scheduler(), n.coreDNS()}, last[1:]...)
	}
	return []Stage{
		{Commands: first},
		{WaitFor: []string{containerd}, Commands: []Command{n.importPause()}},
		{WaitFor: []string{ready}, Commands: last},
	}
}

func (n Node) etcd() Command {
	return Command{Name: Etcd, Args: []string{
		"--data-dir=" + n.Cluster.Etcd(),
		"--listen-client-urls=http://127.0.0.1:2379",
		"--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380",
		"--log-level=warn",
		// The data of a test cluster is worth no waiting for the disk.
		"--unsafe-no-fsync",
	}}
}

func (n Node) apiServer() Command {
	return Command{Name: APIServer, Args: []string{
		"--advertise-address=" + n.Slot.Node(1).String(),
		"--secure-port=6443",
		"--etcd-servers=http://127.0.0.1:2379",
		"--allow-privileged",
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--client-ca-file=" + n.certificate(pki.CA),
		"--tls-cert-file=" + n.certificate(pki.APIServer),
		"--tls-private-key-file=" + n.key(pki.APIServer),
		"--kubelet-client-certificate=" + n.certificate(pki.KubeletClient),
		"--kubelet-client-key=" + n.key(pki.KubeletClient),
		"--kubelet-certificate-authority=" + n.certificate(pki.CA),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-cluster-ip-range=" + n.Slot.ServiceNetwork().String(),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + filepath.Join(n.Cluster.PKI(), pki.ServiceAccount+".pub"),
		"--service-account-signing-key-file=" + n.key(pki.ServiceAccount),
		"--requestheader-client-ca-file=" + n.certificate(pki.FrontProxyCA),
		"--requestheader-allowed-names=" + pki.FrontProxyClient,
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + n.certificate(pki.FrontProxyClient),
		"--proxy-client-key-file=" + n.key(pki.FrontProxyClient),
		"--enable-aggregator-routing",
		"--profiling=false",
	}}
}

func (n Node) controllerManager() Command {
	return Command{Name: ControllerManager, Args: append(n.client(pki.ControllerManager),
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
		"--use-service-account-credentials",
		"--root-ca-file="+n.certificate(pki.CA),
		"--cluster-signing-cert-file="+n.certificate(pki.CA),
		"--cluster-signing-key-file="+n.key(pki.CA),
		"--service-account-private-key-file="+n.key(pki.ServiceAccount),
		// A dead node is noticed within a test's patience; the kubelet renews its lease every 10 s.
		"--node-monitor-period=2s",
		"--node-monitor-grace-period=20s",
		"--profiling=false",
	)}
}

func (n Node) scheduler() Command {
	return Command{Name: Scheduler, Args: append(n.client(pki.Scheduler),
		"--bind-address=127.0.0.1", "--leader-elect=false", "--profiling=false",
	)}
}

func (n Node) kubelet() Command {
	return Command{Name: Kubelet, Args: []string{
		"--kubeconfig=" + n.kubeconfig(pki.Kubelet(n.Name())),
		"--config=" + n.file("kubelet.yaml"),
		"--hostname-override=" + n.Name(),
		"--node-ip=" + n.Slot.Node(n.Number).String(),
		"--cert-dir=" + n.Cluster.PKI(),
	}}
}

func (n Node) proxy() Command {
	return Command{Name: Proxy, Args: []string{"--config=" + n.file("kube-proxy.yaml")}}
}

func (n Node) coreDNS() Command {
	return Command{Name: CoreDNS, Args: []string{"-conf", n.file("Corefile")}}
}

func (n Node) containerd() Command {
	return Command{Name: "containerd", Program: "containerd", Args: []string{"--config", n.file("containerd.toml")}}
}

// What pods send to anything but pods carries the node's address, which the host knows a way back to. The network plugin
// could do it, but would hide pods from pods of other nodes as well.
func masquerade() Command {
	return Command{Name: "masquerade", Program: "iptables", Once: true, Args: []string{
		"--wait", "--table", "nat", "--append", "POSTROUTING",
		"--source", layout.PodCIDR, "!", "--destination", layout.PodCIDR, "--jump", "MASQUERADE",
	}}
}

func (n Node) importPause() Command {
	return Command{Name: "import-pause", Program: "ctr", Once: true, Args: []string{
		"--address", ContainerdSocket, "--namespace", "k8s.io", "images", "import", n.Cluster.PauseArchive(),
	}}
}

// The agent advertises GPUs on every node; volumes of all nodes are made by the first, as nodes share the machine's disk.
func (n Node) agent() Command {
	return Command{Name: NodeAgent, Args: []string{
		"--kubeconfig=" + n.kubeconfig(pki.NodeAgent),
		"--gpus-file=" + n.Cluster.GPUs(),
		"--volumes=" + n.Cluster.Volumes(),
		"--provision=" + strconv.FormatBool(n.Number == 1),
	}}
}

// What lets a component call the API server, and lets the API server's callers be known to the
func (n Node) client(name string) []string {
	path := n.kubeconfig(name)
	return []string{
		"--kubeconfig=" + path,
		"--authentication-kubeconfig=" + path,
		"--authorization-kubeconfig=" + path,
		"--requestheader-client-ca-file=" + n.certificate(pki.FrontProxyCA),
	}
}

func (n Node) certificate(name string) string { return filepath.Join(n.Cluster.PKI(), name+".crt") }
func (n Node) key(name string) string         { return filepath.Join(n.Cluster.PKI(), name+".key") }
func (n Node) kubeconfig(name string) string {
	return filepath.Join(n.Cluster.PKI(), name+".kubeconfig")
}
func (n Node) file(name string) string { return filepath.Join(n.Dir().Config(), name) }
