// Package cluster brings clusters up and down and asks them how they are.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"easel.dev/tests/cluster/internal/layout"
	"easel.dev/tests/cluster/internal/node"
)

// Record is what later commands need to know about a cluster.
type Record struct {
	Slot  layout.Slot `json:"slot"`
	Nodes int         `json:"nodes"`
}

func readRecord(cluster layout.Cluster) (Record, error) {
	var record Record
	content, err := os.ReadFile(cluster.Record())
	if err != nil {
		return record, fmt.Errorf("read what the cluster %s is: %w", cluster.Name, err)
	}
	if err := json.Unmarshal(content, &record); err != nil {
		return record, fmt.Errorf("read what the cluster %s is from %s: %w", cluster.Name, cluster.Record(), err)
	}
	return record, nil
}

func (r Record) write(cluster layout.Cluster) error {
	content, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode what the cluster is: %w", err)
	}
	if err := os.WriteFile(cluster.Record(), content, 0o600); err != nil {
		return fmt.Errorf("write down what the cluster is: %w", err)
	}
	return nil
}

// Running returns the record of a cluster that has come up and whose nodes all live, and an error that says what is wrong
// with it otherwise.
func Running(cluster layout.Cluster) (Record, error) {
	record, err := readRecord(cluster)
	if errors.Is(err, fs.ErrNotExist) {
		return record, fmt.Errorf("the cluster %s is not running: `easel-cluster up --name %[1]s` starts it", cluster.Name)
	}
	if err != nil {
		return record, err
	}
	for number := 1; number <= record.Nodes; number++ {
		if _, err := Process(cluster, number); err != nil {
			return record, err
		}
	}
	if _, err := os.Stat(cluster.Ready()); err != nil {
		return record, fmt.Errorf("the cluster %s has never come up", cluster.Name)
	}
	return record, nil
}

// Process is the first process of a node that lives.
func Process(cluster layout.Cluster, number int) (node.Process, error) {
	name := layout.NodeName(number)
	process, err := node.ReadProcess(cluster.Node(name))
	if err != nil {
		return process, err
	}
	if !process.Alive() {
		return process, fmt.Errorf("%s of the cluster %s has ended", name, cluster.Name)
	}
	return process, nil
}

// Client is the administrator's.
func Client(cluster layout.Cluster) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", cluster.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", cluster.Kubeconfig(), err)
	}
	// A call that hangs is tried again; the callers poll.
	config.Timeout = 5 * time.Second
	config.WarningHandler = rest.NoWarnings{}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make the client of %s: %w", cluster.Name, err)
	}
	return client, nil
}

// Lock keeps other `up` and `down` away, of any cluster below the same cache directory, until it is released.
func Lock(ctx context.Context) (release func(), err error) {
	dir, err := layout.ClustersDir()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of clusters: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			_ = file.Close()
			return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
		}
		if err := pause(ctx); err != nil {
			_ = file.Close()
			return nil, fmt.Errorf("wait for another `up` or `down`: %w", err)
		}
	}
}

// pause is the step of all polling.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(100 * time.Millisecond):
		return nil
	}
}
