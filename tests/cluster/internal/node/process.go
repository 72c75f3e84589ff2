package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"easel.dev/tests/cluster/internal/layout"
)

// Process identifies a process for good: a process id is used again, its start time in the same boot is not.
type Process struct {
	ID    int    `json:"id"`
	Start uint64 `json:"startTicks"`
	Boot  string `json:"boot"`
}

// Identify is the running process with that id.
func Identify(id int) (Process, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
	if err != nil {
		return Process{}, fmt.Errorf("identify process %d: %w", id, err)
	}
	state, start, err := parseStat(string(stat))
	if err != nil {
		return Process{}, fmt.Errorf("identify process %d: %w", id, err)
	}
	if state == 'Z' || state == 'X' {
		return Process{}, fmt.Errorf("identify process %d: it has ended", id)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Process{}, fmt.Errorf("read the boot id: %w", err)
	}
	return Process{ID: id, Start: start, Boot: strings.TrimSpace(string(boot))}, nil
}

// Alive says whether exactly this process still runs.
func (p Process) Alive() bool {
	current, err := Identify(p.ID)
	return err == nil && current == p
}

// Kill ends the process, if it still runs, and everything in the PID namespace that it is the first process of.
func (p Process) Kill() error {
	// The descriptor holds on to the process: what is checked through it is what is killed.
	handle, err := unix.PidfdOpen(p.ID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", p.ID, err)
	}
	defer func() { _ = unix.Close(handle) }()
	if !p.Alive() {
		return nil
	}
	if err := unix.PidfdSendSignal(handle, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", p.ID, err)
	}
	return nil
}

// Find returns the first processes of the cluster's nodes that run now: those written down, and those that only their
// command line gives away, as when the state directory was removed under them.
func Find(cluster layout.Cluster) ([]Process, error) {
	found := map[int]Process{}
	records, err := filepath.Glob(cluster.Node("*").Process())
	if err != nil {
		return nil, fmt.Errorf("look for nodes of %s: %w", cluster.Name, err)
	}
	for _, record := range records {
		if process, err := readProcess(record); err == nil && process.Alive() {
			found[process.ID] = process
		}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	for _, entry := range entries {
		id, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		commandLine, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err != nil || !isNodeOf(cluster, string(commandLine)) {
			continue // It has ended meanwhile, or is none of ours.
		}
		if process, err := Identify(id); err == nil {
			found[id] = process
		}
	}
	processes := make([]Process, 0, len(found))
	for _, process := range found {
		processes = append(processes, process)
	}
	return processes, nil
}

// ReadProcess is the process that was written down as the node's first, whether it still runs or not.
func ReadProcess(dir layout.NodeDir) (Process, error) { return readProcess(dir.Process()) }

func readProcess(path string) (Process, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return Process{}, fmt.Errorf("read the node's process: %w", err)
	}
	var process Process
	if err := json.Unmarshal(content, &process); err != nil {
		return Process{}, fmt.Errorf("read the node's process from %s: %w", path, err)
	}
	return process, nil
}

// commandLine is what a node's first process is started with.
func commandLine(dir layout.NodeDir) []string { return []string{"easel-cluster", Command, string(dir)} }

func isNodeOf(cluster layout.Cluster, commandLine string) bool {
	fields := strings.Split(strings.TrimSuffix(commandLine, "\x00"), "\x00")
	return len(fields) == 3 && fields[1] == Command && filepath.Dir(fields[2]) == filepath.Join(cluster.Dir, "nodes")
}

// parseStat reads the state and the start time in clock ticks since the boot from /proc/PID/stat (proc(5), fields 3 and
// 22). The name in field 2 may hold spaces and brackets, so that fields are counted from its last closing one.
func parseStat(stat string) (state byte, start uint64, err error) {
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, 0, fmt.Errorf("no command name in %q", stat)
	}
	fields := strings.Fields(stat[end+1:])
	const afterName = 3
	if len(fields) <= 22-afterName || len(fields[0]) != 1 {
		return 0, 0, fmt.Errorf("too few fields in %q", stat)
	}
	start, err = strconv.ParseUint(fields[22-afterName], 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("start time in %q: %w", stat, err)
	}
	return fields[0][0], start, nil
}
