// Package graph is the step program before it is planned: values with fixed
// shapes, and ops in the order in which they run.
//
// A training step is known before it runs. Batch size, network and method fix
// every shape, so a graph holds no symbolic dimension, no control flow and no
// hidden state: what is not an op does not happen, and what is not a value
// takes no memory. Everything downstream (reverse mode, fusion, planning,
// execution, the memory profile) reads this one type and nothing else.
//
// Opinions:
//   - Activations are NHWC. A value's size is the product of its shape times
//     the size of its element; there are no strides and no padding.
//   - A value is written once, by one op (static single assignment). Parameters,
//     buffers and optimizer state are the exception: ops that update them say so
//     (Op.Mutates).
//   - Every value knows its category, its scope and the local module that owns
//     it, so every byte of a plan can be attributed.
//   - Building checks shapes at once and never panics; the first error stays in
//     the Builder and names the scope and the shapes.
package graph

import (
	"fmt"
	"strings"
)

// ElementType is the type of one element of a value.
type ElementType uint8

// The element types of the step program.
const (
	TypeF32  ElementType = iota // IEEE 754 binary32
	TypeS32                     // 32-bit signed integer: class labels
	TypeU8                      // byte: images in 0..255, window indices
	TypeBF16                    // the upper half of an f32: 8 bits of precision, the range of f32
)

// Bytes returns the size of one element.
func (t ElementType) Bytes() int64 { return [...]int64{4, 4, 1, 2}[t] }

// String returns the short name used in dumps: f32, s32, u8, bf16.
func (t ElementType) String() string { return [...]string{"f32", "s32", "u8", "bf16"}[t] }

// Category says what a value is for. Every value has exactly one; the memory
// profile sums bytes by it.
type Category uint8

// The categories, in the order in which tables print them.
const (
	CategoryParameter          Category = iota // weights of the network
	CategoryAuxiliaryParameter                 // weights of auxiliary networks
	CategoryBuffer                             // running statistics
	CategoryOptimizer                          // state of the optimizer: momentum, averages of gradients
	CategoryGradient                           // of parameters and of activations
	CategorySaved                              // activations read again by the backward pass
	CategoryCompressed                         // saved activations in fewer bits
	CategoryActivation                         // activations that die in the forward pass
	CategoryWorkspace                          // of one kernel, copies of weights in another type
	CategoryInput                              // the batch and the run-time scalars
	categoryCount
)

// Categories lists all categories in table order.
func Categories() []Category {
	all := make([]Category, categoryCount)
	for i := range all {
		all[i] = Category(i)
	}
	return all
}

// String returns the name that records and tables use.
func (c Category) String() string {
	return [...]string{"parameters", "auxiliary parameters", "buffers", "optimizer state", "gradients",
		"saved activations", "compressed activations", "transient activations", "workspace", "input batch"}[c]
}

// Persistent reports whether values of the category live from step to step.
func (c Category) Persistent() bool { return c <= CategoryOptimizer }

// Phase is the part of a training step an op belongs to.
type Phase uint8

// The phases of a step, in table order.
const (
	PhaseForward Phase = iota
	PhaseAuxiliary
	PhaseBackward
	PhaseUpdate
	PhaseCount = iota
)

// String returns the name that records use.
func (p Phase) String() string {
	return [...]string{"forward", "auxiliary", "backward", "update"}[p]
}

// Shape is the extent of each dimension, outermost first: [N H W C] for
// activations, [O H W I] for convolution weights, [out in] for linear weights.
// Shapes are shared between values and must not be changed after creation.
type Shape []int64

// Elements returns the product of the extents; 1 for the empty shape.
func (s Shape) Elements() int64 {
	n := int64(1)
	for _, d := range s {
		n *= d
	}
	return n
}

// Equal reports whether both shapes have the same extents.
func (s Shape) Equal(t Shape) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range s {
		if s[i] != t[i] {
			return false
		}
	}
	return true
}

// String prints the shape as 128x32x32x16.
func (s Shape) String() string {
	if len(s) == 0 {
		return "scalar"
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint([]int64(s)), " ", "x"), "[]")
}

