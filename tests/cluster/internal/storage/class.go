package storage

import (
	"context"
	"fmt"

	core "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// ClassName is the name of the default StorageClass.
const ClassName = "standard"

// CreateClass makes the default StorageClass unless it is there.
func CreateClass(ctx context.Context, client kubernetes.Interface) error {
	reclaim := core.PersistentVolumeReclaimDelete
	binding := storage.VolumeBindingWaitForFirstConsumer
	class := &storage.StorageClass{
		ObjectMeta: meta.ObjectMeta{
			Name:        ClassName,
			Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"},
		},
		Provisioner:       Provisioner,
		ReclaimPolicy:     &reclaim,
		VolumeBindingMode: &binding,
	}
	_, err := client.StorageV1().StorageClasses().Create(ctx, class, meta.CreateOptions{})
	if err != nil && !errors.IsAlreadyExists(err) {
		return fmt.Errorf("create the StorageClass %s: %w", ClassName, err)
	}
	return nil
}
