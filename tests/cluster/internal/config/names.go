package config

// Names under which this program is a part of Kubernetes: its first argument, or what it is started as.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Kubelet           = "kubelet"
	Proxy             = "kube-proxy"
	Kubectl           = "kubectl"
	CoreDNS           = "coredns"
)

// NodeAgent is the name under which this program makes volumes and advertises GPUs.
const NodeAgent = "node-agent"
