package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"easel.dev/tests/cluster/internal/layout"
	"easel.dev/tests/cluster/internal/node"
)

// endDeadline is how long processes that were killed may take to be gone.
const endDeadline = 30 * time.Second

// Down ends the cluster and removes everything it made. It returns false if there was nothing.
func Down(ctx context.Context, cluster layout.Cluster) (bool, error) {
	release, err := Lock(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	_, dirErr := os.Stat(cluster.Dir)
	slots, err := node.SlotsOf(cluster)
	if err != nil {
		return false, err
	}
	processes, err := node.Find(cluster)
	if err != nil {
		return false, err
	}
	if os.IsNotExist(dirErr) && len(slots) == 0 && len(processes) == 0 {
		return false, nil
	}
	return true, remove(cluster, true)
}

// remove ends the nodes, then removes their cgroups, the files if asked to, and last the bridge: its alias says whose the
// rest is, so that an interrupted removal can be taken up again.
func remove(cluster layout.Cluster, files bool) error {
	deadline := time.Now().Add(endDeadline)
	if err := endNodes(cluster, deadline); err != nil {
		return err
	}
	slots, err := node.SlotsOf(cluster)
	if err != nil {
		return err
	}
	for _, slot := range slots {
		for number := 1; number <= layout.MaxNodes; number++ {
			if err := node.RemoveCgroup(slot.Cgroup(number), deadline); err != nil {
				return err
			}
		}
	}
	if files {
		if err := removeFiles(cluster.Dir, deadline); err != nil {
			return err
		}
	}
	for _, slot := range slots {
		if err := node.RemoveLinks(slot); err != nil {
			return err
		}
	}
	return nil
}

func endNodes(cluster layout.Cluster, deadline time.Time) error {
	processes, err := node.Find(cluster)
	if err != nil {
		return err
	}
	for _, process := range processes {
		if err := process.Kill(); err != nil {
			return err
		}
	}
	// The kernel lets the first process of a PID namespace go when all others in it are gone.
	for _, process := range processes {
		for process.Alive() {
			if time.Now().After(deadline) {
				return fmt.Errorf("process %d was killed and does not end", process.ID)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// The mounts of a dead node are taken apart in the background; until then a directory of it may be busy.
func removeFiles(dir string, deadline time.Time) error {
	for {
		err := os.RemoveAll(dir)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("remove %s", dir), err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
