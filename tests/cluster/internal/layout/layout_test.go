package layout

import (
	"net/netip"
	"path/filepath"
	"testing"
)

func TestOnlyNamesThatAreSafeInPathsAreTaken(t *testing.T) {
	t.Setenv(CacheVariable, t.TempDir())
	cases := map[string]bool{
		"easel": true, "smoke-1": true,
		"": false, "..": false, "a/b": false, "Easel": false, "1st": false, "a b": false,
		"a2345678901234567890123456789012": false,
	}
	for name, want := range cases {
		if _, err := Named(name); (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestTheCacheDirectoryCanBeReplaced(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(CacheVariable, dir)
	cluster, err := Named("easel")
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "clusters", "easel", "kubeconfig"); cluster.Kubeconfig() != want {
		t.Errorf("kubeconfig is %s, want %s", cluster.Kubeconfig(), want)
	}
}

func TestNothingOfTwoClustersOverlaps(t *testing.T) {
	names := map[string]Slot{}
	var networks []netip.Prefix
	for slot := Slot(0); slot < Slots; slot++ {
		for _, network := range []netip.Prefix{slot.NodeNetwork(), slot.ServiceNetwork()} {
			if !network.Addr().IsPrivate() {
				t.Errorf("slot %d: %s is not a private network", slot, network)
			}
			for _, other := range append(networks, netip.MustParsePrefix(PodCIDR)) {
				if network.Overlaps(other) {
					t.Errorf("slot %d: %s overlaps %s", slot, network, other)
				}
			}
			networks = append(networks, network)
		}
		for _, name := range []string{slot.Bridge(), slot.Veth(1), slot.Veth(MaxNodes), slot.Cgroup(1)} {
			if other, taken := names[name]; taken {
				t.Errorf("slots %d and %d both have %s", slot, other, name)
			}
			names[name] = slot
		}
		// IFNAMSIZ of the kernel, with the closing zero.
		if longest := slot.Veth(MaxNodes); len(longest) > 15 {
			t.Errorf("%s is too long for a link", longest)
		}
	}
}

func TestNodesAreInTheirNetworks(t *testing.T) {
	slot := Slot(3)
	for node := 1; node <= MaxNodes; node++ {
		if !slot.NodeNetwork().Contains(slot.Node(node)) || slot.Node(node) == slot.Host() {
			t.Errorf("node %d is at %s", node, slot.Node(node))
		}
		if !netip.MustParsePrefix(PodCIDR).Overlaps(NodePods(node)) {
			t.Errorf("pods of node %d are in %s", node, NodePods(node))
		}
	}
}
