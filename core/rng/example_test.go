package rng_test

import (
	"fmt"

	"github.com/localbench/localbench/core/rng"
)

// A number depends on its address alone: the order of the calls does not matter.
func ExampleBlock() {
	last := rng.Block(1, rng.PurposeInit, 0, 99)
	for index := range uint64(100) {
		if rng.Block(1, rng.PurposeInit, 0, index) == last {
			fmt.Println("index", index)
		}
	}
	// Output: index 99
}
