// Package storage provides the default StorageClass: a volume is a directory of the node that the pod was scheduled to.
package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// Provisioner is the name by which the StorageClass asks for this provisioner.
const Provisioner = "easel.dev/node-directory"

// directories makes volumes below root, at root/NODE/VOLUME. The nodes share the machine's disk, so that one provisioner
// serves all of them.
type directories struct{ root string }

// Run provisions and deletes volumes until the context ends.
func Run(ctx context.Context, client kubernetes.Interface, root string) {
	controller.NewProvisionController(ctx, client, Provisioner, directories{root},
		controller.LeaderElection(false),
		controller.MetricsPort(0),
		// A claim that fails once, as when its node is being drained, is tried again within a test's patience.
		controller.ExponentialBackOffOnError(false),
	).Run(ctx)
}

// Provision makes the directory; doing it twice is harmless.
func (d directories) Provision(
	_ context.Context, options controller.ProvisionOptions,
) (*core.PersistentVolume, controller.ProvisioningState, error) {
	if options.SelectedNodeName == "" {
		return nil, controller.ProvisioningFinished, errors.New("no node was selected: the StorageClass has to wait for the first consumer")
	}
	dir, err := d.path(options.SelectedNodeName, options.PVName)
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("make the volume: %w", err)
	}
	// The pod runs as any user, and the umask has cut the mode above.
	if err := os.Chmod(dir, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("open the volume to all users: %w", err)
	}
	return volume(options, dir), controller.ProvisioningFinished, nil
}

// Delete removes the directory and what is in it.
func (d directories) Delete(_ context.Context, volume *core.PersistentVolume) error {
	if volume.Spec.Local == nil {
		return fmt.Errorf("volume %s is no local directory", volume.Name)
	}
	dir := volume.Spec.Local.Path
	want, err := d.path(filepath.Base(filepath.Dir(dir)), volume.Name)
	if err != nil {
		return err
	}
	if dir != want {
		return fmt.Errorf("volume %s is at %s, which this provisioner did not make", volume.Name, dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the volume: %w", err)
	}
	return nil
}

func (d directories) path(node, volume string) (string, error) {
	for _, part := range []string{node, volume} {
		if part == "" || part == "." || part == ".." || strings.ContainsRune(part, filepath.Separator) {
			return "", fmt.Errorf("%q is no name of a directory", part)
		}
	}
	return filepath.Join(d.root, node, volume), nil
}

func volume(options controller.ProvisionOptions, dir string) *core.PersistentVolume {
	mode := core.PersistentVolumeFilesystem
	return &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: options.PVName},
		Spec: core.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			AccessModes:                   options.PVC.Spec.AccessModes,
			VolumeMode:                    &mode,
			// What was asked for; a directory has no limit of its own.
			Capacity: core.ResourceList{
				core.ResourceStorage: options.PVC.Spec.Resources.Requests[core.ResourceStorage],
			},
			PersistentVolumeSource: core.PersistentVolumeSource{Local: &core.LocalVolumeSource{Path: dir}},
			NodeAffinity: &core.VolumeNodeAffinity{Required: &core.NodeSelector{
				NodeSelectorTerms: []core.NodeSelectorTerm{{MatchExpressions: []core.NodeSelectorRequirement{{
					Key: core.LabelHostname, Operator: core.NodeSelectorOpIn, Values: []string{options.SelectedNodeName},
				}}}},
			}},
		},
	}
}
