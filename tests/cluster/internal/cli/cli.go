// Package cli is the command line: it reads arguments and calls the package that does the work.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"easel.dev/tests/cluster/internal/cluster"
	"easel.dev/tests/cluster/internal/layout"
)

// streams is where a command writes: results to out, progress to err.
type streams struct{ out, err io.Writer }

// command is one entry of the table: it declares its flags and returns what runs once they are read.
type command struct {
	name, usage, help string
	declare           func(*flag.FlagSet) action
}

type action func(ctx context.Context, args []string, to streams) error

var commands = []command{
	{"up", "up [--name easel] [--nodes 1] [--gpus N]", "start the cluster unless it runs; prints its kubeconfig", up},
	{"down", "down [--name easel]", "end the cluster and remove all of it", down},
	{"status", "status [--name easel]", "how the cluster is; fails if it does not run", status},
	{"load-image", "load-image [--name easel] ARCHIVE...", "import images into every node", loadImage},
	{"build-image", "build-image --name NAME:TAG --binary PATH[:/dest] --out FILE", "write an image archive", buildImage},
	{"gpus", "gpus [--name easel] N", "make every node advertise N GPUs", gpus},
	{"exec-node", "exec-node [--name easel] [--node 1] -- COMMAND...", "run a command inside a node", execNode},
	{"kubectl", "kubectl ...", "kubectl, on the cluster unless KUBECONFIG says otherwise", nil},
}

// Run runs the command that the arguments name.
func Run(ctx context.Context, args []string, out, err io.Writer) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		usage(err)
		return flag.ErrHelp
	}
	for _, entry := range commands {
		if entry.name != args[0] || entry.declare == nil {
			continue
		}
		flags := flag.NewFlagSet(entry.name, flag.ContinueOnError)
		flags.SetOutput(err)
		flags.Usage = func() {
			_, _ = fmt.Fprintf(err, "easel-cluster %s\n  %s\n", entry.usage, entry.help)
			flags.PrintDefaults()
		}
		act := entry.declare(flags)
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return act(ctx, flags.Args(), streams{out: out, err: err})
	}
	usage(err)
	return fmt.Errorf("no command %q", args[0])
}

func usage(to io.Writer) {
	_, _ = fmt.Fprintln(to, "A real Kubernetes on this machine, for tests. Needs root.")
	for _, entry := range commands {
		_, _ = fmt.Fprintf(to, "  easel-cluster %-62s %s\n", entry.usage, entry.help)
	}
	_, _ = fmt.Fprintf(to, "State is below ~/.cache/easel/clusters, or $%s/clusters.\n", layout.CacheVariable)
}

// UseClusterByDefault points kubectl at the default cluster if nothing else is said and there is one.
func UseClusterByDefault() {
	if os.Getenv("KUBECONFIG") != "" {
		return
	}
	target, err := layout.Named(layout.DefaultName)
	if err != nil {
		return
	}
	if _, err := os.Stat(target.Kubeconfig()); err == nil {
		_ = os.Setenv("KUBECONFIG", target.Kubeconfig())
	}
}

func clusterFlag(flags *flag.FlagSet) *string {
	return flags.String("name", layout.DefaultName, "name of the cluster")
}

func noMore(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}

func up(flags *flag.FlagSet) action {
	name := clusterFlag(flags)
	nodes := flags.Int("nodes", 1, "number of nodes")
	count := flags.Int("gpus", -1, "GPUs that each node advertises (default none, or as they are)")
	return func(ctx context.Context, args []string, to streams) error {
		target, err := layout.Named(*name)
		if err = errors.Join(err, noMore(args)); err != nil {
			return err
		}
		if err := cluster.CheckPrograms(); err != nil {
			return err
		}
		options := cluster.Options{Nodes: *nodes, GPUs: *count}
		if err := cluster.Up(ctx, target, options, to.err); err != nil {
			return err
		}
		_, err = fmt.Fprintln(to.out, target.Kubeconfig())
		return err
	}
}

func down(flags *flag.FlagSet) action {
	name := clusterFlag(flags)
	return func(ctx context.Context, args []string, to streams) error {
		target, err := layout.Named(*name)
		if err = errors.Join(err, noMore(args)); err != nil {
			return err
		}
		was, err := cluster.Down(ctx, target)
		if err != nil {
			return err
		}
		if was {
			_, _ = fmt.Fprintf(to.err, "the cluster %s is gone\n", target.Name)
		} else {
			_, _ = fmt.Fprintf(to.err, "there is no cluster %s\n", target.Name)
		}
		return nil
	}
}

func status(flags *flag.FlagSet) action {
	name := clusterFlag(flags)
	return func(ctx context.Context, args []string, to streams) error {
		target, err := layout.Named(*name)
		if err = errors.Join(err, noMore(args)); err != nil {
			return err
		}
		return cluster.Status(ctx, target, to.out)
	}
}
