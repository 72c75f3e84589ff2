// Package node makes and ends nodes. A node is a set of network, mount and PID namespaces; the first process in it is this
// program, which starts the components and collects what ends. Killing that process ends everything in the node.
package node

import (
	"encoding/json"
	"fmt"
	"os"

	"easel.dev/tests/cluster/internal/config"
	"easel.dev/tests/cluster/internal/layout"
)

// Command is the first argument under which this program is a node's first process.
const Command = "node-init"

// Spec tells a node's first process everything it needs.
type Spec struct {
	Cluster layout.Cluster `json:"cluster"`
	Name    string         `json:"name"`
	Network Network        `json:"network"`
	Stages  []config.Stage `json:"stages"`
}

// Failure is why a node gave up starting.
type Failure struct {
	Component string `json:"component"`
	Status    string `json:"status"`
}

// NewSpec describes a node.
func NewSpec(node config.Node) Spec {
	return Spec{Cluster: node.Cluster, Name: node.Name(), Network: newNetwork(node), Stages: node.Stages()}
}

// Write puts the spec where the node's first process looks for it.
func (s Spec) Write() error {
	return writeJSON(s.Cluster.Node(s.Name).Spec(), s)
}

// ReadFailure is why the node gave up, and whether it did.
func ReadFailure(dir layout.NodeDir) (Failure, bool) {
	var failure Failure
	if err := readJSON(dir.Failure(), &failure); err != nil {
		return Failure{}, false
	}
	return failure, true
}

func readJSON(path string, into any) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, value any) error {
	content, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	if err := os.WriteFile(path, append(content, '\n'), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
