package graph

import "iter"

// Weight says how a persistent value starts and in which order its elements
// travel in files. Files and initialisation use the canonical order of the
// common frameworks (OIHW, channels before positions); the program uses the
// order that its kernels read.
type Weight struct {
	Init   Init
	Scale  float64  // InitNormal: standard deviation; InitUniform: bound; InitConstant: the constant
	Layout Layout   // the program's order
	Source [3]int64 // LayoutFlattened: channels, height and width of the map that was flattened
	// Canonical is the shape in files, of as many elements in the same order, where it is not the one that follows from the layout.
	Canonical Shape
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
	if v.Weight != nil && v.Weight.Canonical != nil {
		return v.Weight.Canonical
	}
	if v.Weight != nil && v.Weight.Layout == LayoutConv {
		s := v.Shape
		return Shape{s[0], s[3], s[1], s[2]}
	}
	return v.Shape
}

// Pieces divides the elements of v and yields the first element and the length of each piece: at most that many elements,
// but at least one row, the elements of one output, which occupy the same range in both orders. ToProgram and
// ToCanonical reorder each piece on its own.
func (v *Value) Pieces(most int64) iter.Seq2[int64, int64] {
	channels, positions := v.rows()
	piece := max(most/(channels*positions), 1) * channels * positions
	return func(yield func(first, n int64) bool) {
		all := v.Shape.Elements()
		for first := int64(0); first < all; first += piece {
			if !yield(first, min(piece, all-first)) {
				return
			}
		}
	}
}

// ToProgram copies src, in canonical order, to dst in the program's order. Both
// hold the same rows of v, such as all of them or a piece (Pieces), and must not overlap.
func ToProgram[T any](v *Value, dst, src []T) {
	channels, positions := v.rows()
	transpose(dst, src, channels, positions)
}

// ToCanonical is the inverse of ToProgram.
func ToCanonical[T any](v *Value, dst, src []T) {
	channels, positions := v.rows()
	transpose(dst, src, positions, channels)
}

// rows returns the shape of a row of v: [channels positions] in canonical order, [positions channels] in the program's.
func (v *Value) rows() (channels, positions int64) {
	if w := v.Weight; w != nil && w.Layout == LayoutConv {
		return v.Shape[3], v.Shape[1] * v.Shape[2]
	} else if w != nil && w.Layout == LayoutFlattened {
		return w.Source[0], w.Source[1] * w.Source[2]
	}
	return 1, 1
}

// transpose copies matrices of src, each [height width] and one after the other, to dst as [width height].
func transpose[T any](dst, src []T, height, width int64) {
	if height == 1 || width == 1 {
		copy(dst, src)
		return
	}
	for size := height * width; len(src) > 0; dst, src = dst[size:], src[size:] {
		for y := range height {
			for x, element := range src[y*width : (y+1)*width] {
				dst[int64(x)*height+y] = element
			}
		}
	}
}
