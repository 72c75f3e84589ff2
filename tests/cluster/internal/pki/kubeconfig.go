package pki

import (
	"encoding/base64"
	"fmt"
)

// Kubeconfig renders a kubeconfig that needs no other file: one cluster, one user, one context named after the cluster.
func Kubeconfig(name, server string, authority []byte, client Pair) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: %[1]s
clusters:
- name: %[1]s
  cluster:
    server: %[2]s
    certificate-authority-data: %[3]s
users:
- name: %[1]s
  user:
    client-certificate-data: %[4]s
    client-key-data: %[5]s
contexts:
- name: %[1]s
  context:
    cluster: %[1]s
    user: %[1]s
`, name, server, inline(authority), inline(client.Certificate), inline(client.Key))
}

func inline(pem []byte) string { return base64.StdEncoding.EncodeToString(pem) }
