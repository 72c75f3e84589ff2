package image

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// caCertificates is where the certificates of public authorities are, on a Debian host and in the images.
const caCertificates = "/etc/ssl/certs/ca-certificates.crt"

// NonRoot is the user id that images run as unless told otherwise.
const NonRoot = "65532"

// Base is what any program may expect of a system: certificates, users, and a directory for temporary files.
func Base() ([]File, error) {
	certificates, err := os.ReadFile(caCertificates)
	if err != nil {
		return nil, fmt.Errorf("read the host's CA certificates (apt-get install ca-certificates): %w", err)
	}
	passwd := "root:x:0:0:root:/:/nologin\nnonroot:x:" + NonRoot + ":" + NonRoot + ":nonroot:/tmp:/nologin\n"
	group := "root:x:0:\nnonroot:x:" + NonRoot + ":\n"
	return []File{
		{Path: caCertificates, Mode: 0o644, Content: certificates},
		{Path: "/etc/passwd", Mode: 0o644, Content: []byte(passwd)},
		{Path: "/etc/group", Mode: 0o644, Content: []byte(group)},
		{Path: "/tmp", Mode: 0o1777, Directory: true},
	}, nil
}

// Binary reads `SOURCE[:/destination]` as a program; without a destination it goes to the root directory.
func Binary(argument string) (File, error) {
	source, destination, ok := cutDestination(argument)
	if !ok {
		destination = "/" + filepath.Base(source)
	}
	content, err := os.ReadFile(source)
	if err != nil {
		return File{}, fmt.Errorf("read the binary: %w", err)
	}
	return File{Path: destination, Mode: 0o755, Content: content}, nil
}

// Files reads `SOURCE:/destination`, a file or a directory with everything in it.
func Files(argument string) ([]File, error) {
	source, destination, ok := cutDestination(argument)
	if !ok {
		return nil, fmt.Errorf("file %q: want SOURCE:/destination", argument)
	}
	var files []File
	err := filepath.WalkDir(source, func(at string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(source, at)
		if err != nil {
			return err
		}
		file, err := readFile(at, path.Join(destination, filepath.ToSlash(below)))
		files = append(files, file)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", source, err)
	}
	return files, nil
}

// The mode keeps only whether a file can be run: the rest depends on the umask of whoever made it.
func readFile(source, destination string) (File, error) {
	info, err := os.Stat(source)
	if err != nil {
		return File{}, err
	}
	if info.IsDir() {
		return File{Path: destination, Mode: 0o755, Directory: true}, nil
	}
	file := File{Path: destination, Mode: 0o644}
	if info.Mode()&0o111 != 0 {
		file.Mode = 0o755
	}
	file.Content, err = os.ReadFile(source)
	return file, err
}

func cutDestination(argument string) (source, destination string, ok bool) {
	at := strings.LastIndex(argument, ":/")
	if at <= 0 {
		return argument, "", false
	}
	return argument[:at], argument[at+1:], true
}
