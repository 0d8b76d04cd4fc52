package images

import (
	"errors"
	"io"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
)

var (
	errNothing  = errors.New("the file is empty")
	errEmpty    = errors.New("the archive has no image that can be imported")
	errUnnamed  = errors.New("has no name")
	errPlatform = errors.New("is for other machines")
	errMissing  = errors.New("the archive is not complete, or damaged: it lacks")
	errCRI      = errors.New("the CRI does not show the image")
)

// diagnose says what to do about an error, and whether it may go away by itself.
func diagnose(err error) (mend string, again bool) {
	text := err.Error()
	switch {
	case errors.Is(err, errUnknown):
		return "name it " + strings.Join(endings(), ", ") + " or move it elsewhere", false
	case errors.Is(err, errUnnamed):
		return `save it under a name ("docker save NAME:TAG"), or set the annotation io.containerd.image.name in its index.json`, false
	case errors.Is(err, errPlatform):
		return "save the image for this machine's platform", false
	case errors.Is(err, syscall.ENOSPC), strings.Contains(text, syscall.ENOSPC.Error()), errors.Is(err, syscall.EDQUOT), strings.Contains(text, syscall.EDQUOT.Error()):
		return "free some space: kedge tries again", true
	case errdefs.IsUnavailable(err), errdefs.IsDeadlineExceeded(err), errors.Is(err, errCRI):
		return "nothing: kedge tries again", true
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errMissing), errors.Is(err, errNothing):
		return "copy the whole file again, at best under another name that is then changed", false
	case strings.Contains(text, "unrecognized image format"):
		return `make it with "docker save", or "skopeo copy … oci-archive:FILE:NAME:TAG"`, false
	}
	return "check the file, and copy it again", false
}
