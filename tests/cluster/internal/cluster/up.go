package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"easel.dev/tests/cluster/internal/config"
	"easel.dev/tests/cluster/internal/gpu"
	"easel.dev/tests/cluster/internal/layout"
	"easel.dev/tests/cluster/internal/node"
	"easel.dev/tests/cluster/internal/pki"
	"easel.dev/tests/cluster/internal/storage"
)

// startDeadline is far above the 10 s that a start takes, for machines that are busy with something else.
const startDeadline = 3 * time.Minute

// answerDeadline is how long a running cluster may take to answer before it counts as dead.
const answerDeadline = 20 * time.Second

// Options of a start.
type Options struct {
	Nodes int
	// GPUs per node; negative leaves a running cluster's number alone.
	GPUs int
}

// Up starts the cluster, unless it runs. A dead one is removed first. Progress is written line by line.
func Up(ctx context.Context, cluster layout.Cluster, options Options, progress io.Writer) error {
	if options.Nodes < 1 || options.Nodes > layout.MaxNodes {
		return fmt.Errorf("%d nodes: want 1 to %d", options.Nodes, layout.MaxNodes)
	}
	release, err := Lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	say := stopwatch(progress)
	record, err := Running(cluster)
	if err == nil {
		if err = answers(ctx, cluster); err == nil {
			return alreadyRunning(ctx, cluster, record, options, say)
		}
	}
	if _, statErr := os.Stat(cluster.Dir); statErr == nil {
		say("removing what is left of %s (%v)", cluster.Name, err)
	}
	if err := remove(cluster, true); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	if err := start(ctx, cluster, options, say); err != nil {
		// The files stay, as the logs are among them.
		return errors.Join(err, remove(cluster, false))
	}
	return nil
}

func alreadyRunning(ctx context.Context, cluster layout.Cluster, record Record, options Options, say sayFunc) error {
	if options.Nodes > 1 && options.Nodes != record.Nodes {
		return fmt.Errorf("the cluster %s runs with %d nodes, not %d: take it down first", cluster.Name, record.Nodes, options.Nodes)
	}
	say("the cluster %s is running already", cluster.Name)
	if options.GPUs < 0 {
		return nil
	}
	return SetGPUs(ctx, cluster, options.GPUs)
}

func answers(ctx context.Context, cluster layout.Cluster) error {
	client, err := Client(cluster)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerDeadline)
	defer cancel()
	return waitFor(ctx, client, apiServerReady)
}

func start(ctx context.Context, cluster layout.Cluster, options Options, say sayFunc) error {
	slot, err := prepare(cluster, options)
	if err != nil {
		return err
	}
	say("keys, certificates and configuration written")
	cniPlugins, err := findCNIPlugins()
	if err != nil {
		return err
	}
	for number := 1; number <= options.Nodes; number++ {
		err := startNode(config.Node{
			Cluster: cluster, Slot: slot, Number: number, Nodes: options.Nodes, CNIPlugins: cniPlugins,
		})
		if err != nil {
			return err
		}
	}
	if err := node.RouteServices(slot); err != nil {
		return err
	}
	say("%d node(s) started at %s", options.Nodes, slot.Node(1))
	client, err := Client(cluster)
	if err != nil {
		return err
	}
	awaited := []struct {
		state check
		done  string
	}{
		{apiServerReady, "API server ready"},
		{allOf(nodesReady(options.Nodes), defaultAccountExists), "nodes ready"},
		{gpusAdvertised(max(options.GPUs, 0)), ""},
	}
	for _, step := range awaited {
		if err := waitFor(ctx, client, watchingNodes(cluster, step.state)); err != nil {
			return err
		}
		if step.done != "" {
			say("%s", step.done)
		}
	}
	if err := storage.CreateClass(ctx, client); err != nil {
		return err
	}
	if err := os.WriteFile(cluster.Ready(), nil, 0o600); err != nil {
		return fmt.Errorf("mark the cluster as ready: %w", err)
	}
	say("the cluster %s is up", cluster.Name)
	return nil
}

// prepare writes everything that nodes read, and takes a slot.
func prepare(cluster layout.Cluster, options Options) (layout.Slot, error) {
	if err := os.MkdirAll(cluster.Logs(), 0o755); err != nil {
		return 0, fmt.Errorf("make the cluster's directory: %w", err)
	}
	slot, err := node.TakeSlot(cluster)
	if err != nil {
		return 0, err
	}
	if err := (Record{Slot: slot, Nodes: options.Nodes}).write(cluster); err != nil {
		return 0, err
	}
	if err := pki.Write(cluster, slot, options.Nodes); err != nil {
		return 0, err
	}
	if err := writePauseImage(cluster); err != nil {
		return 0, err
	}
	return slot, gpu.WriteCount(cluster.GPUs(), max(options.GPUs, 0))
}

func startNode(settings config.Node) error {
	if err := settings.Write(); err != nil {
		return err
	}
	if err := node.NewSpec(settings).Write(); err != nil {
		return err
	}
	if err := node.CreateCgroup(settings.Slot.Cgroup(settings.Number)); err != nil {
		return err
	}
	spawned, err := node.Spawn(settings.Dir(), settings.Cluster)
	if err != nil {
		return err
	}
	if err := node.PlugIn(settings.Slot, settings.Number, spawned.Process); err != nil {
		return err
	}
	return spawned.Go()
}

// findCNIPlugins looks where Debian puts the plugins, then where their own releases do.
func findCNIPlugins() (string, error) {
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin"} {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("no CNI plugins in /usr/lib/cni or /opt/cni/bin: apt-get install containernetworking-plugins")
}

// CheckPrograms says what is missing on this machine before anything is started.
func CheckPrograms() error {
	if os.Geteuid() != 0 {
		return errors.New("a cluster needs root: namespaces, mounts and links")
	}
	for program, pkg := range map[string]string{
		"containerd": "containerd", "ctr": "containerd", "runc": "runc", "iptables": "iptables",
		"conntrack": "conntrack", "nsenter": "util-linux",
	} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("no program %s: apt-get install %s, or run tests/cluster/install.sh", program, pkg)
		}
	}
	return nil
}

type sayFunc func(format string, args ...any)

func stopwatch(to io.Writer) sayFunc {
	began := time.Now()
	return func(format string, args ...any) {
		_, _ = fmt.Fprintf(to, "[%4.1fs] %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
}
