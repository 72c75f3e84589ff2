package config

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	proxyconfig "k8s.io/kube-proxy/config/v1alpha1"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"

	"easel.dev/tests/cluster/internal/layout"
)

func second() Node {
	return Node{
		Cluster: layout.Cluster{Name: "test", Dir: "/state/test"}, Slot: 1, Number: 2, Nodes: 2, CNIPlugins: "/usr/lib/cni",
	}
}

func TestTheKubeletReadsItsConfiguration(t *testing.T) {
	var kubelet kubeletconfig.KubeletConfiguration
	if err := yaml.UnmarshalStrict(rendered(t, "kubelet.yaml"), &kubelet); err != nil {
		t.Fatal(err)
	}
	if kubelet.CgroupRoot != "/"+second().Slot.Cgroup(2) || kubelet.ClusterDNS[0] != "10.88.1.2" {
		t.Errorf("cgroup root %s, DNS %v", kubelet.CgroupRoot, kubelet.ClusterDNS)
	}
	if *kubelet.FailCgroupV1 || *kubelet.FailSwapOn || *kubelet.Authentication.Anonymous.Enabled {
		t.Error("a switch is the wrong way round")
	}
	if kubelet.TLSCertFile != "/state/test/pki/kubelet-server-node2.crt" {
		t.Errorf("serves with %s", kubelet.TLSCertFile)
	}
}

func TestTheProxyReadsItsConfiguration(t *testing.T) {
	var proxy proxyconfig.KubeProxyConfiguration
	if err := yaml.UnmarshalStrict(rendered(t, "kube-proxy.yaml"), &proxy); err != nil {
		t.Fatal(err)
	}
	if proxy.HostnameOverride != "node2" || proxy.ClusterCIDR != layout.PodCIDR || *proxy.Conntrack.Min != 0 {
		t.Errorf("configuration is %+v", proxy)
	}
}

func TestPodsGetAddressesOfTheirNode(t *testing.T) {
	var network struct {
		Plugins []struct {
			Type string
			IPAM struct {
				Ranges [][]struct{ Subnet netip.Prefix }
			}
		}
	}
	if err := json.Unmarshal(rendered(t, "cni/10-pods.conflist"), &network); err != nil {
		t.Fatal(err)
	}
	if got := network.Plugins[0].IPAM.Ranges[0][0].Subnet; got != layout.NodePods(2) {
		t.Errorf("addresses are from %s", got)
	}
}

func TestNoPlaceInATemplateIsLeftEmpty(t *testing.T) {
	files, err := second().Files()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		for _, sign := range []string{"<no value>", `""`, "//ca", "= \"\""} {
			if strings.Contains(string(content), sign) {
				t.Errorf("%s holds %q:\n%s", name, sign, content)
			}
		}
	}
	containerd := string(files["containerd.toml"])
	for _, want := range []string{"/state/test/nodes/node2/containerd", PauseImage, "restrict_oom_score_adj = true"} {
		if !strings.Contains(containerd, want) {
			t.Errorf("containerd.toml lacks %s", want)
		}
	}
}

func TestOnlyTheFirstNodeRunsTheControlPlane(t *testing.T) {
	first := second()
	first.Number = 1
	cases := []struct {
		node Node
		want []string
	}{
		{first, []string{
			"containerd", "coredns", "etcd", "import-pause", "kube-apiserver", "kube-controller-manager", "kube-proxy",
			"kube-scheduler", "kubelet", "masquerade", "node-agent",
		}},
		{second(), []string{"containerd", "import-pause", "kube-proxy", "kubelet", "masquerade", "node-agent"}},
	}
	for _, test := range cases {
		if got := commandNames(test.node); !slices.Equal(got, test.want) {
			t.Errorf("%s runs %v", test.node.Name(), got)
		}
	}
}

func TestOneNodeMakesTheVolumes(t *testing.T) {
	node := second()
	for number, want := range map[int]string{1: "--provision=true", 2: "--provision=false"} {
		node.Number = number
		if args := node.agent().Args; !slices.Contains(args, want) {
			t.Errorf("node %d: %v", number, args)
		}
	}
}

func rendered(t *testing.T, name string) []byte {
	t.Helper()
	files, err := second().Files()
	if err != nil {
		t.Fatal(err)
	}
	if files[name] == nil {
		t.Fatalf("%s is not rendered", name)
	}
	return files[name]
}

func commandNames(node Node) []string {
	var names []string
	for _, stage := range node.Stages() {
		for _, command := range stage.Commands {
			names = append(names, command.Name)
		}
	}
	slices.Sort(names)
	return names
}
