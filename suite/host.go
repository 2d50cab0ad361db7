package suite

import "github.com/localbench/localbench/results/planbook"

// Host says where files of this program lie that are not in its binary. The zero value is an installation as `make build` leaves
// it: libraries of backends beside the program, and the tuning cache that it was built with.
type Host struct {
	LibraryDir string // folder in which libraries of backends are looked for first; empty: none
	PlanBook   string // file of the tuning cache; empty: the one that the program was built with
	// CUDNNFirst has the CUDA backend use cuDNN's convolutions where the tuning cache has none, also for shapes that it has
	// kernels of its own for. Those are the faster ones on the GPUs measured (docs/performance.md).
	CUDNNFirst bool
}

// Book reads the tuning cache.
func (h Host) Book() (planbook.Book, error) { return planbook.Open(h.PlanBook) }

// MessagePrefix begins an error or a warning on the standard error of a process. Of a process that ended without an event, the
// sweep shows the last message, without the prefix.
const MessagePrefix = "benchctl: "
