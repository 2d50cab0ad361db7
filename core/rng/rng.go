// Package rng generates random numbers that depend only on their address (counter-based).
//
// An address (seed, purpose, epoch, index) determines a number: there is no state to
// carry, save or lock. So a resumed run, a parallel loader and a
// kernel on another machine draw the same numbers as a plain loop does.
//
// The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random
// numbers: as easy as 1, 2, 3; SC 2011). Other languages follow this contract:
//
//	key     = (low 32 bits of seed, high 32 bits of seed)
//	counter = (low 32 bits of block, high 32 bits of block, epoch, purpose)
//	element i of a stream = lane i%4 of block i/4
//
// The 32-bit words, the uniform numbers and the permutations are the same bits
// everywhere; testdata/vectors.json, made by an independent script, holds all
// of them. Normal numbers go through log, sqrt, sin and cos in float64, whose
// last bit depends on the math library.
package rng

import (
	"math"
	"math/bits"
)

// Purpose says what a number is drawn for, so that two uses of the same seed
// never share numbers. Its values are part of the contract.
type Purpose uint32

// The purposes. PurposeGolden is for tests that are compared with files.
const (
	PurposeInit      Purpose = 1
	PurposeShuffle   Purpose = 2
	PurposeAugment   Purpose = 3
	PurposeDropout   Purpose = 4
	PurposeSynthetic Purpose = 5
	PurposeHoldout   Purpose = 6
	PurposeRounding  Purpose = 7
	PurposeGolden    Purpose = 100
)

// toUnit scales a 32-bit word into [0, 1): 2^-32.
const toUnit = 1.0 / (1 << 32)

// Block returns the four words at one address. It is the whole generator; all
// else in the package is arithmetic on its result.
func Block(seed uint64, p Purpose, epoch uint32, index uint64) [4]uint32 {
	counter := [4]uint32{uint32(index), uint32(index >> 32), epoch, uint32(p)}
	return philox(counter, uint32(seed), uint32(seed>>32))
}

// Stream is the sequence of numbers of one seed, purpose and epoch. It is a
// value without a position: every method takes the element it wants.
type Stream struct {
	Seed    uint64
	Purpose Purpose
	Epoch   uint32
}

// Uint32 returns element i: lane i%4 of block i/4.
func (s Stream) Uint32(i uint64) uint32 {
	return Block(s.Seed, s.Purpose, s.Epoch, i/4)[i%4]
}

// Uniform returns element i as a number in [0, 1), in steps of 2^-32.
func (s Stream) Uniform(i uint64) float64 {
	return float64(s.Uint32(i)) * toUnit
}

// Normal returns element i of the standard normal numbers (Box-Muller). Lanes
// (0, 1) and (2, 3) of a block are a pair (u0, u1), and the lane says which of
// the pair's two numbers it is:
//
//	r = sqrt(-2 ln((u0+1) 2^-32)), t = 2 pi u1 2^-32
//	even lane: r cos t, odd lane: r sin t
//
// The largest magnitude is sqrt(64 ln 2), about 6.66.
func (s Stream) Normal(i uint64) float64 {
	block := Block(s.Seed, s.Purpose, s.Epoch, i/4)
	pair := i % 4 &^ 1
	even, odd := normals(block[pair], block[pair+1])
	if i%2 == 0 {
		return even
	}
	return odd
}

// FillNormal sets dst[i] to float32(Normal(first+i) * std).
func (s Stream) FillNormal(dst []float32, first uint64, std float64) {
	for len(dst) > 0 {
		block := Block(s.Seed, s.Purpose, s.Epoch, first/4)
		var four [4]float64
		four[0], four[1] = normals(block[0], block[1])
		four[2], four[3] = normals(block[2], block[3])
		lanes := four[first%4:]
		n := min(len(lanes), len(dst))
		for i, x := range lanes[:n] {
			dst[i] = float32(x * std)
		}
		dst, first = dst[n:], first+uint64(n)
	}
}

// FillUniform sets dst[i] to float32(lo + (hi-lo) * Uniform(first+i)). Because of the
// last rounding hi itself can occur.
func (s Stream) FillUniform(dst []float32, first uint64, lo, hi float64) {
	width := hi - lo
	for len(dst) > 0 {
		block := Block(s.Seed, s.Purpose, s.Epoch, first/4)
		lanes := block[first%4:]
		n := min(len(lanes), len(dst))
		for i, word := range lanes[:n] {
			// The conversion forbids a fused multiply-add, which would round
			// otherwise on some processors.
			step := float64(width * (float64(word) * toUnit))
			dst[i] = float32(lo + step)
		}
		dst, first = dst[n:], first+uint64(n)
	}
}

// Permutation returns a random order of 0..n-1; n at most 2^31-1. See Permute.
func (s Stream) Permutation(n int) []int32 {
	order := make([]int32, max(n, 0))
	s.Permute(order)
	return order
}

// Permute fills order with a random order of 0..len(order)-1 and allocates
// nothing. It is Fisher-Yates from the top: for i = n-1 down to 1 swap places i
// and j = (element i * (i+1)) >> 32. The bias of that j is below n/2^32.
func (s Stream) Permute(order []int32) {
	for i := range order {
		order[i] = int32(i)
	}
	var block [4]uint32
	held := ^uint64(0)
	for i := len(order) - 1; i >= 1; i-- {
		if index := uint64(i) / 4; index != held {
			block, held = Block(s.Seed, s.Purpose, s.Epoch, index), index
		}
		j := uint64(block[i%4]) * uint64(i+1) >> 32
		order[i], order[j] = order[j], order[i]
	}
}

// NameKey is the FNV-1a hash of a name in 32 bits. A parameter is initialised
// from the stream whose Epoch is the key of its name, so that adding a layer
// leaves the others' numbers alone.
func NameKey(name string) uint32 {
	hash := uint32(2166136261)
	for i := range len(name) {
		hash = (hash ^ uint32(name[i])) * 16777619
	}
	return hash
}

// normals turns a pair of words into a pair of independent normal numbers.
func normals(u0, u1 uint32) (even, odd float64) {
	r := math.Sqrt(-2 * math.Log((float64(u0)+1)*toUnit))
	sin, cos := math.Sincos(2 * math.Pi * (float64(u1) * toUnit))
	return r * cos, r * sin
}

// philox is Philox4x32 with ten rounds (Salmon et al., section 3.3). The key is
// bumped between rounds by the golden ratio and sqrt(3)-1.
func philox(counter [4]uint32, key0, key1 uint32) [4]uint32 {
	for range 10 {
		hi0, lo0 := bits.Mul32(0xD2511F53, counter[0])
		hi1, lo1 := bits.Mul32(0xCD9E8D57, counter[2])
		counter = [4]uint32{hi1 ^ counter[1] ^ key0, lo1, hi0 ^ counter[3] ^ key1, lo0}
		key0 += 0x9E3779B9
		key1 += 0xBB67AE85
	}
	return counter
}
