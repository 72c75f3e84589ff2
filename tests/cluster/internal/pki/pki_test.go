package pki

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"easel.dev/tests/cluster/internal/layout"
)

func TestEveryCertificateIsSignedForItsPurpose(t *testing.T) {
	cluster := written(t, 2)
	cases := []struct {
		name, authority, host string
		usage                 x509.ExtKeyUsage
	}{
		{"apiserver by its Service's name", CA, "kubernetes.default.svc", x509.ExtKeyUsageServerAuth},
		{"apiserver by its Service's address", CA, "10.98.0.1", x509.ExtKeyUsageServerAuth},
		{"apiserver by its node's address", CA, "10.88.2.2", x509.ExtKeyUsageServerAuth},
		{KubeletServer("node2"), CA, "10.88.2.3", x509.ExtKeyUsageServerAuth},
		{KubeletClient, CA, "", x509.ExtKeyUsageClientAuth},
		{FrontProxyClient, FrontProxyCA, "", x509.ExtKeyUsageClientAuth},
	}
	for _, test := range cases {
		file := test.name
		if test.host != "" && file != KubeletServer("node2") {
			file = APIServer
		}
		_, err := certificate(t, cluster, file).Verify(x509.VerifyOptions{
			Roots: pool(t, cluster, test.authority), DNSName: test.host, KeyUsages: []x509.ExtKeyUsage{test.usage},
		})
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestCertificatesOfTheOtherAuthorityAreRefused(t *testing.T) {
	cluster := written(t, 1)
	_, err := certificate(t, cluster, FrontProxyClient).Verify(x509.VerifyOptions{
		Roots: pool(t, cluster, CA), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err == nil {
		t.Error("a front proxy's certificate passes for a client's, and could then name any user")
	}
}

func TestKubeconfigsNameTheServerAndTheUser(t *testing.T) {
	cluster := written(t, 1)
	cases := []struct{ file, user, group string }{
		{cluster.Kubeconfig(), "kubernetes-admin", "system:masters"},
		{filepath.Join(cluster.PKI(), Scheduler+".kubeconfig"), "system:kube-scheduler", ""},
		{filepath.Join(cluster.PKI(), Kubelet("node1")+".kubeconfig"), "system:node:node1", "system:nodes"},
	}
	for _, test := range cases {
		config, err := clientcmd.BuildConfigFromFlags("", test.file)
		if err != nil {
			t.Fatalf("%s: %v", test.file, err)
		}
		if config.Host != "https://10.88.2.2:6443" {
			t.Errorf("%s: server is %s", test.file, config.Host)
		}
		pair, err := tls.X509KeyPair(config.CertData, config.KeyData)
		if err != nil {
			t.Fatalf("%s: key and certificate do not fit: %v", test.file, err)
		}
		subject := pair.Leaf.Subject
		if subject.CommonName != test.user || (test.group != "" && subject.Organization[0] != test.group) {
			t.Errorf("%s: user is %s", test.file, subject)
		}
	}
}

func TestServiceAccountKeysArePairedAndPrivate(t *testing.T) {
	cluster := written(t, 1)
	private, err := x509.ParseECPrivateKey(block(t, filepath.Join(cluster.PKI(), ServiceAccount+".key")))
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(block(t, filepath.Join(cluster.PKI(), ServiceAccount+".pub")))
	if err != nil {
		t.Fatal(err)
	}
	if !private.PublicKey.Equal(public.(*ecdsa.PublicKey)) {
		t.Error("tokens would be signed with one key and checked with another")
	}
	entries, err := os.ReadDir(cluster.PKI())
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %s", entry.Name(), info.Mode())
		}
	}
}

func TestCertificatesAreValidNowAndNotForEver(t *testing.T) {
	authority, err := NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if now.Before(authority.certificate.NotBefore) || now.Add(2*validity).Before(authority.certificate.NotAfter) {
		t.Errorf("valid from %s to %s", authority.certificate.NotBefore, authority.certificate.NotAfter)
	}
}

func written(t *testing.T, nodes int) layout.Cluster {
	t.Helper()
	cluster := layout.Cluster{Name: "test", Dir: t.TempDir()}
	if err := Write(cluster, layout.Slot(2), nodes); err != nil {
		t.Fatal(err)
	}
	return cluster
}

func certificate(t *testing.T, cluster layout.Cluster, name string) *x509.Certificate {
	t.Helper()
	parsed, err := x509.ParseCertificate(block(t, filepath.Join(cluster.PKI(), name+".crt")))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func pool(t *testing.T, cluster layout.Cluster, authority string) *x509.CertPool {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(certificate(t, cluster, authority))
	return roots
}

func block(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	decoded, _ := pem.Decode(content)
	if decoded == nil {
		t.Fatalf("%s holds no PEM", path)
	}
	return decoded.Bytes
}
