package figure

import (
	"image/color"

	"gonum.org/v1/plot/vg"

	"github.com/localbench/localbench/results"
)

// Colours of lines and text.
var (
	axisColor = gray(0x33)
	gridColor = gray(0xdd)
)

func gray(level uint8) color.RGBA { return color.RGBA{level, level, level, 0xff} }

func hex(rgb uint32) color.RGBA {
	return color.RGBA{uint8(rgb >> 16), uint8(rgb >> 8), uint8(rgb), 0xff}
}

// MethodColor is the colour of a method in every figure, from the palette of
// Okabe and Ito (2008), which is distinguishable with any colour vision. A
// method without a colour in the palette is grey.
func MethodColor(method string) color.RGBA {
	switch method {
	case "bp":
		return hex(0x000000) // black
	case "checkpoint":
		return hex(0xcc79a7) // reddish purple
	case "dgl":
		return hex(0x009e73) // bluish green
	case "predsim":
		return hex(0x56b4e9) // sky blue
	case "infopro":
		return hex(0xe69f00) // orange
	case "auglocal":
		return hex(0xd55e00) // vermilion
	case "man":
		return hex(0x0072b2) // blue
	}
	return gray(0x88)
}

// Categories lists the memory categories in the order in which bars stack them,
// from the longest to the shortest lifetime.
func Categories() []string { return results.Categories() }

// CategoryColor is the colour of a memory category, from Tol's muted palette (2021) and one of his vibrant ones,
// also made for any colour vision. An unknown category is light grey.
func CategoryColor(category string) color.RGBA {
	colors := []uint32{0x332288, 0xaa4499, 0x999933, 0x44aa99, 0x117733, 0xcc6677, 0x0077bb, 0xddcc77, 0x882255, 0x88ccee}
	for i, c := range Categories() {
		if c == category {
			return hex(colors[i])
		}
	}
	return gray(0xcc)
}

// dashes distinguishes the lines of one method: the first is solid.
func dashes(i int) []vg.Length {
	return [][]vg.Length{nil, {6, 3}, {2, 2}, {8, 3, 2, 3}, {12, 4}, {4, 2, 1, 2, 1, 2}}[i%6]
}
