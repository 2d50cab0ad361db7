package rng

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"
)

// vectors is testdata/vectors.json; see vectors.py beside it.
type vectors struct {
	Known []struct {
		Counter [4]uint32
		Key     [2]uint32
		Want    [4]uint32
	}
	Blocks []struct {
		Seed    uint64
		Purpose Purpose
		Epoch   uint32
		Index   uint64
		Want    [4]uint32
	}
	Streams []struct {
		Seed    uint64
		Purpose Purpose
		Epoch   uint32
		First   uint64
		Words   []uint32
		Normals []float64
	}
	Permutations []struct {
		Seed    uint64
		Purpose Purpose
		Epoch   uint32
		N       int
		Want    []int32
	}
	Names []struct {
		Name string
		Want uint32
	}
}

func readVectors(t *testing.T) vectors {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Known) != 3 || len(v.Blocks) == 0 || len(v.Streams) == 0 || len(v.Permutations) == 0 || len(v.Names) == 0 {
		t.Fatalf("vectors.json: a section is empty: %d known, %d blocks, %d streams, %d permutations, %d names",
			len(v.Known), len(v.Blocks), len(v.Streams), len(v.Permutations), len(v.Names))
	}
	return v
}

func TestVectors(t *testing.T) {
	v := readVectors(t)
	for _, c := range v.Known {
		if got := philox(c.Counter, c.Key[0], c.Key[1]); got != c.Want {
			t.Errorf("philox(%x, %x): got %x, want %x", c.Counter, c.Key, got, c.Want)
		}
	}
	for _, c := range v.Blocks {
		if got := Block(c.Seed, c.Purpose, c.Epoch, c.Index); got != c.Want {
			t.Errorf("Block(%d, %d, %d, %d): got %x, want %x", c.Seed, c.Purpose, c.Epoch, c.Index, got, c.Want)
		}
	}
	for _, c := range v.Permutations {
		if got := (Stream{c.Seed, c.Purpose, c.Epoch}).Permutation(c.N); !slices.Equal(got, c.Want) {
			t.Errorf("Permutation(%d) of seed %d: got %v, want %v", c.N, c.Seed, got, c.Want)
		}
	}
	for _, c := range v.Names {
		if got := NameKey(c.Name); got != c.Want {
			t.Errorf("NameKey(%q): got %#x, want %#x", c.Name, got, c.Want)
		}
	}
}

func TestStreamVectors(t *testing.T) {
	for _, c := range readVectors(t).Streams {
		s := Stream{c.Seed, c.Purpose, c.Epoch}
		for k, want := range c.Words {
			i := c.First + uint64(k)
			if got := s.Uint32(i); got != want {
				t.Errorf("%+v: Uint32(%d): got %x, want %x", s, i, got, want)
			}
			if got := s.Uniform(i); got != float64(want)/(1<<32) {
				t.Errorf("%+v: Uniform(%d): got %v, want %v / 2^32", s, i, got, want)
			}
			// Two math libraries: each of log, sqrt, cos, product may differ by
			// an ulp of a number below 7, and the angle's by one of 2 pi.
			if got, want := s.Normal(i), c.Normals[k]; math.Abs(got-want) > 1e-14 {
				t.Errorf("%+v: Normal(%d): got %v, want %v", s, i, got, want)
			}
		}
	}
}

func TestFillsAgreeWithElements(t *testing.T) {
	s := Stream{Seed: 3, Purpose: PurposeInit, Epoch: NameKey("fc.weight")}
	for n := range 10 {
		for _, first := range []uint64{0, 1, 2, 3, 4, 1<<34 + 1} {
			checkFills(t, s, n, first)
		}
	}
}

