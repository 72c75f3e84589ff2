package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"

	"easel.dev/tests/cluster/internal/cluster"
	"easel.dev/tests/cluster/internal/layout"
)

func gpus(flags *flag.FlagSet) action {
	name := clusterFlag(flags)
	return func(ctx context.Context, args []string, _ streams) error {
		target, err := layout.Named(*name)
		if err != nil {
			return err
		}
		if len(args) != 1 {
			return errors.New("want the number of GPUs")
		}
		count, err := strconv.Atoi(args[0])
		if err != nil {
			return fmt.Errorf("number of GPUs: %w", err)
		}
		return cluster.SetGPUs(ctx, target, count)
	}
}

func execNode(flags *flag.FlagSet) action {
	name := clusterFlag(flags)
	number := flags.Int("node", 1, "number of the node, from 1")
	return func(ctx context.Context, args []string, to streams) error {
		target, err := layout.Named(*name)
		if err != nil {
			return err
		}
		if len(args) == 0 {
			return errors.New("want a command to run")
		}
		command, err := cluster.InNode(ctx, target, *number, args...)
		if err != nil {
			return err
		}
		command.Stdin, command.Stdout, command.Stderr = os.Stdin, to.out, to.err
		return command.Run()
	}
}
