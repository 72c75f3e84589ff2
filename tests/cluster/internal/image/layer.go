package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// File is one file or directory of an image. Directories above it are made as needed, and everything belongs to root.
type File struct {
	Path    string // absolute
	Mode    int64  // as in chmod, with the sticky bit as 0o1000
	Content []byte
	// Directory: there is no content.
	Directory bool
}

func newLayer(files []File) (v1.Layer, error) {
	archive, err := pack(files)
	if err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil }
	// The archive stays on this machine or is compressed again on its way; speed counts more than size.
	layer, err := tarball.LayerFromOpener(open, tarball.WithCompressionLevel(gzip.BestSpeed))
	if err != nil {
		return nil, fmt.Errorf("make a layer: %w", err)
	}
	return layer, nil
}

// pack writes a tar archive that depends on nothing but the files: sorted, with fixed times and owners.
func pack(files []File) ([]byte, error) {
	entries := map[string]File{}
	for _, file := range files {
		clean := path.Clean(file.Path)
		if !path.IsAbs(clean) || clean == "/" {
			return nil, fmt.Errorf("path %q in the image: want an absolute path of a file", file.Path)
		}
		file.Path = clean
		if other, exists := entries[clean]; exists && !(other.Directory && file.Directory) {
			return nil, fmt.Errorf("path %q is in the image twice", clean)
		}
		entries[clean] = file
	}
	for _, file := range files {
		for dir := path.Dir(path.Clean(file.Path)); dir != "/"; dir = path.Dir(dir) {
			if existing, exists := entries[dir]; exists && !existing.Directory {
				return nil, fmt.Errorf("path %q in the image is both a file and a directory", dir)
			} else if !exists {
				entries[dir] = File{Path: dir, Mode: 0o755, Directory: true}
			}
		}
	}
	sorted := make([]File, 0, len(entries))
	for _, file := range entries {
		sorted = append(sorted, file)
	}
	slices.SortFunc(sorted, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	for _, file := range sorted {
		if err := writeEntry(writer, file); err != nil {
			return nil, fmt.Errorf("pack %s: %w", file.Path, err)
		}
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("finish the layer: %w", err)
	}
	return buffer.Bytes(), nil
}

func writeEntry(writer *tar.Writer, file File) error {
	header := &tar.Header{
		Name: strings.TrimPrefix(file.Path, "/"), Mode: file.Mode, ModTime: epoch, Format: tar.FormatUSTAR,
		Typeflag: tar.TypeReg, Size: int64(len(file.Content)),
	}
	if file.Directory {
		header.Typeflag, header.Name, header.Size = tar.TypeDir, header.Name+"/", 0
	}
	if err := writer.WriteHeader(header); err != nil {
		return err
	}
	_, err := writer.Write(file.Content)
	return err
}
