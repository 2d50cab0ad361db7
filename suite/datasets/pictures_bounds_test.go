package datasets

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// jpegOf is a JPEG file whose header says that it has a size; its data are those of 16x16 pixels.
func jpegOf(t testing.TB, width, height uint16) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 16, 16)), nil); err != nil {
		t.Fatal(err)
	}
	content := b.Bytes()
	frame := bytes.Index(content, []byte{0xff, 0xc0}) // marker, length, precision, height, width
	binary.BigEndian.PutUint16(content[frame+5:], height)
	binary.BigEndian.PutUint16(content[frame+7:], width)
	return content
}

// pngOf is the same as a PNG file.
func pngOf(t testing.TB, width, height uint32) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 16, 16))); err != nil {
		t.Fatal(err)
	}
	content := b.Bytes()
	header := content[12:29] // type and content of the first chunk
	binary.BigEndian.PutUint32(header[4:], width)
	binary.BigEndian.PutUint32(header[8:], height)
	binary.BigEndian.PutUint32(content[29:], crc32.ChecksumIEEE(header))
	return content
}

// TestPictureBounds refuses small files of pictures that would take gigabytes, before it decodes them.
func TestPictureBounds(t *testing.T) {
	many := jpegOf(t, 16, 16)
	for range maxScans {
		many = append(many, 0xff, 0xda)
	}
	for _, c := range []struct {
		name    string
		content []byte
		want    string // part of the error; empty: within the bounds
	}{
		{"a JPEG file", jpegOf(t, 16, 16), ""},
		{"a PNG file", pngOf(t, 16, 16), ""},
		{"9,459 x 9,459 are 89,472,681 pixels", pngOf(t, 9459, 9459), ""},
		{"9,460 x 9,460 are 89,491,600 pixels", pngOf(t, 9460, 9460), "9460x9460 pixels, more than the limit of 89478485"},
		{"the largest JPEG", jpegOf(t, 65535, 65535), "65535x65535 pixels, more than the limit"},
		{"the largest PNG", pngOf(t, 1<<31-1, 1<<31-1), "dimension overflow"}, // Go's decoder
		{"64 times as wide as high", pngOf(t, 6400, 100), ""},
		{"more than 64 times as wide", pngOf(t, 6401, 100), "6401x100 pixels, one side more than 64 times as long"},
		{"a row of pixels", jpegOf(t, 65535, 1), "65535x1 pixels, one side"},
		{"101 scans", many, "a JPEG file of 101 scans, more than the limit of 100"},
		{"nothing", nil, "unknown format"},
	} {
		_, err := checkPicture(c.content)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	dir := imagenetFiles(t)
	bomb := filepath.Join(dir, imagenetFolder, "train/n01/0.JPEG")
	if err := os.WriteFile(bomb, jpegOf(t, 65535, 65535), 0o600); err != nil {
		t.Fatal(err)
	}
	entry, err := Find(FolderPrefix + filepath.Join(dir, imagenetFolder))
	if err != nil {
		t.Fatal(err)
	}
	set, err := entry.Open("", Options{TrainLimit: 5, TestLimit: 2})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err = set.Verify(context.Background())
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), bomb+": image: an image of 65535x65535 pixels") {
		t.Errorf("got %v, want an error that names %s", err, bomb)
	}
	// The others are small; decoded, this one would take 13 GB.
	if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
		t.Errorf("%d bytes were allocated for it", took)
	}
}

// FuzzPicture reads the bytes of a picture file as a batch does.
func FuzzPicture(f *testing.F) {
	f.Add(jpegOf(f, 16, 16))
	f.Add(jpegOf(f, 65535, 65535))
	f.Add(pngOf(f, 16, 16))
	f.Add(pngOf(f, 1, 200))
	canvas := image.NewRGBA(image.Rect(0, 0, 8, 8))
	f.Fuzz(func(t *testing.T, content []byte) {
		pixels, err := checkPicture(content)
		if err != nil || pixels > 1<<20 { // larger ones are within the bounds, and slow
			return
		}
		picture, _, err := image.Decode(bytes.NewReader(content))
		if err != nil {
			return
		}
		if got := int64(picture.Bounds().Dx()) * int64(picture.Bounds().Dy()); got != pixels {
			t.Fatalf("decoded %d pixels, the header said %d", got, pixels)
		}
		middle(canvas, picture, 8)
		resizedCrop(canvas, picture, cropDice{})
	})
}
