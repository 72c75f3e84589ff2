// Package gpu advertises GPUs that are not there, by the kubelet's device plugin interface, as the vendor's plugin does for
// real ones. Pods that ask for `nvidia.com/gpu` are then counted, scheduled, queued and refused as on a real node.
package gpu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// Resource is what pods ask for.
const Resource = "nvidia.com/gpu"

// Max is the largest number of GPUs per node that is accepted; more than any machine has.
const Max = 1024

// WriteCount sets how many GPUs each node of a cluster advertises.
func WriteCount(path string, count int) error {
	if count < 0 || count > Max {
		return fmt.Errorf("%d GPUs: want 0 to %d", count, Max)
	}
	// Renamed into place, so that the plugin never reads half a number.
	unfinished := path + ".unfinished"
	if err := os.WriteFile(unfinished, []byte(strconv.Itoa(count)), 0o644); err != nil {
		return fmt.Errorf("write the number of GPUs: %w", err)
	}
	if err := os.Rename(unfinished, path); err != nil {
		return fmt.Errorf("set the number of GPUs: %w", err)
	}
	return nil
}

// ReadCount is how many GPUs each node advertises; without a file none.
func ReadCount(path string) (int, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the number of GPUs: %w", err)
	}
	count, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil || count < 0 || count > Max {
		return 0, fmt.Errorf("number of GPUs in %s: %q", path, content)
	}
	return count, nil
}

func devices(count int) []*v1beta1.Device {
	list := make([]*v1beta1.Device, count)
	for i := range list {
		list[i] = &v1beta1.Device{ID: fmt.Sprintf("gpu-%d", i), Health: v1beta1.Healthy}
	}
	return list
}
