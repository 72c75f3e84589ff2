package node

import (
	"fmt"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"easel.dev/tests/cluster/internal/layout"
)

// goAhead is the descriptor on which a node's first process waits until its cable is plugged in. If `up` dies before, the
// process reads the end of the file and ends as well.
const goAhead = 3

// Spawned is a node's first process that waits for the word to go.
type Spawned struct {
	Process
	word *os.File
}

// Spawn starts the node's first process in its own namespaces and writes down which process it is.
func Spawn(dir layout.NodeDir, cluster layout.Cluster) (*Spawned, error) {
	listen, word, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make the pipe to %s: %w", dir.Name(), err)
	}
	defer func() { _ = listen.Close() }()
	log, err := openLog(cluster, dir.Name(), "init")
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	if err := closeInheritedOnExec(); err != nil {
		return nil, err
	}
	process, err := os.StartProcess("/proc/self/exe", commandLine(dir), &os.ProcAttr{
		Dir:   "/",
		Env:   environment(),
		Files: []*os.File{nil, log, log, listen},
		Sys: &syscall.SysProcAttr{
			// Away from the terminal and the process group of whoever called, whose end must not be the node's.
			Setsid:     true,
			Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("start %s in its own namespaces (needs root): %w", dir.Name(), err)
	}
	identity, err := Identify(process.Pid)
	if err == nil {
		err = writeJSON(dir.Process(), identity)
	}
	if err != nil {
		_ = process.Kill()
		return nil, err
	}
	// Collects the process if it ends while `up` still runs.
	go func() { _, _ = process.Wait() }()
	return &Spawned{Process: identity, word: word}, nil
}

// Go lets the node begin.
func (s *Spawned) Go() error {
	defer func() { _ = s.word.Close() }()
	if _, err := s.word.Write([]byte{1}); err != nil {
		return fmt.Errorf("let the node begin: %w", err)
	}
	return nil
}

// A descriptor that the caller left open would live as long as the node, and whoever reads from its other end would wait
// as long. Go marks its own descriptors; these are not its own.
func closeInheritedOnExec() error {
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("mark inherited files (needs Linux 5.11): %w", err)
	}
	return nil
}

// The user's environment is not the node's: a proxy or a KUBECONFIG in it must not change what the cluster is.
func environment() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root",
		// Collect garbage earlier than by default: the control plane is then a third smaller.
		"GOGC=60",
	}
}

func openLog(cluster layout.Cluster, node, component string) (*os.File, error) {
	path := cluster.Log(node, component)
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log %s: %w", path, err)
	}
	return log, nil
}
