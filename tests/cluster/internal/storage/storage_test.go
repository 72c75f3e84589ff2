package storage

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	core "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

func claimed(node string) controller.ProvisionOptions {
	reclaim := core.PersistentVolumeReclaimDelete
	return controller.ProvisionOptions{
		StorageClass:     &storage.StorageClass{ReclaimPolicy: &reclaim},
		PVName:           "pvc-1",
		SelectedNodeName: node,
		PVC: &core.PersistentVolumeClaim{Spec: core.PersistentVolumeClaimSpec{
			AccessModes: []core.PersistentVolumeAccessMode{core.ReadWriteOnce},
			Resources: core.VolumeResourceRequirements{
				Requests: core.ResourceList{core.ResourceStorage: resource.MustParse("1Gi")},
			},
		}},
	}
}

func TestAVolumeIsADirectoryOfItsNodeForEveryUser(t *testing.T) {
	root := t.TempDir()
	volume, state, err := directories{root}.Provision(context.Background(), claimed("node2"))
	if err != nil || state != controller.ProvisioningFinished {
		t.Fatal(state, err)
	}
	dir := filepath.Join(root, "node2", "pvc-1")
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if volume.Spec.Local.Path != dir || info.Mode().Perm() != 0o777 {
		t.Errorf("volume at %s, directory with mode %s", volume.Spec.Local.Path, info.Mode())
	}
	affinity := volume.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0]
	if affinity.Key != core.LabelHostname || affinity.Values[0] != "node2" {
		t.Errorf("bound to %+v", affinity)
	}
	size := volume.Spec.Capacity[core.ResourceStorage]
	if size.String() != "1Gi" || volume.Spec.PersistentVolumeReclaimPolicy != core.PersistentVolumeReclaimDelete {
		t.Errorf("volume is %+v", volume.Spec)
	}
}

func TestDeletingAVolumeRemovesOnlyItsDirectory(t *testing.T) {
	root := t.TempDir()
	provisioner := directories{root}
	volume, _, err := provisioner.Provision(context.Background(), claimed("node1"))
	if err != nil {
		t.Fatal(err)
	}
	dir := volume.Spec.Local.Path
	if err := os.WriteFile(filepath.Join(dir, "data"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	strangers := map[string]*core.PersistentVolume{
		"elsewhere":      local(volume.Name, t.TempDir()),
		"the root":       local(volume.Name, root),
		"another's name": local("pvc-2", dir),
		"upwards":        local("..", filepath.Join(root, "node1", "..")),
		"not local":      {ObjectMeta: meta.ObjectMeta{Name: volume.Name}},
	}
	for name, stranger := range strangers {
		if err := provisioner.Delete(context.Background(), stranger); err == nil {
			t.Errorf("%s: deleted", name)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := provisioner.Delete(context.Background(), volume); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
}

func TestNoVolumeWithoutANodeOrWithABadName(t *testing.T) {
	provisioner := directories{t.TempDir()}
	for _, node := range []string{"", "..", "a/b"} {
		if _, _, err := provisioner.Provision(context.Background(), claimed(node)); err == nil {
			t.Errorf("node %q: provisioned", node)
		}
	}
}

func TestTheClassIsTheDefaultAndWaits(t *testing.T) {
	client := fake.NewClientset()
	for range 2 {
		if err := CreateClass(context.Background(), client); err != nil {
			t.Fatal(err)
		}
	}
	class, err := client.StorageV1().StorageClasses().Get(context.Background(), ClassName, meta.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if class.Annotations["storageclass.kubernetes.io/is-default-class"] != "true" ||
		*class.VolumeBindingMode != storage.VolumeBindingWaitForFirstConsumer || class.Provisioner != Provisioner {
		t.Errorf("class is %+v", class)
	}
}

func local(name, path string) *core.PersistentVolume {
	return &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: name},
		Spec: core.PersistentVolumeSpec{
			PersistentVolumeSource: core.PersistentVolumeSource{Local: &core.LocalVolumeSource{Path: path}},
		},
	}
}
