package node

import (
	"errors"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"easel.dev/tests/cluster/internal/layout"
)

// Init is the life of a node's first process: it waits for its cable, arranges mounts and network, and supervises the
// components until it is killed or gives up starting them.
func Init(dir layout.NodeDir) error {
	if os.Getpid() != 1 {
		return errors.New("this is started by `up`, as the first process of its own namespaces")
	}
	// The first process of a namespace has to take note of signals, or they end it by way of Go's default.
	signal.Notify(make(chan os.Signal, 1), unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	var spec Spec
	if err := readJSON(dir.Spec(), &spec); err != nil {
		return fmt.Errorf("read the node's spec: %w", err)
	}
	word := os.NewFile(goAhead, "go-ahead")
	if _, err := word.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("wait for the word to begin (did `up` end?): %w", err)
	}
	_ = word.Close()
	unix.Umask(0o022)
	if err := raiseOpenFiles(); err != nil {
		return fail(dir, "limits", err)
	}
	if err := mount(spec.Cluster, dir); err != nil {
		return fail(dir, "mounts", err)
	}
	if err := spec.Network.configure(); err != nil {
		return fail(dir, "network", err)
	}
	return newSupervisor(spec).run()
}

// raiseOpenFiles takes all that may be had without a privilege that containers of CI lack. Go raises its own limit, but
// gives children the old one back unless it was set explicitly.
func raiseOpenFiles() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise the limit of open files: %w", err)
	}
	return nil
}

// fail leaves the reason where `up` finds it.
func fail(dir layout.NodeDir, component string, cause error) error {
	if err := writeJSON(dir.Failure(), Failure{Component: component, Status: cause.Error()}); err != nil {
		return errors.Join(cause, err)
	}
	return cause
}
