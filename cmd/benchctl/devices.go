package main

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/gpu"
	"github.com/localbench/localbench/hostmem"
	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/reports/table"
)

func devicesCommand(env Env) *cobra.Command {
	c := &cobra.Command{Use: "devices", Short: "the processor, its memory, the GPUs, and the libraries that runs would use", Args: noArguments}
	out := addOutput(c.Flags())
	c.RunE = func(*cobra.Command, []string) error {
		if err := out.open(); err != nil {
			return err
		}
		t, err := deviceTable(gpu.Find(gpu.Open))
		if err != nil {
			return err
		}
		return env.emit(out, answer{tables: []table.Table{t}}, nil)
	}
	return c
}

// deviceTable lists the processor, the GPUs of the inventory and the cuda backend.
func deviceTable(found gpu.Inventory) (table.Table, error) {
	t := table.Table{ID: "devices", Title: "Devices", Columns: []table.Column{table.TextColumn("device", "device"), table.TextColumn("fact", "fact"), table.TextColumn("value", "value")}}
	if found.Why != "" {
		t.Notes = append(t.Notes, "GPUs: "+strings.TrimPrefix(printable.Line(found.Why), "gpu: ")+".")
	}
	if len(found.Cards) > 0 {
		t.Notes = append(t.Notes, "GPUs have the driver's numbers, those of nvidia-smi.")
	}
	add := func(device, fact string, value table.Cell) {
		t.Rows = append(t.Rows, []table.Cell{table.Text(device), table.Text(fact), value})
	}
	d, err := engine.Open("cpu", engine.Options{})
	if err != nil {
		return table.Table{}, fmt.Errorf("backend: %w", err)
	}
	defer d.Close()
	if model := hostmem.Processor(); model != "" {
		add("cpu", "model", table.Text(model))
	}
	cores := int64(runtime.NumCPU())
	add("cpu", "cores", table.CountCell(&cores))
	addHostMemory(add)
	addFacts("cpu", d, add)
	addCards(found, add)
	addCUDA(found, add)
	return t, nil
}

// addHostMemory adds the machine's memory, the limits on this process, and what it can still get.
func addHostMemory(add func(device, fact string, value table.Cell)) {
	host, err := hostmem.Read()
	if err != nil {
		return
	}
	add("cpu", "memory", table.BytesCell(&host.MachineBytes))
	for _, l := range host.Limits {
		add("cpu", "memory limit: "+l.Name, table.BytesCell(&l.Bytes))
	}
	free, _ := host.Free()
	add("cpu", "free memory", table.BytesCell(&free))
}

// addFacts adds what a backend says of itself, in the order of the names.
func addFacts(device string, d engine.Device, add func(device, fact string, value table.Cell)) {
	facts := d.Facts()
	for _, fact := range slices.Sorted(maps.Keys(facts)) {
		add(device, fact, table.Text(facts[fact]))
	}
}

// addCards adds the GPUs, or that there is none.
func addCards(found gpu.Inventory, add func(device, fact string, value table.Cell)) {
	if len(found.Cards) == 0 {
		add("gpu", "found", table.Text("none"))
	}
	for _, c := range found.Cards {
		device := fmt.Sprintf("gpu%d", c.Index)
		text := func(fact, value string) {
			if value != "" {
				add(device, fact, table.Text(value))
			}
		}
		text("model", c.Name)
		text("uuid", c.UUID)
		if c.MemoryBytes != nil {
			add(device, "memory", table.BytesCell(c.MemoryBytes))
		}
		text("compute capability", c.ComputeCapability)
		text("ecc", string(c.ECC))
		text("mig", string(c.MIG))
	}
}

// addCUDA adds the versions of the driver, and the cuda backend or why there is none.
func addCUDA(found gpu.Inventory, add func(device, fact string, value table.Cell)) {
	if found.Driver != "" {
		add("cuda", "driver", table.Text(found.Driver))
	}
	if found.CUDA != "" {
		add("cuda", "newest CUDA of the driver", table.Text(found.CUDA))
	}
	d, err := engine.Open("cuda", engine.Options{})
	if err != nil {
		why := err.Error()
		var absent *engine.Unavailable
		if errors.As(err, &absent) {
			why = absent.Why
		}
		add("cuda", "backend", table.Text(printable.Line(why)))
		return
	}
	defer d.Close()
	add("cuda", "backend", table.Text("ready"))
	addFacts("cuda", d, add)
}
