package eager

import (
	"slices"
	"strings"

	"github.com/localbench/localbench/core/graph"
)

// BLASHandles is the number of handles of cuBLAS in BLASWorkspace.
const BLASHandles = 2

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
				return BLASHandles * g.bytes, true
			}
		}
	}
	return 0, false
}

// workspace is what op takes from the allocator for its kernel and gives back, in bytes, where the options count it.
func (o Options) workspace(op *graph.Op) int64 {
	if !o.Workspaces {
		return 0
	}
	switch op.Kind {
	case graph.KindConv:
		return convWorkspace(op, op.Operands[0], op.Operands[1], op.Results[0])
	case graph.KindConvBackwardData:
		return convWorkspace(op, op.Results[0], op.Operands[1], op.Operands[0])
	case graph.KindConvBackwardWeights:
		return convWorkspace(op, op.Operands[0], op.Results[0], op.Operands[1])
	}
	return 0
}

// convWorkspace estimates the workspace that cuDNN's heuristics ask for a convolution of maps x [N H W C] with weights w to y, in
// f32 with tf32 products, without trials (cudnn.benchmark=False, PyTorch's default).
//
// The kernels on tensor cores read and write maps with the channels last, and PyTorch's are not, unless told so. The workspace
// has copies: in the forward pass of x and w, for the gradients of x, y and w. That is what cuDNN answers for convolutions over
// more than 1x1: its versions 9.8 and 9.19, asked for RTX 3060 and RTX 4060 (testdata/make_workspaces.py). Of grouped
// convolutions it is the gradient of the weights. First layers, of up to 4 channels, need none, nor do depthwise convolutions,
// for which PyTorch has kernels of its own. For many convolutions over 1x1 the two versions disagree; none is counted.
func convWorkspace(op *graph.Op, x, w, y *graph.Value) int64 {
	channels, groups := x.Shape[3], max(op.Attr.Groups, 1)
	if channels <= 4 || groups == channels || w.Shape[1] == 1 && w.Shape[2] == 1 {
		return 0
	}
	switch {
	case groups > 1 && op.Kind != graph.KindConvBackwardWeights:
		return 0
	case op.Kind == graph.KindConv:
		return x.Bytes() + w.Bytes()
	}
	return x.Bytes() + w.Bytes() + y.Bytes()
}
