package datasets

import (
	"bytes"
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
	"golang.org/x/sync/semaphore"

	"github.com/localbench/localbench/core/rng"
	"github.com/localbench/localbench/files"
)

// Pictures is a split of image files of any size, too many to keep in memory: each
// is decoded when a batch needs it, and a random crop or its centre is scaled to the
// set's shape.
type Pictures struct {
	dataset, remedy string
	shorter         int      // what the shorter side is scaled to before the middle is cut out
	folders         []string // by class
	files           []picture
	room            *semaphore.Weighted // maxPixels: of the pictures that are decoded
}

// picture is an image file in the folder of its class.
type picture struct {
	class int32
	name  string
}

// listPictures lists a folder with one folder per class, in the order of the
// labels. The files of the classes alternate (the first of each class, then the second of each), so that the first
// files of a split cover all classes.
func listPictures(root string, classes []string) (Pictures, error) {
	p := Pictures{room: semaphore.NewWeighted(maxPixels)}
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

// path returns the path of a sample's file.
func (p *Pictures) path(sample int) string {
	f := p.files[sample]
	return filepath.Join(p.folders[f.class], f.name)
}

// Bounds of an image, checked in its header before decoding. A JPEG file of 2 KB can claim
// 65,535 x 65,535 pixels, which need 13 GB when decoded.
const (
	maxPictureBytes = 64 << 20
	maxPixels       = 89_478_485 // above it Pillow, torchvision's image library, warns of a decompression bomb
	maxSideRatio    = 64         // longer over shorter side: a picture scaled to a shorter side of 256 pixels stays below 16,384
	maxScans        = 100        // of a JPEG file: each passes over all pixels, and can be as small as 10 bytes; common are 1 to 10
)

// decode reads a sample's file and passes the image to use. A file that is not an image, or an image beyond the bounds,
// gives a *DamagedError. All images decoded at the same time have at most maxPixels in total.
func (p *Pictures) decode(ctx context.Context, sample int, use func(image.Image) error) error {
	content, err := files.Read(p.path(sample), maxPictureBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return &MissingError{Dataset: p.dataset, Dir: filepath.Dir(p.path(sample)), Want: p.path(sample), Remedy: p.remedy}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.dataset, err)
	}
	pixels, err := checkPicture(content)
	if err != nil {
		return p.damaged(sample, -1, err)
	}
	if err := p.room.Acquire(ctx, pixels); err != nil {
		return err
	}
	defer p.room.Release(pixels)
	reader := bytes.NewReader(content)
	decoded, _, err := image.Decode(reader)
	if err != nil {
		return p.damaged(sample, reader.Size()-int64(reader.Len()), err)
	}
	return use(decoded)
}

// damaged describes a fault in a sample's file, and its byte; -1 if unknown.
func (p *Pictures) damaged(sample int, at int64, err error) error {
	return &DamagedError{Dataset: p.dataset, File: p.path(sample), Offset: at, What: "image", Got: err.Error(),
		Want: "a JPEG or PNG file", Remedy: p.remedy}
}

// checkPicture returns the number of pixels of an image file, from its header, if it is within the bounds.
func checkPicture(content []byte) (pixels int64, err error) {
	header, format, err := image.DecodeConfig(bytes.NewReader(content))
	if err != nil {
		return 0, err
	}
	width, height := int64(header.Width), int64(header.Height)
	switch {
	case width < 1 || height < 1:
		return 0, errors.New("an image without pixels")
	case width > maxPixels/height:
		return 0, fmt.Errorf("an image of %dx%d pixels, more than the limit of %d; scale it down", width, height, maxPixels)
	case max(width, height) > maxSideRatio*min(width, height):
		return 0, fmt.Errorf("an image of %dx%d pixels, one side more than %d times as long as the other; crop it",
			width, height, maxSideRatio)
	}
	// In the data of a scan the byte 0xff is followed by another one than 0xda.
	if scans := bytes.Count(content, []byte{0xff, 0xda}); format == "jpeg" && scans > maxScans {
		return 0, fmt.Errorf("a JPEG file of %d scans, more than the limit of %d; save it again", scans, maxScans)
	}
	return width * height, nil
}

// fill writes images to dst, [len(samples), Height, Width, Channels=3], on the given number of goroutines. The
// random crop of a sample is addressed by (seed, epoch, sample).
func (p *Pictures) fill(dst []byte, samples []int32, shape Shape, o LoaderOptions) error {
	var group errgroup.Group
	decoders := min(max(o.Decoders, 1), len(samples))
	for first := range decoders {
		group.Go(func() error {
			canvas := image.NewRGBA(image.Rect(0, 0, shape.Width, shape.Height))
			for i := first; i < len(samples); i += decoders {
				dice := cropDice{seed: o.Seed, epoch: o.Epoch, sample: samples[i]}
				err := p.decode(context.Background(), int(samples[i]), func(source image.Image) error {
					if o.Augment.ResizedCrop {
						resizedCrop(canvas, source, dice)
					} else {
						middle(canvas, source, p.shorter)
					}
					return nil
				})
				if err != nil {
					return err
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
			return p.decode(going, sample, func(image.Image) error { return nil })
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// cropDice are the random words of a sample's crop: block (seed, PurposeAugment, epoch, try << 32 | sample).
type cropDice struct {
	seed   uint64
	epoch  uint32
	sample int32
}

// cropTries is the number of crops drawn before falling back to the centre (torchvision).
const cropTries = 10

// words returns the numbers of a try in [0, 1): area, ratio, row, column.
func (d cropDice) words(try int) (u [4]float64) {
	for i, w := range rng.Block(d.seed, rng.PurposeAugment, d.epoch, uint64(try)<<32|uint64(d.sample)) {
		u[i] = float64(w) / (1 << 32)
	}
	return u
}

// flip is drawn after the tries.
func (d cropDice) flip() bool { return d.words(cropTries)[0] >= 0.5 }

// crop returns a random crop of an image of that size as torchvision's RandomResizedCrop does: 8 to 100 % of
// the area, with an aspect ratio of 3:4 to 4:3, uniform in its logarithm. If no try fits, it is
// the largest crop at the centre with a ratio in that range.
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

// resizedCrop scales a random crop of an image to the canvas.
func resizedCrop(canvas *image.RGBA, source image.Image, d cropDice) {
	b := source.Bounds()
	scale(canvas, canvas.Bounds(), source, d.crop(b.Dx(), b.Dy()).Add(b.Min))
}

// middle scales an image so that its shorter side has that length, and crops the canvas from its
// centre.
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

// scale draws a part of an image into a rectangle, with bilinear interpolation and, when it shrinks,
// antialiasing.
func scale(canvas *image.RGBA, to image.Rectangle, source image.Image, part image.Rectangle) {
	draw.BiLinear.Scale(canvas, to, source, part, draw.Src, nil)
}

// dropAlpha copies the colours of a canvas without alpha.
func dropAlpha(pixels []byte, canvas *image.RGBA) {
	for i, j := 0, 0; i < len(canvas.Pix); i, j = i+4, j+3 {
		copy(pixels[j:j+3], canvas.Pix[i:i+3])
	}
}
