package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"easel.dev/tests/cluster/internal/layout"
)

func TestAFailedStartShowsTheEndOfTheLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var log strings.Builder
	for line := range 5000 {
		_, _ = fmt.Fprintf(&log, "line %d with some words to it\n", line)
	}
	if err := os.WriteFile(path, []byte(log.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := tail(path)
	if len(lines) != tailLines || !strings.HasPrefix(lines[tailLines-1], "line 4999 ") {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
	message := (&GaveUp{Node: "node1", Component: "etcd", Status: "exit status 1", Log: path, Tail: lines}).Error()
	for _, want := range []string{"node1: etcd did not start: exit status 1", "line 4980 ", path} {
		if !strings.Contains(message, want) {
			t.Errorf("message lacks %q:\n%s", want, message)
		}
	}
}

func TestWaitingEndsWithWhatWasMissingLast(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	missing := errors.New("the moon")
	err := waitFor(ctx, nil, func(context.Context, kubernetes.Interface) error { return missing })
	if !errors.Is(err, missing) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestWaitingEndsAtOnceWhenANodeGaveUp(t *testing.T) {
	calls := 0
	err := waitFor(context.Background(), nil, func(context.Context, kubernetes.Interface) error {
		calls++
		return &GaveUp{Component: "etcd"}
	})
	var gaveUp *GaveUp
	if !errors.As(err, &gaveUp) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestANodeIsReadyWhenItSaysSoAndTakesPods(t *testing.T) {
	ready := []core.NodeCondition{{Type: core.NodeReady, Status: core.ConditionTrue}}
	waiting := []core.NodeCondition{{Type: core.NodeReady, Status: core.ConditionFalse, Message: "no network"}}
	cases := []struct {
		name       string
		conditions []core.NodeCondition
		taint      string
		want       string
	}{
		{"ready", ready, "", ""},
		{"ready, with a user's taint", ready, "example.org/mine", ""},
		{"ready, not yet released", ready, core.TaintNodeNotReady, "taint"},
		{"not ready", waiting, "", "no network"},
		{"silent", nil, "", "not reported"},
	}
	for _, test := range cases {
		node := &core.Node{ObjectMeta: meta.ObjectMeta{Name: "node1"}, Status: core.NodeStatus{Conditions: test.conditions}}
		if test.taint != "" {
			node.Spec.Taints = []core.Taint{{Key: test.taint}}
		}
		got := notReady(node)
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q", test.name, got)
		}
		err := nodesReady(1)(context.Background(), fake.NewClientset(node))
		if (err == nil) != (test.want == "") {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestACompletedPodIsNotMissed(t *testing.T) {
	cases := []struct {
		name   string
		status core.PodStatus
		want   string
	}{
		{"completed", core.PodStatus{Phase: core.PodSucceeded}, ""},
		{"ready", core.PodStatus{Phase: core.PodRunning, Conditions: []core.PodCondition{
			{Type: core.PodReady, Status: core.ConditionTrue},
		}}, ""},
		{"crashing", core.PodStatus{Phase: core.PodRunning, ContainerStatuses: []core.ContainerStatus{
			{State: core.ContainerState{Waiting: &core.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}},
		}}, "CrashLoopBackOff"},
		{"pending", core.PodStatus{Phase: core.PodPending}, "Pending"},
	}
	for _, test := range cases {
		got := podNotReady(&core.Pod{Status: test.status})
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q", test.name, got)
		}
	}
}

func TestACommandOnNoClusterSaysHowToStartOne(t *testing.T) {
	cluster := layout.Cluster{Name: "none", Dir: filepath.Join(t.TempDir(), "none")}
	_, err := Running(cluster)
	if err == nil || !strings.Contains(err.Error(), "easel-cluster up --name none") {
		t.Error(err)
	}
}

func TestACallerThatGivesUpStopsWaitingForTheLock(t *testing.T) {
	t.Setenv(layout.CacheVariable, t.TempDir())
	release, err := Lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	release()
	again, err := Lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	again()
}
