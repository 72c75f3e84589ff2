package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"easel.dev/tests/cluster/internal/layout"
)

// Names of the files in the PKI directory; a certificate NAME is NAME.crt with NAME.key.
const (
	CA               = "ca"
	FrontProxyCA     = "front-proxy-ca"
	FrontProxyClient = "front-proxy-client"
	APIServer        = "apiserver"
	KubeletClient    = "apiserver-kubelet-client"
	ServiceAccount   = "service-account"
)

// Clients with a certificate and a kubeconfig NAME.kubeconfig.
const (
	Admin             = "admin"
	ControllerManager = "controller-manager"
	Scheduler         = "scheduler"
	Proxy             = "proxy"
	CoreDNS           = "coredns"
	NodeAgent         = "node-agent"
)

// administrators may do everything. CoreDNS and the node agent are not what is tested here, so that they need no roles.
const administrators = "system:masters"

// Kubelet is the name of a kubelet's client certificate and kubeconfig.
func Kubelet(node string) string { return "kubelet-" + node }

// KubeletServer is the name of a kubelet's serving certificate.
func KubeletServer(node string) string { return "kubelet-server-" + node }

// Write makes everything for a cluster of `nodes` nodes in its PKI directory, and the administrator's kubeconfig.
func Write(cluster layout.Cluster, slot layout.Slot, nodes int) error {
	dir := cluster.PKI()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of keys: %w", err)
	}
	authority, err := writeAuthority(dir, CA)
	if err != nil {
		return err
	}
	frontProxy, err := writeAuthority(dir, FrontProxyCA)
	if err != nil {
		return err
	}
	if err := issue(dir, FrontProxyClient, frontProxy, Subject{CommonName: FrontProxyClient}); err != nil {
		return err
	}
	for name, subject := range servers(slot, nodes) {
		if err := issue(dir, name, authority, subject); err != nil {
			return err
		}
	}
	for name, subject := range clients(nodes) {
		pair, err := authority.Issue(subject)
		if err != nil {
			return err
		}
		config := Kubeconfig(cluster.Name, slot.APIServer(), authority.Certificate, pair)
		if err := writeFile(dir, name+".kubeconfig", config); err != nil {
			return err
		}
		if name == Admin {
			if err := os.WriteFile(cluster.Kubeconfig(), config, 0o600); err != nil {
				return fmt.Errorf("write the kubeconfig: %w", err)
			}
		}
	}
	return writeServiceAccountKey(dir)
}

func servers(slot layout.Slot, nodes int) map[string]Subject {
	subjects := map[string]Subject{
		APIServer: {
			CommonName: "kube-apiserver",
			DNSNames: []string{
				"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
				"kubernetes.default.svc." + layout.ClusterDomain,
			},
			Addresses: []net.IP{net.IPv4(127, 0, 0, 1), slot.APIService().AsSlice(), slot.Node(1).AsSlice()},
		},
		KubeletClient: {CommonName: "kube-apiserver-kubelet-client", Organizations: []string{administrators}},
	}
	for node := 1; node <= nodes; node++ {
		name := layout.NodeName(node)
		subjects[KubeletServer(name)] = Subject{
			CommonName: name, DNSNames: []string{name}, Addresses: []net.IP{slot.Node(node).AsSlice()},
		}
	}
	return subjects
}

func clients(nodes int) map[string]Subject {
	subjects := map[string]Subject{
		Admin:             {CommonName: "kubernetes-admin", Organizations: []string{administrators}},
		ControllerManager: {CommonName: "system:kube-controller-manager"},
		Scheduler:         {CommonName: "system:kube-scheduler"},
		Proxy:             {CommonName: "system:kube-proxy"},
		CoreDNS:           {CommonName: "easel:coredns", Organizations: []string{administrators}},
		NodeAgent:         {CommonName: "easel:node-agent", Organizations: []string{administrators}},
	}
	for node := 1; node <= nodes; node++ {
		name := layout.NodeName(node)
		subjects[Kubelet(name)] = Subject{CommonName: "system:node:" + name, Organizations: []string{"system:nodes"}}
	}
	return subjects
}

func writeAuthority(dir, name string) (*Authority, error) {
	authority, err := NewAuthority("easel-" + name)
	if err != nil {
		return nil, err
	}
	return authority, writePair(dir, name, authority.Pair)
}

func issue(dir, name string, authority *Authority, subject Subject) error {
	pair, err := authority.Issue(subject)
	if err != nil {
		return err
	}
	return writePair(dir, name, pair)
}

// The key that signs the tokens of service accounts, and its public half, which is all that checks them.
func writeServiceAccountKey(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the service account key: %w", err)
	}
	private, err := encodeKey(key)
	if err != nil {
		return fmt.Errorf("encode the service account key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return fmt.Errorf("encode the service account key's public half: %w", err)
	}
	if err := writeFile(dir, ServiceAccount+".key", private); err != nil {
		return err
	}
	return writeFile(dir, ServiceAccount+".pub", encode("PUBLIC KEY", public))
}

func writePair(dir, name string, pair Pair) error {
	if err := writeFile(dir, name+".crt", pair.Certificate); err != nil {
		return err
	}
	return writeFile(dir, name+".key", pair.Key)
}

func writeFile(dir, name string, content []byte) error {
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
