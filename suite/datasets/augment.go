package datasets

import (
	"fmt"

	"github.com/localbench/localbench/core/rng"
)

// Border defines the pixels outside an image.
type Border int

// The borders. Reflect mirrors at the centre of the edge pixel, which is not
// repeated: c b | a b c d | c b.
const (
	BorderZero Border = iota
	BorderReflect
)

// Augmentation is the random change of a training image: pad on all four sides,
// crop to the original size at a random position, and flip horizontally with
// probability 1/2. The zero value changes nothing.
type Augmentation struct {
	// ResizedCrop takes a random part of an image file, scaled to the set's shape, instead of its centre. It applies to
	// splits with Pictures, which have no border, and is done during decoding.
	ResizedCrop bool
	// Pad is the width of the border in pixels; 0: no crop. A reflecting
	// border must be smaller than the image.
	Pad int
	// Border is the kind of padding.
	Border Border
	// Flip mirrors half of the images.
	Flip bool
}

// Draw returns the random words of a sample: the block of the address (seed,
// PurposeAugment, epoch, sample). Augmentation on a GPU uses the same words.
func (a Augmentation) Draw(seed uint64, epoch uint32, sample int) [4]uint32 {
	return rng.Block(seed, rng.PurposeAugment, epoch, uint64(sample))
}

// Apply writes the augmented image to dst; src and dst must not overlap and both
// have the shape's size. The first word selects the row of the crop and
// the second its column, as (word * (2 Pad + 1)) >> 32 in 0..2 Pad; the
// top bit of the third selects the flip. The fourth is unused.
func (a Augmentation) Apply(dst, src []byte, shape Shape, words [4]uint32) {
	places := uint64(2*a.Pad + 1)
	top := int(uint64(words[0])*places>>32) - a.Pad
	left := int(uint64(words[1])*places>>32) - a.Pad
	flip := a.Flip && words[2]>>31 == 1
	rowBytes := shape.Width * shape.Channels
	for y := range shape.Height {
		row := dst[y*rowBytes : (y+1)*rowBytes]
		from := a.outside(y+top, shape.Height)
		if from < 0 {
			clear(row)
			continue
		}
		a.cropRow(row, src[from*rowBytes:(from+1)*rowBytes], left, shape.Channels)
		if flip {
			mirrorRow(row, shape.Channels)
		}
	}
}

// cropRow fills row with the pixels left..left+width-1 of a padded row of the
// image: pixels inside the image in one copy, those of the border one by one.
func (a Augmentation) cropRow(row, src []byte, left, channels int) {
	width := len(row) / channels
	inside, end := max(0, -left), min(width, width-left)
	if inside < end {
		copy(row[inside*channels:end*channels], src[(inside+left)*channels:])
	}
	for x := 0; x < min(inside, width); x++ {
		a.borderPixel(row, src, x, x+left, channels)
	}
	for x := max(end, 0); x < width; x++ {
		a.borderPixel(row, src, x, x+left, channels)
	}
}

// borderPixel sets pixel x of row to pixel from of the padded src.
func (a Augmentation) borderPixel(row, src []byte, x, from, channels int) {
	pixel := row[x*channels : (x+1)*channels]
	if from = a.outside(from, len(row)/channels); from < 0 {
		clear(pixel)
		return
	}
	copy(pixel, src[from*channels:])
}

// outside maps a position on a padded axis of n to the position of its pixel in the
// image, or to -1 in a zero border.
func (a Augmentation) outside(place, n int) int {
	switch {
	case place >= 0 && place < n:
		return place
	case a.Border == BorderZero:
		return -1
	case place < 0:
		return -place
	}
	return 2*(n-1) - place
}

// check returns an error if the augmentation does not fit images of a shape.
func (a Augmentation) check(shape Shape) error {
	if a.Pad < 0 {
		return fmt.Errorf("augmentation: pad %d: must be at least 0", a.Pad)
	}
	if side := min(shape.Height, shape.Width); a.Border == BorderReflect && a.Pad >= side {
		return fmt.Errorf("augmentation: reflecting pad %d: must be at most %d for %dx%d images",
			a.Pad, side-1, shape.Height, shape.Width)
	}
	return nil
}

// none reports whether the augmentation changes nothing.
func (a Augmentation) none() bool { return a.Pad == 0 && !a.Flip && !a.ResizedCrop }

// mirrorRow reverses the order of the pixels of a row.
func mirrorRow(row []byte, channels int) {
	for i, j := 0, len(row)-channels; i < j; i, j = i+channels, j-channels {
		for c := range channels {
			row[i+c], row[j+c] = row[j+c], row[i+c]
		}
	}
}
