package images

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	criTimeout = 20 * time.Second
	criPeriod  = 20 * time.Millisecond
)

// awaitCRI returns when the CRI, which follows containerd's events, shows the images to the kubelet.
func (i *Importer) awaitCRI(ctx context.Context, images []image, pinned bool) error {
	conn, ok := i.Client.Conn().(grpc.ClientConnInterface)
	if !ok {
		return fmt.Errorf("%w: containerd's client has no gRPC connection", errCRI)
	}
	ctx, cancel := context.WithTimeout(ctx, criTimeout)
	defer cancel()
	service := runtime.NewImageServiceClient(conn)
	tick := time.NewTicker(criPeriod)
	defer tick.Stop()
	for _, img := range images {
		for {
			shown, err := status(ctx, service, img.Name)
			if err != nil {
				return err
			}
			if shown != nil && (shown.Pinned || !pinned) {
				break
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("%w %s after %s", errCRI, img.Name, criTimeout)
			}
		}
	}
	return nil
}

func status(ctx context.Context, service runtime.ImageServiceClient, name string) (*runtime.Image, error) {
	answer, err := service.ImageStatus(ctx, &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: name}})
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", errCRI, name, err)
	}
	return answer.Image, nil
}
