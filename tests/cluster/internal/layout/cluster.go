// Package layout says where everything of a cluster is: its files, addresses, links and cgroups. It only computes.
package layout

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// DefaultName is the cluster that the demo and the tests use.
const DefaultName = "easel"

// CacheVariable names the environment variable that replaces the cache directory.
const CacheVariable = "EASEL_CACHE_DIR"

var validName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)

// Cluster is one cluster's name and its directory, which holds all its state.
type Cluster struct {
	Name string
	Dir  string
}

// ClustersDir is the directory that holds one directory per cluster.
func ClustersDir() (string, error) {
	if dir := os.Getenv(CacheVariable); dir != "" {
		absolute, err := filepath.Abs(dir)
		if err != nil {
			return "", fmt.Errorf("%s=%s: %w", CacheVariable, dir, err)
		}
		return filepath.Join(absolute, "clusters"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory (set HOME or %s): %w", CacheVariable, err)
	}
	return filepath.Join(home, ".cache", "easel", "clusters"), nil
}

// Named is the cluster of that name, whether it exists or not.
func Named(name string) (Cluster, error) {
	if !validName.MatchString(name) {
		return Cluster{}, fmt.Errorf("cluster name %q: want a lower-case letter, then up to 30 of a-z, 0-9 and -", name)
	}
	clusters, err := ClustersDir()
	if err != nil {
		return Cluster{}, err
	}
	return Cluster{Name: name, Dir: filepath.Join(clusters, name)}, nil
}

// Kubeconfig is the administrator's kubeconfig; its path never changes for a name.
func (c Cluster) Kubeconfig() string { return filepath.Join(c.Dir, "kubeconfig") }

// PKI is the directory of keys, certificates and the components' kubeconfigs.
func (c Cluster) PKI() string { return filepath.Join(c.Dir, "pki") }

// Etcd is etcd's data directory.
func (c Cluster) Etcd() string { return filepath.Join(c.Dir, "etcd") }

// Volumes holds a directory per node with the volumes that live there.
func (c Cluster) Volumes() string { return filepath.Join(c.Dir, "volumes") }

// Record describes the cluster for later commands.
func (c Cluster) Record() string { return filepath.Join(c.Dir, "cluster.json") }

// Ready exists once the cluster has come up; from then on a component that ends is started again.
func (c Cluster) Ready() string { return filepath.Join(c.Dir, "ready") }

// GPUs holds the number of GPUs each node advertises.
func (c Cluster) GPUs() string { return filepath.Join(c.Dir, "gpus") }

// PauseArchive is the image of the pods' sandbox container.
func (c Cluster) PauseArchive() string { return filepath.Join(c.Dir, "pause.tar") }

// Logs holds a file per node and component.
func (c Cluster) Logs() string { return filepath.Join(c.Dir, "logs") }

// Log is where a component of a node writes.
func (c Cluster) Log(node, component string) string {
	return filepath.Join(c.Logs(), node+"-"+component+".log")
}

// Node is the directory of one node.
func (c Cluster) Node(node string) NodeDir {
	return NodeDir(filepath.Join(c.Dir, "nodes", node))
}

// NodeDir is the directory of one node; all its state is below it.
type NodeDir string

// Name is the node's name.
func (d NodeDir) Name() string { return filepath.Base(string(d)) }

// Spec tells the node's first process what to do.
func (d NodeDir) Spec() string { return d.join("node.json") }

// Process identifies the node's first process.
func (d NodeDir) Process() string { return d.join("process.json") }

// Failure is written by a node that gave up starting.
func (d NodeDir) Failure() string { return d.join("failure.json") }

// Kubelet is the kubelet's directory; the node sees it as /var/lib/kubelet.
func (d NodeDir) Kubelet() string { return d.join("kubelet") }

// PodLogs is where the kubelet keeps the logs of containers.
func (d NodeDir) PodLogs() string { return d.join("pod-logs") }

// Containerd is containerd's directory: images and snapshots.
func (d NodeDir) Containerd() string { return d.join("containerd") }

// Config is the directory of the components' configuration files.
func (d NodeDir) Config() string { return d.join("config") }

func (d NodeDir) join(name string) string { return filepath.Join(string(d), name) }
