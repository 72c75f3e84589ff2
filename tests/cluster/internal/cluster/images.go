package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"easel.dev/tests/cluster/internal/config"
	"easel.dev/tests/cluster/internal/image"
	"easel.dev/tests/cluster/internal/layout"
)

// PauseProgram is the program of the pods' sandbox container, which is installed beside this one.
const PauseProgram = "easel-pause"

func writePauseImage(cluster layout.Cluster) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	program := filepath.Join(filepath.Dir(self), PauseProgram)
	content, err := os.ReadFile(program)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing beside this program: tests/cluster/install.sh builds both", program)
	}
	if err != nil {
		return fmt.Errorf("read the pause program: %w", err)
	}
	_, err = image.Image{
		Name:       config.PauseImage,
		Layers:     [][]image.File{{{Path: "/pause", Mode: 0o755, Content: content}}},
		Entrypoint: []string{"/pause"},
		User:       image.NonRoot,
	}.Write(cluster.PauseArchive())
	return err
}

// LoadImage imports an image archive into every node.
func LoadImage(ctx context.Context, cluster layout.Cluster, archive string) error {
	record, err := Running(cluster)
	if err != nil {
		return err
	}
	for number := 1; number <= record.Nodes; number++ {
		if err := importInto(ctx, cluster, number, archive); err != nil {
			return err
		}
	}
	return nil
}

// The archive goes in by standard input, as the node may have something else at its path.
func importInto(ctx context.Context, cluster layout.Cluster, number int, archive string) error {
	file, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("open the image: %w", err)
	}
	defer func() { _ = file.Close() }()
	command, err := InNode(ctx, cluster, number, "ctr", "--address", config.ContainerdSocket,
		"--namespace", "k8s.io", "images", "import", "-")
	if err != nil {
		return err
	}
	command.Stdin = file
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("import %s into %s: %w: %s", archive, layout.NodeName(number), err, output)
	}
	return nil
}

// InNode is a command that runs inside a node.
func InNode(ctx context.Context, cluster layout.Cluster, number int, args ...string) (*exec.Cmd, error) {
	process, err := Process(cluster, number)
	if err != nil {
		return nil, err
	}
	target := []string{"--target", strconv.Itoa(process.ID), "--mount", "--net", "--pid", "--"}
	return exec.CommandContext(ctx, "nsenter", append(target, args...)...), nil
}