// Value is one tensor of the program.
type Value struct {
	ID       int         // position in Graph.Values
	Name     string      // unique in the graph: "layer2.1.conv1.weight", "layer2.1/conv1:y"
	Scope    string      // where it was made: "module3/layer2.1/bn1"
	Module   int         // the local module that owns it; NoModule for inputs
	Shape    Shape       // NHWC, OHWI, [out in] or [C]
	Type     ElementType // of one element
	Category Category    // what it is for
	// Shares is the value whose storage this one aliases, nil if it has its
	// own. Set by the in-place pass: it is an operand of the op that makes
	// this value, and no later op reads it.
	Shares *Value
	// Recomputes is the value of the forward pass that this one holds again, recomputed for the backward pass; nil for
	// others. Set by passes.Recompute.
	Recomputes *Value
	// Stores is the activation that this value holds in fewer bits, expanded again for the backward pass, or normalised for the
	// mask of its activation; nil for others. Set by passes.Store.
	Stores *Value
	// Weight says how a parameter or buffer starts and travels; nil for others.
	Weight *Weight
}

// NoModule is the module of values that belong to no local module.
const NoModule = -1

// Bytes is the exact size of the value.
func (v *Value) Bytes() int64 { return v.Shape.Elements() * v.Type.Bytes() }

// Storage returns the value at the root of the chain of Shares: the one whose
// bytes this value lies in.
func (v *Value) Storage() *Value {
	for v.Shares != nil {
		v = v.Shares
	}
	return v
}

// String prints name, type and shape.
func (v *Value) String() string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%s %s[%s]", v.Name, v.Type, v.Shape)
}

// Op is one call of a kernel.
type Op struct {
	Kind     Kind
	Operands []*Value // by role, see Kind.Roles; an absent optional operand is nil
	Results  []*Value
	Attr     Attributes
	Scope    string // "module3/layer2.1/bn1"
	Module   int    // the local module it works for
	Phase    Phase
	// Forward is, of an op that autodiff wrote, the op that it differentiates; nil for others. All such ops of one
	// forward op, but the sums of gradients among them, are what an eager framework runs as one node.
	Forward *Op
	// Stream is the stream on which the op runs. Ops of one stream run in program order, ops of
	// different streams concurrently unless Waits orders them. A program has one stream, 0,
	// unless passes.Overlap adds more.
	Stream int
	// Waits are positions of earlier ops, at most one of each other stream, that must have ended
	// before this op begins.
	Waits []int
}

// Attributes are the compile-time constants of an op. Each kind reads the
// fields its builder method documents and leaves the rest zero.
type Attributes struct {
	Kernel       [2]int64   // window height and width: pooling
	Stride       [2]int64   // vertical and horizontal: convolution, pooling
	Padding      [2]int64   // rows above and below, columns left and right
	Output       [2]int64   // height and width of the result, where not implied
	Input        [4]int64   // shape of the forward op's input, for its backward op
	Dilation     [2]int64   // convolution: rows and columns from one tap to the next; 0 means 1
	Groups       int64      // convolution groups
	Activation   Activation // of the result; gate: of the factor
	Following    Activation // conv_norm_backward: of the normalisation that follows the convolution
	Bias         bool       // the backward op also gives the bias gradient
	InputSums    bool       // conv_norm_backward: it also gives what norm_backward_sums gives of the input's normalisation
	CountPadding bool       // average pooling divides by the window's part in the padded input
	Nesterov     bool       // sgd
	Reflect      bool       // augment: the border mirrors the image, else it is zero
	Flip         bool       // augment: half of the images are mirrored
	Rows         bool       // dropout: of whole samples; linear: of every row, the last dimension
	Salt         int64      // dropout, quantize: selects the op's part of the stream, 32 bits
	Bits         int64      // quantize, dequantize: of an element, 8, 4 or 1
	Decoupled    bool       // adam: weight decay apart from the gradient (AdamW)
	Epsilon      float64    // added to the variance; adam, rmsprop, adagrad: to the root
	Momentum     float64    // of running statistics; of sgd and rmsprop
	WeightDecay  float64    // updates
	Beta1        float64    // adam: decay of the average of gradients
	Beta2        float64    // adam, rmsprop (alpha): decay of the average of their squares
	Scale        float64    // weight of a loss in the sum of its module
	Classes      int64      // similarity: number of classes
	Axis         int64      // concat, slice: the dimension
	Offset       int64      // slice: where it begins along the axis
	Length       int64      // slice: its extent along the axis
	View         [4]int64   // permute: the extents that x is read with
	Order        [4]int64   // permute: the dimension of the view that dimension i of the result is
	Shape        [4]int64   // slice_backward, permute, reshape, dequantize: of the result, followed by zeros
	Temperature  float64    // contrast: divides the products of features
	Rate         float64    // dropout: the share that is dropped
	Mean         [4]float64 // normalize_image, by channel, in 0..255
	Deviation    [4]float64 // normalize_image, by channel, in 0..255
	// Element is the type of the result where the operands leave it open, f32 or bf16:
	// cast, normalize_image, dequantize, and the gradients of losses over logits.
	Element ElementType
}

