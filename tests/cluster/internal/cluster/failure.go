package cluster

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"easel.dev/tests/cluster/internal/layout"
	"easel.dev/tests/cluster/internal/node"
)

// tailLines is how much of a log a failed start shows.
const tailLines = 20

// tailBytes bounds what is read for it.
const tailBytes = 64 << 10

// GaveUp is a node that ended while the cluster started.
type GaveUp struct {
	Node      string
	Component string
	Status    string
	Log       string
	Tail      []string
}

func (g *GaveUp) Error() string {
	return fmt.Sprintf("%s: %s did not start: %s\n  | %s\nThe whole log is %s",
		g.Node, g.Component, g.Status, strings.Join(g.Tail, "\n  | "), g.Log)
}

// failure is why one of the nodes has ended, or nil.
func failure(cluster layout.Cluster) error {
	dirs, err := filepath.Glob(string(cluster.Node("*")))
	if err != nil {
		return fmt.Errorf("look for nodes: %w", err)
	}
	for _, path := range dirs {
		dir := layout.NodeDir(path)
		if process, err := node.ReadProcess(dir); err != nil || process.Alive() {
			continue // It has not begun, or lives.
		}
		reason, known := node.ReadFailure(dir)
		if !known {
			reason = node.Failure{Component: "init", Status: "the node's first process has ended"}
		}
		log := cluster.Log(dir.Name(), reason.Component)
		if _, err := os.Stat(log); err != nil {
			log = cluster.Log(dir.Name(), "init")
		}
		return &GaveUp{
			Node: dir.Name(), Component: reason.Component, Status: reason.Status, Log: log, Tail: tail(log),
		}
	}
	return nil
}

func tail(path string) []string {
	file, err := os.Open(path)
	if err != nil {
		return []string{err.Error()}
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err == nil && info.Size() > tailBytes {
		if _, err := file.Seek(-tailBytes, io.SeekEnd); err != nil {
			return []string{err.Error()}
		}
	}
	content, err := io.ReadAll(file)
	if err != nil {
		return []string{err.Error()}
	}
	lines := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return lines[max(0, len(lines)-tailLines):]
}
