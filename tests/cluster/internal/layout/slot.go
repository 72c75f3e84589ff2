package layout

import (
	"fmt"
	"net/netip"
)

// Slots is how many clusters fit on one machine: each takes a /24 of 10.88.0.0/16 and a /16 from 10.96.0.0 on.
const Slots = 32

// MaxNodes is bounded by nothing but sense: every node is a kubelet, a containerd and a proxy.
const MaxNodes = 16

// PodCIDR is the address range of pods. It is seen inside the nodes only, so that every cluster uses the same.
const PodCIDR = "10.244.0.0/16"

// ClusterDomain is the DNS domain of Services.
const ClusterDomain = "cluster.local"

// Slot numbers the clusters of a machine; every address and every name in the kernel follows from it.
type Slot int

// Bridge is the host's end of the network between nodes. Its alias tells whose it is.
func (s Slot) Bridge() string { return fmt.Sprintf("easel%d", int(s)) }

// Veth is the host's end of a node's cable; nodes count from 1.
func (s Slot) Veth(node int) string { return fmt.Sprintf("%sn%d", s.Bridge(), node) }

// Cgroup is the parent of all cgroups of a node's pods, in every hierarchy.
func (s Slot) Cgroup(node int) string { return fmt.Sprintf("%s-%s", s.Bridge(), NodeName(node)) }

// Host is the host's address as the nodes and pods see it.
func (s Slot) Host() netip.Addr { return netip.AddrFrom4([4]byte{10, 88, byte(s), 1}) }

// Node is the address of a node.
func (s Slot) Node(node int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 88, byte(s), byte(node + 1)})
}

// NodeNetwork is the network that the host and the nodes share.
func (s Slot) NodeNetwork() netip.Prefix { return netip.PrefixFrom(s.Host(), 24).Masked() }

// ServiceNetwork is the range of cluster addresses, reachable from the host as well.
func (s Slot) ServiceNetwork() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(96 + s), 0, 0}), 16)
}

// APIService is the cluster address of the API server, the first of the range.
func (s Slot) APIService() netip.Addr { return s.ServiceNetwork().Addr().Next() }

// APIServer is the API server's URL, the same from the host, the nodes and the pods.
func (s Slot) APIServer() string { return fmt.Sprintf("https://%s:6443", s.Node(1)) }

// NodeName is the name of a node; nodes count from 1.
func NodeName(node int) string { return fmt.Sprintf("node%d", node) }

// NodePods is the address range of a node's pods.
func NodePods(node int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, byte(node), 0}), 24)
}
