package datasets_test

import (
	"context"
	"fmt"
	"io"

	"github.com/localbench/localbench/suite/datasets"
)

// A loader delivers the batches of one epoch. Their content depends on the seed and the epoch alone.
func ExampleNewLoader() {
	entry, err := datasets.Find("synthetic")
	if err != nil {
		fmt.Println(err)
		return
	}
	set, err := entry.Open("", datasets.Options{TrainLimit: 10, TestLimit: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	loader, err := datasets.NewLoader(set.Train, datasets.LoaderOptions{Batch: 4, Seed: 1, Shuffle: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer loader.Close()
	for {
		batch, err := loader.Next(context.Background())
		if err == io.EOF {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(len(batch.Labels), "samples")
		loader.Release(batch)
	}
	// Output:
	// 4 samples
	// 4 samples
	// 2 samples
}
