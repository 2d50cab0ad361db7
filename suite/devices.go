package suite

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/gpu"
	"github.com/localbench/localbench/hostmem"
)

// Fact is something that is known of a device: a text, a size or a count.
type Fact struct {
	Device, Name string
	Text         string // if both others are nil
	Bytes, Count *int64
}

// Devices tells what runs could use on this machine: the processor and its memory, the GPUs of the inventory, and the cuda
// backend or why there is none.
func Devices(h Host, found gpu.Inventory) (facts []Fact, err error) {
	add := func(f Fact) { facts = append(facts, f) }
	d, err := engine.Open("cpu", engine.Options{})
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if model := hostmem.Processor(); model != "" {
		add(Fact{Device: "cpu", Name: "model", Text: model})
	}
	add(Fact{Device: "cpu", Name: "cores", Count: new(int64(runtime.NumCPU()))})
	addHostMemory(add)
	addFacts("cpu", d, add)
	addCards(found, add)
	addCUDA(h, found, add)
	return facts, nil
}

// addHostMemory adds the machine's memory, the limits on this process, and what it can still get.
func addHostMemory(add func(Fact)) {
	host, err := hostmem.Read()
	if err != nil {
		return
	}
	add(Fact{Device: "cpu", Name: "memory", Bytes: &host.MachineBytes})
	for _, l := range host.Limits {
		add(Fact{Device: "cpu", Name: "memory limit: " + l.Name, Bytes: &l.Bytes})
	}
	free, _ := host.Free()
	add(Fact{Device: "cpu", Name: "free memory", Bytes: &free})
}

// addFacts adds what a backend says of itself, in the order of the names.
func addFacts(device string, d engine.Device, add func(Fact)) {
	facts := d.Facts()
	for _, fact := range slices.Sorted(maps.Keys(facts)) {
		add(Fact{Device: device, Name: fact, Text: facts[fact]})
	}
}

// addCards adds the GPUs, or that there is none.
func addCards(found gpu.Inventory, add func(Fact)) {
	if len(found.Cards) == 0 {
		add(Fact{Device: "gpu", Name: "found", Text: "none"})
	}
	for _, c := range found.Cards {
		device := fmt.Sprintf("gpu%d", c.Index)
		text := func(fact, value string) {
			if value != "" {
				add(Fact{Device: device, Name: fact, Text: value})
			}
		}
		text("model", c.Name)
		text("uuid", c.UUID)
		if c.MemoryBytes != nil {
			add(Fact{Device: device, Name: "memory", Bytes: c.MemoryBytes})
		}
		text("compute capability", c.ComputeCapability)
		text("ecc", string(c.ECC))
		text("mig", string(c.MIG))
	}
}

// addCUDA adds the versions of the driver, and the cuda backend or why there is none.
func addCUDA(h Host, found gpu.Inventory, add func(Fact)) {
	if found.Driver != "" {
		add(Fact{Device: "cuda", Name: "driver", Text: found.Driver})
	}
	if found.CUDA != "" {
		add(Fact{Device: "cuda", Name: "newest CUDA of the driver", Text: found.CUDA})
	}
	d, err := engine.Open("cuda", engine.Options{LibraryDir: h.LibraryDir})
	if err != nil {
		why := err.Error()
		var absent *engine.Unavailable
		if errors.As(err, &absent) {
			why = absent.Why
		}
		add(Fact{Device: "cuda", Name: "backend", Text: why})
		return
	}
	defer d.Close()
	add(Fact{Device: "cuda", Name: "backend", Text: "ready"})
	addFacts("cuda", d, add)
}
