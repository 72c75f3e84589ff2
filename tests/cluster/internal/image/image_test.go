package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func example() Image {
	return Image{
		Name: "localhost/easel/test:v1",
		Layers: [][]File{
			{{Path: "/tmp", Mode: 0o1777, Directory: true}, {Path: "/etc/passwd", Mode: 0o644, Content: []byte("root")}},
			{{Path: "/bin/program", Mode: 0o755, Content: []byte("binary")}},
		},
		Entrypoint: []string{"/bin/program"},
		User:       NonRoot,
	}
}

func TestTheSameInputGivesTheSameBytes(t *testing.T) {
	dir := t.TempDir()
	var sums [2][sha256.Size]byte
	var digests [2]string
	for i := range sums {
		archive := filepath.Join(dir, "image.tar")
		digest, err := example().Write(archive)
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(archive)
		if err != nil {
			t.Fatal(err)
		}
		digests[i], sums[i] = digest, sha256.Sum256(content)
	}
	if digests[0] != digests[1] || sums[0] != sums[1] {
		t.Errorf("digests %v, archives %x", digests, sums)
	}
}

func TestAnotherByteGivesAnotherDigest(t *testing.T) {
	changed := example()
	changed.Layers[1][0].Content = []byte("Binary")
	dir := t.TempDir()
	first, err := example().Write(filepath.Join(dir, "1.tar"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := changed.Write(filepath.Join(dir, "2.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if first == second {
		t.Errorf("both are %s", first)
	}
}

func TestTheArchiveReadsBackAsTheImage(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "image.tar")
	if _, err := example().Write(archive); err != nil {
		t.Fatal(err)
	}
	manifest, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(archive) })
	if err != nil || manifest[0].RepoTags[0] != example().Name {
		t.Fatalf("manifest %+v, %v", manifest, err)
	}
	read, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := read.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != NonRoot || config.Config.Entrypoint[0] != "/bin/program" || config.OS != "linux" {
		t.Errorf("config is %+v", config)
	}
	layers, err := read.Layers()
	if err != nil || len(layers) != 2 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	content, err := layers[1].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = content.Close() }()
	if names := names(t, content); names != "bin/ bin/program" {
		t.Errorf("the last layer holds %s", names)
	}
}

func TestALayerIsSortedAndComplete(t *testing.T) {
	packed, err := pack([]File{
		{Path: "/usr/share/b", Mode: 0o644, Content: []byte("b")},
		{Path: "/tmp", Mode: 0o1777, Directory: true},
		{Path: "/usr/share/a", Mode: 0o644},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "tmp/ usr/ usr/share/ usr/share/a usr/share/b"
	if got := names(t, bytes.NewReader(packed)); got != want {
		t.Errorf("entries %q, want %q", got, want)
	}
	header, err := tar.NewReader(bytes.NewReader(packed)).Next()
	if err != nil {
		t.Fatal(err)
	}
	if header.Mode != 0o1777 || !header.ModTime.Equal(time.Unix(0, 0)) || header.Uid != 0 {
		t.Errorf("/tmp is %+v", header)
	}
}

func TestPathsThatCannotBeInAnImageAreRefused(t *testing.T) {
	cases := map[string][]File{
		"relative":                 {{Path: "bin/program"}},
		"the root itself":          {{Path: "/"}},
		"twice":                    {{Path: "/a", Content: []byte("1")}, {Path: "/./a", Content: []byte("2")}},
		"file that is a directory": {{Path: "/a"}, {Path: "/a/b"}},
	}
	for name, files := range cases {
		if _, err := pack(files); err == nil {
			t.Errorf("%s: packed", name)
		}
	}
}

func TestDestinationsAreReadFromArguments(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for argument, want := range map[string]string{program: "/program", program + ":/bin/other": "/bin/other"} {
		file, err := Binary(argument)
		if err != nil {
			t.Fatal(err)
		}
		if file.Path != want || file.Mode != 0o755 {
			t.Errorf("%s: %s with mode %o", argument, file.Path, file.Mode)
		}
	}
	files, err := Files(dir + ":/data")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 2 || !files[0].Directory || files[1].Path != "/data/program" || files[1].Mode != 0o755 {
		t.Errorf("directory gives %+v", files)
	}
	if _, err := Files(program); err == nil {
		t.Error("a file without a destination was taken")
	}
}

func TestBadImageNamesAreRefused(t *testing.T) {
	for _, bad := range []string{"", "runtime", "localhost/easel/runtime", "localhost/Easel/runtime:v1"} {
		image := example()
		image.Name = bad
		if _, err := image.Write(filepath.Join(t.TempDir(), "image.tar")); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func names(t *testing.T, archive io.Reader) string {
	t.Helper()
	var all []string
	reader := tar.NewReader(archive)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return strings.Join(all, " ")
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, header.Name)
	}
}
