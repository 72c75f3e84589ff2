// Command easel-cluster runs a real Kubernetes on this machine for Easel's tests and its demo. The same binary is also every
// part of it, by its first argument or the name that it is started under.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"easel.dev/tests/cluster/internal/agent"
	"easel.dev/tests/cluster/internal/cli"
	"easel.dev/tests/cluster/internal/component"
	"easel.dev/tests/cluster/internal/config"
	"easel.dev/tests/cluster/internal/layout"
	"easel.dev/tests/cluster/internal/node"
)

func main() {
	role, args := filepath.Base(os.Args[0]), os.Args[1:]
	if !isRole(role) && len(os.Args) > 1 && isRole(os.Args[1]) {
		os.Args = os.Args[1:]
		role, args = os.Args[0], os.Args[1:]
	}
	if component.Known(role) {
		if role == config.Kubectl {
			cli.UseClusterByDefault()
		}
		os.Exit(component.Run(role))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, role, args)
	stop()
	os.Exit(exitStatus(err))
}

func isRole(name string) bool {
	return component.Known(name) || name == config.NodeAgent || name == node.Command
}

func run(ctx context.Context, role string, args []string) error {
	switch role {
	case config.NodeAgent:
		return agent.Run(ctx, args)
	case node.Command:
		if len(args) != 1 {
			return errors.New("want the node's directory")
		}
		return node.Init(layout.NodeDir(args[0]))
	default:
		return cli.Run(ctx, args, os.Stdout, os.Stderr)
	}
}

// A command that ran inside a node passes its own exit status on.
func exitStatus(err error) int {
	var ended *exec.ExitError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &ended):
		return ended.ExitCode()
	default:
		_, _ = fmt.Fprintln(os.Stderr, "easel-cluster:", err)
		return 1
	}
}
