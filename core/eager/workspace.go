package eager

import (
	"slices"
	"strings"
)

// BLASWorkspace is the memory, in bytes, that PyTorch takes from its caching allocator for cuBLAS on a GPU and keeps: in
// every program with a linear layer it counts in max_memory_allocated. A GPU is found by name, in any case and with
// whatever a driver or a shop adds: "h100", "NVIDIA A100-SXM4-80GB", "GeForce RTX 4090". Not ok means that the name is not
// known here.
//
// The workspace of one handle is 2 x 4 MiB and 8 x 16 KiB, or 32 MiB on GPUs of compute capability 9, 10 and 12
// (parseChosenWorkspaceSize in aten/src/ATen/cuda/CublasHandlePool.cpp, PyTorch 2.15; CUBLAS_WORKSPACE_CONFIG changes
// it). cuBLASLt uses the same one. There are two handles: that of the thread that runs the forward pass, and
// that of autograd's thread. The second follows from the source; it was not measured.
func BLASWorkspace(gpu string) (bytes int64, ok bool) {
	const handles = 2
	words := strings.FieldsFunc(strings.ToLower(gpu), func(r rune) bool { return r == ' ' || r == '-' || r == '_' || r == '/' })
	for _, g := range []struct {
		bytes int64 // of a handle
		names string
	}{
		{32 << 20, "h100 h200 h800 h20 gh200 b100 b200 b300 gb200 gb300 5060 5070 5080 5090 rtx5060 rtx5070 rtx5080 rtx5090"},
		{2*4<<20 + 8*16<<10, "k80 p4 p40 p100 v100 t4 a2 a10 a10g a16 a30 a40 a100 a800 a4000 a4500 a5000 a5500 a6000 l4 l40 l40s " +
			"1080 2080 3060 3070 3080 3090 4060 4070 4080 4090 rtx2080 rtx3060 rtx3070 rtx3080 rtx3090 rtx4060 rtx4070 rtx4080 rtx4090"},
	} {
		for _, name := range strings.Fields(g.names) {
			if slices.Contains(words, name) {
				return handles * g.bytes, true
			}
		}
	}
	return 0, false
}
