package datasets

import (
	"context"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // the formats of picture files
	_ "image/png"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/image/draw"
	"golang.org/x/sync/errgroup"

	"github.com/localbench/localbench/core/rng"
)

// Pictures are a split whose images are files of any size, too many to be held in memory: each
// is decoded when a batch wants it, and is then a random part of it, or its middle, scaled to the
// set's shape.
type Pictures struct {
	dataset, remedy string
	shorter         int      // what the shorter side is scaled to before the middle is cut out
	folders         []string // by class
	files           []picture
}

// picture is a file of the folder of its class.
type picture struct {
	class int32
	name  string
}

// listPictures lists a folder of folders, one a class: names are classes in the order of the
// labels. The files come in turns, the first of each class, the second of each, so that the first
// ones of a split are of all classes.
func listPictures(root string, classes []string) (Pictures, error) {
	var p Pictures
	byClass := make([][]fs.DirEntry, len(classes))
	most := 0
	for i, class := range classes {
		folder := filepath.Join(root, class)
		files, err := os.ReadDir(folder)
		if err != nil {
			return p, err
		}
		p.folders = append(p.folders, folder)
		byClass[i], most = files, max(most, len(files))
	}
	for turn := range most {
		for class, files := range byClass {
			if turn < len(files) && !files[turn].IsDir() {
				p.files = append(p.files, picture{int32(class), files[turn].Name()})
			}
		}
	}
	return p, nil
}

// labels returns the class of each file.
func (p *Pictures) labels() []int32 {
	labels := make([]int32, len(p.files))
	for i, f := range p.files {
		labels[i] = f.class
	}
	return labels
}

// path returns the place of a sample's file.
func (p *Pictures) path(sample int) string {
	f := p.files[sample]
	return filepath.Join(p.folders[f.class], f.name)
}

// decode reads a sample's file. What is no picture gives a *DamagedError.
func (p *Pictures) decode(sample int) (image.Image, error) {
	file, err := os.Open(p.path(sample))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &MissingError{Dataset: p.dataset, Dir: filepath.Dir(p.path(sample)), Want: p.path(sample), Remedy: p.remedy}
	}
	if err != nil {
		return nil, fmt.Errorf("datasets: %s: %w", p.dataset, err)
	}
	defer file.Close()
	decoded, _, err := image.Decode(file)
	if err == nil && decoded.Bounds().Empty() {
		err = errors.New("a picture without pixels")
	}
	if err != nil {
		at, _ := file.Seek(0, 1) // what was read of it
		return nil, &DamagedError{Dataset: p.dataset, File: p.path(sample), Offset: at, What: "picture", Got: err.Error(), Want: "a JPEG or PNG file", Remedy: p.remedy}
	}
	return decoded, nil
}

