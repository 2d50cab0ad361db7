// Package gpu reads the GPUs of a machine from NVIDIA's driver, through
// NVML: an inventory, and a sampler of memory, power, clocks, temperature and energy
// during a run.
//
// The input is a Library, which exists only when NVML has been loaded; results are values
// with units. NVML is part of the driver, so most machines without a GPU do not have
// it: that is not an error but a note (Inventory.Why).
//
// Rules:
//   - A value that a card does not report is absent, never 0 and never guessed. Memory of
//     the whole card is never reported as memory of the process; they have
//     different names, and a note explains why one is missing.
//   - Energy is from the card's counter if it has one, otherwise the integral of
//     power over the samples. The source is always recorded.
//   - The package only reads: it sets no clock, limit or mode.
//
// A card is identified by its UUID. Its number is that of NVML and nvidia-smi, by PCI bus,
// and may differ from CUDA's.
package gpu

import (
	"errors"
	"fmt"
	"strings"
)

// Library is NVML, loaded. Its methods may be called from any goroutine.
type Library interface {
	// Driver is the version of the driver ("580.65.06"), and CUDA the newest version
	// of CUDA that it supports ("13.0"); empty if unknown.
	Driver() (driver, cuda string)
	// Cards are the GPUs that are visible to this process, in NVML's order. The error
	// describes those that are missing from the list.
	Cards() ([]Card, error)
	Close() error
}

// Card is one GPU.
type Card interface {
	Facts() Facts
	// Read reads the card and the use of it by process pid. A value that the card does not
	// support is nil; the error describes values that it supports but could not be read, and the
	// others are returned with it.
	Read(pid int) (Reading, error)
}

// Facts are the properties of a card that are constant during a run.
type Facts struct {
	Index             int64 // NVML's number
	Name              string
	UUID              string // "GPU-" and 32 hex digits in groups
	MemoryBytes       *int64 // of the card, what the driver keeps for itself included
	ComputeCapability string // "9.0"; empty where the card does not tell, as below
	ECC               Mode
	// MIG on means that the card is divided into instances; readings are then those of the
	// whole card.
	MIG Mode
}

// Mode is the state of a feature; empty if the card does not have it.
type Mode string

// The modes.
const (
	ModeOn  Mode = "on"
	ModeOff Mode = "off"
)

// Reading holds the values of a card at one moment.
type Reading struct {
	// ProcessUsedBytes is the device memory of the process, its context included; nil
	// if the driver does not list the process, as in many containers.
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

// Inventory lists the GPUs of a machine.
type Inventory struct {
	Driver string // version; empty without NVML
	CUDA   string // newest version that the driver runs
	Cards  []Facts
	// Why explains in a sentence why no card, or not every card, is listed; else empty.
	Why string
}

// Find makes the inventory with the library that open opens, and closes it. A machine
// without NVML or without a GPU is not an error.
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
		found.Why = "the driver is loaded but lists no GPU"
	}
	return found
}

// Pick returns the card with the UUID. If uuid is empty it is the only card of the
// machine; with several cards that is an error.
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
	var fault error
	switch {
	case len(known) == 0:
		fault = errors.New("there is no GPU")
	case uuid == "":
		fault = fmt.Errorf("%d GPUs, none selected: choose one by its UUID: %s", len(known), strings.Join(known, ", "))
	default:
		fault = fmt.Errorf("no GPU has the UUID %q: the driver lists %s", uuid, strings.Join(known, ", "))
	}
	return nil, errors.Join(fault, err)
}
