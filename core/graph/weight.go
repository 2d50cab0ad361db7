package graph

// Weight says how a persistent value starts and in which order its elements
// travel in files. Files and initialisation use the canonical order of the
// common frameworks (OIHW, channels before positions); the program uses the
// order that its kernels read.
type Weight struct {
	Init   Init
	Scale  float64  // InitNormal: standard deviation; InitUniform: bound; InitConstant: the constant
	Layout Layout   // the program's order
	Source [3]int64 // LayoutFlattened: channels, height and width of the map that was flattened
}

// Init is a distribution of starting values.
type Init uint8

// The distributions.
const (
	InitConstant Init = iota // Scale everywhere
	InitNormal               // normal(0, Scale)
	InitUniform              // uniform in [-Scale, Scale)
)

// Layout relates the program's order of elements to the canonical one.
type Layout uint8

// The layouts.
const (
	LayoutPlain     Layout = iota // the same
	LayoutConv                    // program [O H W I], canonical [O I H W]
	LayoutFlattened               // program [out H*W*C], canonical [out C*H*W]
)

// CanonicalShape is the shape of v in files.
func (v *Value) CanonicalShape() Shape {
	if v.Weight != nil && v.Weight.Layout == LayoutConv {
		s := v.Shape
		return Shape{s[0], s[3], s[1], s[2]}
	}
	return v.Shape
}

// ToProgram copies src, in canonical order, to dst in the program's order. Both
// hold v.Shape.Elements() elements and must not overlap.
func ToProgram[T any](v *Value, dst, src []T) {
	v.permute(func(program, canonical int64) { dst[program] = src[canonical] })
}

// ToCanonical is the inverse of ToProgram.
func ToCanonical[T any](v *Value, dst, src []T) {
	v.permute(func(program, canonical int64) { dst[canonical] = src[program] })
}

// permute calls f with every pair of positions.
func (v *Value) permute(f func(program, canonical int64)) {
	outer, channels, positions := v.Shape.Elements(), int64(1), int64(1)
	if w := v.Weight; w != nil && w.Layout == LayoutConv {
		outer, channels, positions = v.Shape[0], v.Shape[3], v.Shape[1]*v.Shape[2]
	} else if w != nil && w.Layout == LayoutFlattened {
		outer, channels, positions = v.Shape[0], w.Source[0], w.Source[1]*w.Source[2]
	}
	for o := range outer {
		base := o * channels * positions
		for p := range positions {
			for c := range channels {
				f(base+p*channels+c, base+c*positions+p)
			}
		}
	}
}