// fill writes images to dst, [len(samples), Height, Width, Channels=3], on so many goroutines. The
// random part of a sample is addressed by (seed, epoch, sample).
func (p *Pictures) fill(dst []byte, samples []int32, shape Shape, o LoaderOptions) error {
	var group errgroup.Group
	decoders := min(max(o.Decoders, 1), len(samples))
	for first := range decoders {
		group.Go(func() error {
			canvas := image.NewRGBA(image.Rect(0, 0, shape.Width, shape.Height))
			for i := first; i < len(samples); i += decoders {
				source, err := p.decode(int(samples[i]))
				if err != nil {
					return err
				}
				dice := cropDice{seed: o.Seed, epoch: o.Epoch, sample: samples[i]}
				if o.Augment.ResizedCrop {
					resizedCrop(canvas, source, dice)
				} else {
					middle(canvas, source, p.shorter)
				}
				pixels := dst[i*shape.Bytes() : (i+1)*shape.Bytes()]
				dropAlpha(pixels, canvas)
				if o.Augment.Flip && dice.flip() {
					for y := range shape.Height {
						mirrorRow(pixels[y*shape.Width*3:(y+1)*shape.Width*3], 3)
					}
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// verify decodes every file.
func (p *Pictures) verify(ctx context.Context) error {
	group, going := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for sample := range p.files {
		if going.Err() != nil {
			break
		}
		group.Go(func() error {
			_, err := p.decode(sample)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// cropDice are the random words of a sample's part: block (seed, PurposeAugment, epoch, try << 32 | sample).
type cropDice struct {
	seed   uint64
	epoch  uint32
	sample int32
}

// cropTries is how often a part is drawn before the middle is taken (torchvision).
const cropTries = 10

// words returns the numbers of a try in [0, 1): area, ratio, row, column.
func (d cropDice) words(try int) (u [4]float64) {
	for i, w := range rng.Block(d.seed, rng.PurposeAugment, d.epoch, uint64(try)<<32|uint64(d.sample)) {
		u[i] = float64(w) / (1 << 32)
	}
	return u
}

// flip is drawn behind the tries.
func (d cropDice) flip() bool { return d.words(cropTries)[0] >= 0.5 }

// crop returns a part of a picture of that size as torchvision's RandomResizedCrop draws it: 8 to 100 % of
// the area, with a ratio of width to height of 3:4 to 4:3, even in its logarithm. Where no try fits,
// the largest part in the middle whose ratio is in that range.
func (d cropDice) crop(width, height int) image.Rectangle {
	const leastArea, leastRatio = 0.08, 3.0 / 4
	for try := range cropTries {
		u := d.words(try)
		area := float64(width*height) * (leastArea + u[0]*(1-leastArea))
		ratio := leastRatio * math.Pow(1/(leastRatio*leastRatio), u[1])
		w, h := int(math.RoundToEven(math.Sqrt(area*ratio))), int(math.RoundToEven(math.Sqrt(area/ratio)))
		if w < 1 || h < 1 || w > width || h > height {
			continue
		}
		top, left := int(u[2]*float64(height-h+1)), int(u[3]*float64(width-w+1))
		return image.Rect(left, top, left+w, top+h)
	}
	w, h := width, height
	switch ratio := float64(width) / float64(height); {
	case ratio < leastRatio:
		h = min(height, int(math.RoundToEven(float64(w)/leastRatio)))
	case ratio > 1/leastRatio:
		w = min(width, int(math.RoundToEven(float64(h)/leastRatio)))
	}
	top, left := (height-h)/2, (width-w)/2
	return image.Rect(left, top, left+w, top+h)
}

// resizedCrop scales a random part of a picture to the canvas.
func resizedCrop(canvas *image.RGBA, source image.Image, d cropDice) {
	b := source.Bounds()
	scale(canvas, canvas.Bounds(), source, d.crop(b.Dx(), b.Dy()).Add(b.Min))
}

// middle scales a picture so that its shorter side has that length, and cuts the canvas out of its
// middle.
func middle(canvas *image.RGBA, source image.Image, shorter int) {
	b := source.Bounds()
	w, h := shorter, shorter
	if b.Dx() > b.Dy() {
		w = shorter * b.Dx() / b.Dy()
	} else {
		h = shorter * b.Dy() / b.Dx()
	}
	left := int(math.RoundToEven(float64(w-canvas.Rect.Dx()) / 2))
	top := int(math.RoundToEven(float64(h-canvas.Rect.Dy()) / 2))
	scale(canvas, image.Rect(-left, -top, w-left, h-top), source, b)
}

// scale draws a part of a picture into a rectangle, bilinear and, where it shrinks, averaged over the pixels
// that fall together.
func scale(canvas *image.RGBA, to image.Rectangle, source image.Image, part image.Rectangle) {
	draw.BiLinear.Scale(canvas, to, source, part, draw.Src, nil)
}

// dropAlpha writes the colours of a canvas.
func dropAlpha(pixels []byte, canvas *image.RGBA) {
	for i, j := 0, 0; i < len(canvas.Pix); i, j = i+4, j+3 {
		copy(pixels[j:j+3], canvas.Pix[i:i+3])
	}
}
