package gpu

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

func TestTheCountIsReadAsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gpus")
	if count, err := ReadCount(path); err != nil || count != 0 {
		t.Errorf("without a file: %d, %v", count, err)
	}
	for _, want := range []int{4, 0, Max} {
		if err := WriteCount(path, want); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadCount(path); err != nil || got != want {
			t.Errorf("%d, %v; want %d", got, err, want)
		}
	}
	for _, bad := range []int{-1, Max + 1} {
		if err := WriteCount(path, bad); err == nil {
			t.Errorf("%d was taken", bad)
		}
	}
	for _, bad := range []string{"", "many", "-3"} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadCount(path); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// stream is the kubelet's end of ListAndWatch.
type stream struct {
	grpc.ServerStream
	ctx  context.Context
	sent chan int
}

func (s *stream) Context() context.Context { return s.ctx }

func (s *stream) Send(response *v1beta1.ListAndWatchResponse) error {
	s.sent <- len(response.Devices)
	return nil
}

func TestTheKubeletHearsOfEveryChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gpus")
	ctx, cancel := context.WithCancel(context.Background())
	kubelet := &stream{ctx: ctx, sent: make(chan int)}
	ended := make(chan error, 1)
	if err := WriteCount(path, 2); err != nil {
		t.Fatal(err)
	}
	go func() { ended <- plugin{countFile: path}.ListAndWatch(nil, kubelet) }()
	for _, next := range []struct{ heard, set int }{{2, 5}, {5, 0}, {0, 0}} {
		if got := <-kubelet.sent; got != next.heard {
			t.Errorf("heard of %d devices, want %d", got, next.heard)
		}
		if err := WriteCount(path, next.set); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDevicesHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, device := range devices(8) {
		if seen[device.ID] || device.Health != v1beta1.Healthy {
			t.Errorf("device %v", device)
		}
		seen[device.ID] = true
	}
}

func TestEachContainerIsAnswered(t *testing.T) {
	request := &v1beta1.AllocateRequest{ContainerRequests: []*v1beta1.ContainerAllocateRequest{{}, {}}}
	response, err := plugin{}.Allocate(context.Background(), request)
	if err != nil || len(response.ContainerResponses) != 2 {
		t.Errorf("%v, %v", response, err)
	}
}
