package gpu

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// period is how often the file with the number, and the kubelet, are looked at.
const period = 250 * time.Millisecond

const socketName = "easel-gpu.sock"

type plugin struct {
	v1beta1.UnimplementedDevicePluginServer
	countFile string
}

// Run serves the kubelet until the context ends. It starts to when the first GPU is asked for, and again after each restart
// of the kubelet, which forgets its plugins and removes their sockets.
func Run(ctx context.Context, countFile string) {
	for ctx.Err() == nil {
		if count, err := ReadCount(countFile); err != nil {
			log.Print(err)
		} else if count > 0 {
			if err := serveOnce(ctx, countFile); err != nil {
				log.Print(err)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(period):
		}
	}
}

// serveOnce returns when the kubelet has removed the plugin's socket.
func serveOnce(ctx context.Context, countFile string) error {
	path := filepath.Join(v1beta1.DevicePluginPath, socketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the old socket: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("listen for the kubelet: %w", err)
	}
	server := grpc.NewServer()
	v1beta1.RegisterDevicePluginServer(server, plugin{countFile: countFile})
	defer server.Stop()
	go func() { _ = server.Serve(listener) }()
	if err := register(ctx); err != nil {
		return err
	}
	log.Printf("registered %s", Resource)
	for ctx.Err() == nil {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("the kubelet has started again: %w", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(period):
		}
	}
	return nil
}

func register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	connection, err := grpc.NewClient("unix://"+v1beta1.KubeletSocket,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect to the kubelet: %w", err)
	}
	defer func() { _ = connection.Close() }()
	_, err = v1beta1.NewRegistrationClient(connection).Register(ctx, &v1beta1.RegisterRequest{
		Version: v1beta1.Version, Endpoint: socketName, ResourceName: Resource, Options: &v1beta1.DevicePluginOptions{},
	})
	if err != nil {
		return fmt.Errorf("register %s with the kubelet: %w", Resource, err)
	}
	return nil
}

// GetDevicePluginOptions asks for none of the optional calls.
func (plugin) GetDevicePluginOptions(context.Context, *v1beta1.Empty) (*v1beta1.DevicePluginOptions, error) {
	return &v1beta1.DevicePluginOptions{}, nil
}

// ListAndWatch sends the list of devices, and again whenever their number changes.
func (p plugin) ListAndWatch(_ *v1beta1.Empty, stream grpc.ServerStreamingServer[v1beta1.ListAndWatchResponse]) error {
	sent := -1
	for {
		count, err := ReadCount(p.countFile)
		if err != nil {
			return err
		}
		if count != sent {
			if err := stream.Send(&v1beta1.ListAndWatchResponse{Devices: devices(count)}); err != nil {
				return err
			}
			sent = count
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-time.After(period):
		}
	}
}

// Allocate agrees to whatever the kubelet picked; there is nothing to hand into the container.
func (plugin) Allocate(_ context.Context, request *v1beta1.AllocateRequest) (*v1beta1.AllocateResponse, error) {
	response := &v1beta1.AllocateResponse{}
	for range request.ContainerRequests {
		response.ContainerResponses = append(response.ContainerResponses, &v1beta1.ContainerAllocateResponse{})
	}
	return response, nil
}
