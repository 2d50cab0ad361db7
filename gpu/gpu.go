// Package gpu reads what NVIDIA's driver says of the GPUs of a machine, through
// NVML: an inventory, and a sampler of memory, power, clocks, temperature and energy
// during a run.
//
// In goes a Library, which exists only when NVML has been loaded; out come values
// with units. NVML belongs to the driver, so on most machines without a GPU it is not
// there: that is no error but a sentence (Inventory.Why).
//
// Opinions:
//   - What a card does not tell is absent, and never 0 and never guessed. Memory of
//     the whole card is not put in the place of memory of the process; both have
//     names of their own, and a note says why one is missing.
//   - Energy is the card's own counter where it has one, otherwise the integral of
//     power over the samples. Which of the two is always said.
//   - Only readings: nothing here sets a clock, a limit or a mode.
//
// A card is known by its UUID. Its number is that of NVML and nvidia-smi, by PCI bus,
// and need not be the one that CUDA gives it.
package gpu

import (
	"errors"
	"fmt"
	"strings"
)

// Library is NVML, loaded. Its methods may be called from any goroutine.
type Library interface {
	// Driver is the version of the driver ("580.65.06"), and CUDA the newest version
	// of CUDA that it runs ("13.0"); empty where it does not tell.
	Driver() (driver, cuda string)
	// Cards are the GPUs that this process may see, in NVML's order. The error is
	// about those that are missing from the list.
	Cards() ([]Card, error)
	Close() error
}

// Card is one GPU.
type Card interface {
	Facts() Facts
	// Read reads the card and what process pid has of it. What the card does not tell
	// is nil; the error is about what it ought to tell and did not, and what could be
	// read is returned with it.
	Read(pid int) (Reading, error)
}

// Facts are what does not change during a run.
type Facts struct {
	Index             int64 // NVML's number
	Name              string
	UUID              string // "GPU-" and 32 hex digits in groups
	MemoryBytes       *int64 // of the card, what the driver keeps for itself included
	ComputeCapability string // "9.0"; empty where the card does not tell, as below
	ECC               Mode
	// MIG on means that the card is cut into instances; readings are then those of the
	// whole card.
	MIG Mode
}

// Mode says whether something is switched on; empty where the card does not have it.
type Mode string

// The modes that are known.
const (
	ModeOn  Mode = "on"
	ModeOff Mode = "off"
)

// Reading is what a card tells at one moment.
type Reading struct {
	// ProcessUsedBytes is the device memory of the process, its context included; nil
	// where the driver does not list the process, as in many containers.
	ProcessUsedBytes *int64
	// DeviceUsedBytes is that of all processes and of the driver itself.
	DeviceUsedBytes  *int64
	PowerWatts       *float64 // on newer cards the driver's mean over a second
	SMClockHertz     *float64 // of the multiprocessors
	MemoryClockHertz *float64
	Celsius          *float64
	EnergyJoules     *float64 // since the driver was loaded
	Reasons          []string // why clocks are not at their highest; see Reasons
}

// Inventory is the GPUs of a machine.
type Inventory struct {
	Driver string // version; empty without NVML
	CUDA   string // newest version that the driver runs
	Cards  []Facts
	// Why is a sentence on why there is no card, or not every one; else empty.
	Why string
}

// Find makes the inventory with the library that open opens, and closes it. That there
// is no NVML or no GPU is no error.
func Find(open func() (Library, error)) Inventory {
	l, err := open()
	if err != nil {
		return Inventory{Why: err.Error()}
	}
	defer l.Close()
	var found Inventory
	found.Driver, found.CUDA = l.Driver()
	cards, err := l.Cards()
	for _, c := range cards {
		found.Cards = append(found.Cards, c.Facts())
	}
	switch {
	case err != nil:
		found.Why = err.Error()
	case len(cards) == 0:
		found.Why = "gpu: the driver is loaded and lists no GPU"
	}
	return found
}

// Pick returns the card with the UUID. Without one (empty) it is the only card there
// is; among several it is not guessed.
func Pick(l Library, uuid string) (Card, error) {
	cards, err := l.Cards()
	var known []string
	for _, c := range cards {
		f := c.Facts()
		if uuid != "" && strings.EqualFold(f.UUID, uuid) || uuid == "" && len(cards) == 1 && err == nil {
			return c, nil
		}
		known = append(known, f.UUID)
	}
	return nil, errors.Join(fmt.Errorf("gpu: uuid: got %q, want one of %d cards: %s", uuid, len(known), strings.Join(known, ", ")), err)
}
