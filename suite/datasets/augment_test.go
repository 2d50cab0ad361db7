package datasets

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// slowAugment is the recipe word for word: pad, cut out, mirror, each into a
// new image.
func slowAugment(a Augmentation, src []byte, shape Shape, words [4]uint32) []byte {
	channels := shape.Channels
	padded := map[[3]int]byte{}
	for y := -a.Pad; y < shape.Height+a.Pad; y++ {
		for x := -a.Pad; x < shape.Width+a.Pad; x++ {
			fromY, fromX := y, x
			if a.Border == BorderReflect {
				fromY, fromX = mirrorIndex(y, shape.Height), mirrorIndex(x, shape.Width)
			}
			if fromY < 0 || fromY >= shape.Height || fromX < 0 || fromX >= shape.Width {
				continue
			}
			for c := range channels {
				padded[[3]int{y + a.Pad, x + a.Pad, c}] = src[(fromY*shape.Width+fromX)*channels+c]
			}
		}
	}
	places := float64(2*a.Pad + 1)
	top, left := int(float64(words[0])/(1<<32)*places), int(float64(words[1])/(1<<32)*places)
	out := make([]byte, 0, shape.Bytes())
	for y := range shape.Height {
		for x := range shape.Width {
			if a.Flip && words[2] >= 1<<31 {
				x = shape.Width - 1 - x
			}
			for c := range channels {
				out = append(out, padded[[3]int{y + top, x + left, c}])
			}
		}
	}
	return out
}

// mirrorIndex walks to a place step by step and turns round at the ends.
func mirrorIndex(place, n int) int {
	at, step := 0, 1
	if place < 0 {
		place = -place
	}
	for range place {
		if at+step < 0 || at+step >= n {
			step = -step
		}
		at += step
	}
	return at
}

func TestAugmentAgainstReference(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	shapes := []Shape{{32, 32, 3}, {5, 9, 3}, {9, 5, 1}, {6, 6, 4}, {1, 3, 2}}
	recipes := []Augmentation{
		{}, {Flip: true}, {Pad: 4, Border: BorderReflect}, {Pad: 4, Border: BorderReflect, Flip: true},
		{Pad: 2}, {Pad: 4, Flip: true}, {Pad: 1, Border: BorderReflect, Flip: true}, {Pad: 11, Flip: true},
	}
	compared := 0
	for _, shape := range shapes {
		src := make([]byte, shape.Bytes())
		for i := range src {
			src[i] = byte(1 + random.IntN(255)) // never 0, which is the border
		}
		for _, recipe := range recipes {
			if recipe.check(shape) != nil {
				continue
			}
			for range 60 {
				words := [4]uint32{random.Uint32(), random.Uint32(), random.Uint32(), random.Uint32()}
				want := slowAugment(recipe, src, shape, words)
				got := bytes.Repeat([]byte{0xAA}, len(src)) // an old batch's pixels
				recipe.Apply(got, src, shape, words)
				if !bytes.Equal(got, want) {
					t.Fatalf("%+v on %+v, words %x: got %v, want %v", recipe, shape, words, got, want)
				}
				compared++
			}
		}
	}
	if compared < 60*20 {
		t.Errorf("only %d images were compared", compared)
	}
}

func TestAugmentByHand(t *testing.T) {
	const full, half = 1<<32 - 1, 1 << 31
	src, shape := []byte("abcdefghi"), Shape{3, 3, 1}
	for _, c := range []struct {
		name   string
		recipe Augmentation
		words  [4]uint32
		want   string
	}{
		{"no recipe", Augmentation{}, [4]uint32{full, full, full}, "abcdefghi"},
		{"flip by the top bit", Augmentation{Flip: true}, [4]uint32{0, 0, half}, "cbafedihg"},
		{"no flip below it", Augmentation{Flip: true}, [4]uint32{0, 0, half - 1}, "abcdefghi"},
		{"reflect, top left", Augmentation{Pad: 1, Border: BorderReflect}, [4]uint32{0, 0, 0}, "edebabede"},
		{"reflect, bottom right", Augmentation{Pad: 1, Border: BorderReflect}, [4]uint32{full, full, 0}, "efehihefe"},
		{"zero, top left", Augmentation{Pad: 1}, [4]uint32{0, 0, 0}, "\x00\x00\x00\x00ab\x00de"},
		{"zero, bottom right, flipped", Augmentation{Pad: 1, Flip: true}, [4]uint32{full, full, full}, "\x00fe\x00ih\x00\x00\x00"},
		{"the middle is the image", Augmentation{Pad: 1}, [4]uint32{half, half, 0}, "abcdefghi"},
	} {
		got := make([]byte, 9)
		c.recipe.Apply(got, src, shape, c.words)
		if string(got) != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestAugmentDrawsEveryPlaceEqually(t *testing.T) {
	recipe := Augmentation{Pad: 1, Flip: true}
	counts := map[string]int{}
	const draws = 18000
	for sample := range draws {
		got := make([]byte, 9)
		recipe.Apply(got, []byte("abcdefghi"), Shape{3, 3, 1}, recipe.Draw(1, 2, sample))
		counts[string(got)]++
	}
	if len(counts) != 18 {
		t.Fatalf("got %d different images, want 3 rows x 3 columns x 2", len(counts))
	}
	for image, n := range counts {
		// Five deviations of a binomial with 18000 draws and p = 1/18: 154.
		if n < 1000-154 || n > 1000+154 {
			t.Errorf("image %q: got %d times, want about 1000", image, n)
		}
	}
}

func TestAugmentCheck(t *testing.T) {
	for _, c := range []struct {
		recipe Augmentation
		ok     bool
	}{
		{Augmentation{Pad: 31, Border: BorderReflect}, true},
		{Augmentation{Pad: 32, Border: BorderReflect}, false},
		{Augmentation{Pad: 32}, true},
		{Augmentation{Pad: -1}, false},
	} {
		if err := c.recipe.check(Shape{32, 40, 3}); (err == nil) != c.ok {
			t.Errorf("%+v: got %v, want ok %t", c.recipe, err, c.ok)
		}
	}
}

func BenchmarkAugment(b *testing.B) {
	shape := Shape{32, 32, 3}
	src, dst := make([]byte, shape.Bytes()), make([]byte, shape.Bytes())
	recipe := Augmentation{Pad: 4, Border: BorderReflect, Flip: true}
	sample := 0
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		recipe.Apply(dst, src, shape, recipe.Draw(1, 1, sample))
		sample++
	}
}
