package node

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"easel.dev/tests/cluster/internal/layout"
)

// masked are the directories that components write to under fixed names. The node has its own, in memory, so that nodes do
// not meet there and the host keeps nothing. The large and lasting state is in the cluster's directory.
var masked = []string{"/run", "/var/lib", "/var/log"}

// kubeletDir is where the kubelet looks for device plugins, whatever its root directory is.
const kubeletDir = "/var/lib/kubelet"

// mount gives the node, whose mount namespace is a copy of the host's, its own view.
func mount(cluster layout.Cluster, dir layout.NodeDir) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("separate the mounts from the host's: %w", err)
	}
	state, err := os.Open(cluster.Dir)
	if err != nil {
		return fmt.Errorf("open the cluster's directory: %w", err)
	}
	defer func() { _ = state.Close() }()
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, target := range masked {
		if err := unix.Mount("easel", target, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return fmt.Errorf("mount %s: %w", target, err)
		}
	}
	if err := restore(state, cluster.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir.Kubelet(), 0o755); err != nil {
		return fmt.Errorf("make the kubelet's directory: %w", err)
	}
	return bind(dir.Kubelet(), kubeletDir)
}

// restore puts the cluster's directory back if it is below a masked one.
func restore(state *os.File, path string) error {
	before, err := state.Stat()
	if err != nil {
		return fmt.Errorf("look at the cluster's directory: %w", err)
	}
	if now, err := os.Stat(path); err == nil && os.SameFile(before, now) {
		return nil
	}
	return bind(fmt.Sprintf("/proc/self/fd/%d", state.Fd()), path)
}

func bind(source, target string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", target, err)
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", source, target, err)
	}
	return nil
}
