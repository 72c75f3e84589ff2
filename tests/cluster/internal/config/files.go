// Package config renders what the components are started with: their files and their arguments. It starts nothing.
package config

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"text/template"

	"easel.dev/tests/cluster/internal/layout"
)

// PauseImage is the image of the pods' sandbox container, made by this program.
const PauseImage = "localhost/easel/pause:v1"

//go:embed templates
var templates embed.FS

var parsed = template.Must(template.ParseFS(templates, "templates/*"))

// files maps a template to its place in the node's configuration directory.
var files = map[string]string{
	"containerd.toml": "containerd.toml",
	"cni.conflist":    "cni/10-pods.conflist",
	"kubelet.yaml":    "kubelet.yaml",
	"kube-proxy.yaml": "kube-proxy.yaml",
	"Corefile":        "Corefile",
	"resolv.conf":     "resolv.conf",
}

// Node is everything that the configuration of one node depends on.
type Node struct {
	Cluster    layout.Cluster
	Slot       layout.Slot
	Number     int
	Nodes      int
	CNIPlugins string
}

// view is what the templates see.
type view struct {
	Node           layout.NodeDir
	NodeName       string
	PKI            string
	Cgroup         string
	PauseImage     string
	CNIPlugins     string
	PodCIDR        string
	ClusterPodCIDR string
	ClusterDomain  string
	DNS            string
}

// Name is the node's name.
func (n Node) Name() string { return layout.NodeName(n.Number) }

// Dir is the node's directory.
func (n Node) Dir() layout.NodeDir { return n.Cluster.Node(n.Name()) }

// Files renders the node's configuration files by their path below its configuration directory.
func (n Node) Files() (map[string][]byte, error) {
	rendered := make(map[string][]byte, len(files))
	for source, target := range files {
		var content bytes.Buffer
		if err := parsed.ExecuteTemplate(&content, source, n.view()); err != nil {
			return nil, fmt.Errorf("render %s: %w", source, err)
		}
		rendered[target] = content.Bytes()
	}
	return rendered, nil
}

// Write renders the node's configuration files into its configuration directory.
func (n Node) Write() error {
	rendered, err := n.Files()
	if err != nil {
		return err
	}
	for name, content := range rendered {
		path := filepath.Join(n.Dir().Config(), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make the directory of %s: %w", name, err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

func (n Node) view() view {
	return view{
		Node:           n.Dir(),
		NodeName:       n.Name(),
		PKI:            n.Cluster.PKI(),
		Cgroup:         n.Slot.Cgroup(n.Number),
		PauseImage:     PauseImage,
		CNIPlugins:     n.CNIPlugins,
		PodCIDR:        layout.NodePods(n.Number).String(),
		ClusterPodCIDR: layout.PodCIDR,
		ClusterDomain:  layout.ClusterDomain,
		DNS:            n.Slot.Node(1).String(),
	}
}