func checkFills(t *testing.T, s Stream, n int, first uint64) {
	t.Helper()
	// One element more than is filled, to see that it stays as it was.
	normals, uniforms := make([]float32, n+1), make([]float32, n+1)
	normals[n], uniforms[n] = 99, 99
	s.FillNormal(normals[:n], first, 0.25)
	s.FillUniform(uniforms[:n], first, -2, 3)
	for i := range n {
		at := first + uint64(i)
		if want := float32(s.Normal(at) * 0.25); normals[i] != want {
			t.Errorf("FillNormal of %d from %d: element %d: got %v, want %v", n, first, at, normals[i], want)
		}
		if want := float32(-2 + float64(5*s.Uniform(at))); uniforms[i] != want {
			t.Errorf("FillUniform of %d from %d: element %d: got %v, want %v", n, first, at, uniforms[i], want)
		}
	}
	if normals[n] != 99 || uniforms[n] != 99 {
		t.Errorf("a fill of %d elements wrote past its end", n)
	}
}

func TestNormalMoments(t *testing.T) {
	const n = 200_000
	sample := make([]float32, n)
	Stream{Seed: 11, Purpose: PurposeGolden}.FillNormal(sample, 0, 1)
	var sum, squares, neighbours, cubes float64
	for i, x := range sample {
		sum += float64(x)
		squares += float64(x) * float64(x)
		cubes += float64(x) * float64(x) * float64(x)
		if i > 0 {
			neighbours += float64(x) * float64(sample[i-1])
		}
	}
	// Standard errors of the four means: 1, sqrt 2, sqrt 15, 1 over sqrt n;
	// five of them are allowed.
	root := math.Sqrt(n)
	for _, c := range []struct {
		name             string
		got, want, sigma float64
	}{
		{"mean", sum / n, 0, 1},
		{"variance", squares / n, 1, math.Sqrt2},
		{"third moment", cubes / n, 0, math.Sqrt(15)},
		{"covariance of neighbours", neighbours / n, 0, 1},
	} {
		if math.Abs(c.got-c.want) > 5*c.sigma/root {
			t.Errorf("%s: got %v, want %v within %v", c.name, c.got, c.want, 5*c.sigma/root)
		}
	}
}

func TestNormalIsFiniteAtTheEnds(t *testing.T) {
	for _, c := range []struct {
		u0, u1    uint32
		even, odd float64
	}{
		{0, 0, math.Sqrt(64 * math.Ln2), 0},
		{math.MaxUint32, 0, 0, 0},
		{0, 1 << 30, 0, math.Sqrt(64 * math.Ln2)},
	} {
		even, odd := normals(c.u0, c.u1)
		if math.Abs(even-c.even) > 1e-14 || math.Abs(odd-c.odd) > 1e-14 {
			t.Errorf("normals(%d, %d): got %v, %v, want %v, %v", c.u0, c.u1, even, odd, c.even, c.odd)
		}
	}
}

func TestPermutationReachesEveryOrder(t *testing.T) {
	counts := map[[3]int32]int{}
	const draws = 6000
	for epoch := range uint32(draws) {
		counts[[3]int32(Stream{Seed: 5, Purpose: PurposeShuffle, Epoch: epoch}.Permutation(3))]++
	}
	if len(counts) != 6 {
		t.Fatalf("orders of three things seen: got %d, want 6", len(counts))
	}
	for order, n := range counts {
		// Five standard deviations of a binomial with 6000 draws and p = 1/6: 144.
		if n < draws/6-145 || n > draws/6+145 {
			t.Errorf("order %v: got %d of %d, want about %d", order, n, draws, draws/6)
		}
	}
}

func TestPermuteAllocatesNothing(t *testing.T) {
	order := make([]int32, 1000)
	s := Stream{Seed: 5, Purpose: PurposeShuffle}
	if n := testing.AllocsPerRun(10, func() { s.Permute(order) }); n != 0 {
		t.Errorf("Permute: got %v allocations, want 0", n)
	}
}

func BenchmarkFillNormal(b *testing.B) {
	dst := make([]float32, 1<<16)
	b.SetBytes(int64(4 * len(dst)))
	for b.Loop() {
		Stream{Seed: 1, Purpose: PurposeInit}.FillNormal(dst, 0, 1)
	}
}
