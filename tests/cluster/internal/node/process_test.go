package node

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"easel.dev/tests/cluster/internal/layout"
)

func TestStatIsReadPastAnyCommandName(t *testing.T) {
	const rest = " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20\n"
	for _, name := range []string{"(easel)", "(a b)", "(tricky) Z 1 (one)"} {
		state, start, err := parseStat("42 " + name + " S" + rest)
		if err != nil || state != 'S' || start != 4711 {
			t.Errorf("%s: state %c, start %d, %v", name, state, start, err)
		}
	}
	for _, bad := range []string{"", "42 (x", "42 (x) S 1 2", "42 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x"} {
		if _, _, err := parseStat(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestAProcessThatOnlySharesTheIDIsSpared(t *testing.T) {
	child := started(t)
	real, err := Identify(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]Process{
		"started at another time": {ID: real.ID, Start: real.Start + 1, Boot: real.Boot},
		"of another boot":         {ID: real.ID, Start: real.Start, Boot: "another"},
	} {
		if other.Alive() {
			t.Errorf("%s: passes for the process", name)
		}
		if err := other.Kill(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !real.Alive() {
			t.Fatalf("%s: was killed", name)
		}
	}
	if err := real.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	if real.Alive() {
		t.Error("it lives on")
	}
	if err := real.Kill(); err != nil {
		t.Errorf("killing it again: %v", err)
	}
}

func TestAProcessThatEndedAndWasNotCollectedIsNotAlive(t *testing.T) {
	child := started(t)
	process, err := Identify(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// Waits for the end without collecting, so that a zombie is what is asked about.
	if err := waitForEnd(child.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if process.Alive() {
		t.Error("a zombie passes for a node")
	}
}

func TestNodesAreKnownByTheirCommandLine(t *testing.T) {
	cluster := layout.Cluster{Name: "a", Dir: "/c/a"}
	cases := map[string]bool{
		"easel-cluster\x00node-init\x00/c/a/nodes/node1\x00":        true,
		"easel-cluster\x00node-init\x00/c/ab/nodes/node1\x00":       false,
		"easel-cluster\x00node-init\x00/c/a\x00":                    false,
		"grep\x00node-init\x00-r\x00/c/a/nodes/node1\x00":           false,
		"easel-cluster\x00kubelet\x00--config=/c/a/nodes/node1\x00": false,
		"": false,
	}
	for commandLine, want := range cases {
		if got := isNodeOf(cluster, commandLine); got != want {
			t.Errorf("%q: %v", commandLine, got)
		}
	}
}

func TestCgroupMountsAreFoundInEveryLayout(t *testing.T) {
	cases := []struct {
		name, mounts string
		want         int
	}{
		{"version 2", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", 1},
		{"version 1", "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup /sys/fs/cgroup/pids cgroup rw 0 0\n", 2},
		{"mounted twice", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", 1},
		{"elsewhere", "cgroup2 /mnt cgroup2 rw 0 0\nbroken\n", 0},
	}
	for _, test := range cases {
		if got := parseCgroupMounts(test.mounts); len(got) != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestATreeOfCgroupsGoesFromTheBottom(t *testing.T) {
	root := filepath.Join(t.TempDir(), "easel0-node1")
	if err := os.MkdirAll(filepath.Join(root, "kubepods", "besteffort", "pod1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := removeTree(root); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(root); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
	if err := removeTree(root); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

func started(t *testing.T) *exec.Cmd {
	t.Helper()
	child := exec.Command("sleep", "600")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	return child
}
