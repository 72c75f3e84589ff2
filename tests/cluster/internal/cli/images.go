package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"easel.dev/tests/cluster/internal/cluster"
	"easel.dev/tests/cluster/internal/image"
	"easel.dev/tests/cluster/internal/layout"
)

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

func loadImage(flags *flag.FlagSet) action {
	name := clusterFlag(flags)
	return func(ctx context.Context, args []string, to streams) error {
		target, err := layout.Named(*name)
		if err != nil {
			return err
		}
		if len(args) == 0 {
			return errors.New("want the archives to import")
		}
		for _, archive := range args {
			if err := cluster.LoadImage(ctx, target, archive); err != nil {
				return err
			}
			_, _ = fmt.Fprintf(to.err, "%s is in the cluster %s\n", archive, target.Name)
		}
		return nil
	}
}

func buildImage(flags *flag.FlagSet) action {
	var binaries, files list
	name := flags.String("name", "", "name of the image, as localhost/easel/runtime:TAG")
	flags.Var(&binaries, "binary", "static program, as PATH[:/destination]; may be repeated")
	flags.Var(&files, "file", "file or directory to add, as SOURCE:/destination; may be repeated")
	entrypoint := flags.String("entrypoint", "", "program that the image runs (default the first binary)")
	user := flags.String("user", image.NonRoot, "user id that it runs as")
	out := flags.String("out", "", "archive to write")
	return func(_ context.Context, args []string, to streams) error {
		if err := noMore(args); err != nil {
			return err
		}
		if *name == "" || *out == "" || len(binaries) == 0 {
			return errors.New("want --name, --binary and --out")
		}
		programs, extra, err := readFiles(binaries, files)
		if err != nil {
			return err
		}
		base, err := image.Base()
		if err != nil {
			return err
		}
		if *entrypoint == "" {
			*entrypoint = programs[0].Path
		}
		layers := [][]image.File{base}
		if len(extra) > 0 {
			layers = append(layers, extra)
		}
		built := image.Image{
			Name: *name, Layers: append(layers, programs), Entrypoint: []string{*entrypoint}, User: *user,
		}
		digest, err := built.Write(*out)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(to.out, "%s@%s\n", *name, digest)
		return err
	}
}

func readFiles(binaries, files list) (programs, extra []image.File, err error) {
	for _, argument := range binaries {
		program, err := image.Binary(argument)
		if err != nil {
			return nil, nil, err
		}
		programs = append(programs, program)
	}
	for _, argument := range files {
		found, err := image.Files(argument)
		if err != nil {
			return nil, nil, err
		}
		extra = append(extra, found...)
	}
	return programs, extra, nil
}
