// Package image writes container images without a container runtime: FROM scratch, as an archive that `docker load` and
// `ctr images import` read. The same input gives the same bytes.
package image

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// epoch stands in for every time stamp. The image is known by its content.
var epoch = time.Unix(0, 0).UTC()

// Image is what to put into an image. The layers are stacked in order, so that what changes most comes last.
type Image struct {
	Name       string
	Layers     [][]File
	Entrypoint []string
	User       string
}

// Write writes the archive and returns the image's digest.
func (i Image) Write(archive string) (string, error) {
	tag, err := parseName(i.Name)
	if err != nil {
		return "", err
	}
	built, err := i.build()
	if err != nil {
		return "", err
	}
	digest, err := built.Digest()
	if err != nil {
		return "", fmt.Errorf("digest of %s: %w", i.Name, err)
	}
	if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
		return "", fmt.Errorf("make the directory of %s: %w", archive, err)
	}
	// A reader sees the old archive or the new one, never a half.
	unfinished := archive + ".unfinished"
	if err := tarball.WriteToFile(unfinished, tag, built); err != nil {
		_ = os.Remove(unfinished)
		return "", fmt.Errorf("write %s: %w", archive, err)
	}
	if err := os.Rename(unfinished, archive); err != nil {
		return "", fmt.Errorf("finish %s: %w", archive, err)
	}
	return digest.String(), nil
}

// parseName wants the tag said; the default, `latest`, is pulled even if it is there. The library takes no host without a dot
// for a registry, so that `localhost` stays a part of the path, as which it is written.
func parseName(full string) (name.Tag, error) {
	tag, err := name.NewTag(full, name.WithDefaultRegistry(""))
	if err != nil {
		return name.Tag{}, fmt.Errorf("image name %q: %w", full, err)
	}
	if !strings.HasSuffix(full, ":"+tag.TagStr()) {
		return name.Tag{}, fmt.Errorf("image name %q: want NAME:TAG", full)
	}
	return tag, nil
}

func (i Image) build() (v1.Image, error) {
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		Created:      v1.Time{Time: epoch},
		RootFS:       v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}},
		Config: v1.Config{
			Entrypoint: i.Entrypoint,
			User:       i.User,
			WorkingDir: "/",
			Env:        []string{"PATH=/", "SSL_CERT_FILE=" + caCertificates},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("start the image %s: %w", i.Name, err)
	}
	for _, files := range i.Layers {
		layer, err := newLayer(files)
		if err != nil {
			return nil, err
		}
		image, err = mutate.Append(image, mutate.Addendum{
			Layer:   layer,
			History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "easel-cluster build-image"},
		})
		if err != nil {
			return nil, fmt.Errorf("add a layer to %s: %w", i.Name, err)
		}
	}
	return image, nil
}