// Activation is a function of each element.
type Activation uint8

// The activations. The numbers are part of the program format.
const (
	ActivationNone        Activation = iota // x
	ActivationReLU                          // max(x, 0)
	ActivationReLU6                         // min(max(x, 0), 6)
	ActivationSiLU                          // x / (1 + exp(-x))
	ActivationHardswish                     // x * min(max(x + 3, 0), 6) / 6
	ActivationHardsigmoid                   // min(max(x + 3, 0), 6) / 6
	ActivationSigmoid                       // 1 / (1 + exp(-x))
	ActivationGELU                          // x * (1 + erf(x / sqrt(2))) / 2
	ActivationGELUTanh                      // x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 * x^3))) / 2
	activationCount
)

// String returns the name of the activation in op names and error texts.
func (a Activation) String() string {
	if a >= activationCount {
		return fmt.Sprintf("activation %d", uint8(a))
	}
	return [...]string{"none", "relu", "relu6", "silu", "hardswish", "hardsigmoid", "sigmoid", "gelu", "gelu_tanh"}[a]
}

// Rectifies reports whether the derivative is 0 or 1, so that it follows from the result.
func (a Activation) Rectifies() bool { return a == ActivationReLU || a == ActivationReLU6 }

// FromResult reports whether the derivative follows from the result: then backward reads that, and the operand need not be saved.
func (a Activation) FromResult() bool {
	return a.Rectifies() || a == ActivationSigmoid || a == ActivationHardsigmoid
}

// Fuses reports whether a normalisation can apply the activation itself (FuseNorm). Its backward op computes the derivative
// from the operand of the normalisation.
func (a Activation) Fuses() bool { return a <= ActivationHardswish }

// Graph is a step program. The zero value is not useful; see Builder.
type Graph struct {
	Values  []*Value
	Ops     []*Op
	Inputs  []*Value // written before every run, in the order they were declared
	Outputs []*Value // readable after a run: no other value may alias them
}

// Parameter returns the persistent value of that name, nil if there is none.
func (g *Graph) Parameter(name string) *Value {
	for _, v := range g.Values {
		if v.Name == name && v.Category.Persistent() {
			return v
		}
	}
	return nil
}

// Input returns the input of that name, nil if there is none.
func (g *Graph) Input(name string) *Value {
	for _, v := range g.Inputs {
		if v.Name == name {
			return v
		}
	}
	return nil
}

// FLOPs sums the floating-point operations of the convolutions and linear
// layers of the given phases (all, if none is named), a multiply-add counted
// as two. Normalisation, pooling and losses are not counted, as is the custom
// of the field.
func (g *Graph) FLOPs(phases ...Phase) int64 {
	var sum int64
	for _, op := range g.Ops {
		if len(phases) == 0 {
			sum += op.FLOPs()
		}
		for _, p := range phases {
			if op.Phase == p {
				sum += op.FLOPs()
			}
		}
	}
	return sum
}
