package node

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CreateCgroup makes the parent of a node's pods in every hierarchy of the host (cgroups v1, v2 or both).
func CreateCgroup(name string) error {
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	for _, hierarchy := range hierarchies {
		if err := delegate(hierarchy); err != nil {
			return err
		}
		dir := filepath.Join(hierarchy, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make the cgroup: %w", err)
		}
		// In version 1 a new cpuset is empty, and nothing can run in it.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if err := inherit(hierarchy, dir, file); err != nil {
				return err
			}
		}
	}
	return nil
}

// RemoveCgroup removes the cgroup and all below it, in every hierarchy, once the processes in it are gone.
func RemoveCgroup(name string, deadline time.Time) error {
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	for _, hierarchy := range hierarchies {
		dir := filepath.Join(hierarchy, name)
		for {
			err := removeTree(dir)
			if err == nil {
				break
			}
			// Processes that were killed leave their cgroup when they are collected.
			if time.Now().After(deadline) {
				return fmt.Errorf("remove the cgroup %s: %w", dir, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

// removeTree removes directories from the bottom up; the files of a cgroup go with it and cannot be removed.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := removeTree(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

func cgroupHierarchies() ([]string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	hierarchies := parseCgroupMounts(string(mounts))
	if len(hierarchies) == 0 {
		return nil, errors.New("no cgroup hierarchy is mounted below /sys/fs/cgroup")
	}
	return hierarchies, nil
}

// parseCgroupMounts picks the mount points of cgroups from /proc/mounts, each once.
func parseCgroupMounts(mounts string) []string {
	var hierarchies []string
	for line := range strings.Lines(mounts) {
		fields := strings.Fields(line)
		if len(fields) < 3 || (fields[2] != "cgroup" && fields[2] != "cgroup2") {
			continue
		}
		if strings.HasPrefix(fields[1], "/sys/fs/cgroup") && !slices.Contains(hierarchies, fields[1]) {
			hierarchies = append(hierarchies, fields[1])
		}
	}
	return hierarchies
}

// delegate lets children of a version 2 root use its controllers. Some refuse, as one that version 1 holds: the kubelet
// says which of those it misses.
func delegate(root string) error {
	controllers, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // version 1
	}
	if err != nil {
		return fmt.Errorf("read the controllers of %s: %w", root, err)
	}
	for _, controller := range strings.Fields(string(controllers)) {
		_ = os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
	}
	return nil
}

func inherit(parent, child, file string) error {
	current, err := os.ReadFile(filepath.Join(child, file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another hierarchy
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	if _, err := os.Stat(filepath.Join(parent, "cgroup.controllers")); err == nil || len(bytes.TrimSpace(current)) > 0 {
		return nil // version 2, where empty means the parent's; or set already
	}
	value, err := os.ReadFile(filepath.Join(parent, file))
	if err == nil {
		err = os.WriteFile(filepath.Join(child, file), value, 0o644)
	}
	if err != nil {
		return fmt.Errorf("copy %s to %s: %w", file, child, err)
	}
	return nil
}
