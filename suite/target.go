package suite

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/hostmem"
)

// TargetError is a target that is not a device.
type TargetError struct{ target, hint string }

// Error names the target.
func (e *TargetError) Error() string {
	return fmt.Sprintf("--target %s: must be cpu, cuda:0 or gpu", e.target)
}

// Hint suggests a name if the tuning cache has such a GPU.
func (e *TargetError) Hint() string { return e.hint }

// TargetBytes is the memory that a run may have on a target: what is free of cpu or of cuda:0 now, or the whole memory of the
// GPU of that name for the target gpu.
func TargetBytes(h Host, target, gpu string) (int64, error) {
	switch backend, number, _ := strings.Cut(target, ":"); backend {
	case "cpu":
		host, err := hostmem.Read()
		if err != nil {
			return 0, fmt.Errorf("--target cpu: %w", err)
		}
		free, _ := host.Free()
		if free == 0 {
			return 0, fmt.Errorf("--target cpu: no memory is free: %s", host.Explain())
		}
		return free, nil
	case "cuda":
		free, err := freeOnGPU(h, number)
		if err != nil {
			return 0, fmt.Errorf("--target %s: %w", target, err)
		}
		return free, nil
	case "gpu":
		return wholeGPU(h, gpu)
	}
	e := &TargetError{target: target}
	if book, err := h.Book(); err == nil {
		if g, err := book.Find(target); err == nil {
			e.hint = fmt.Sprintf("--gpu %s --target gpu plans for the whole memory of %s", target, g.Name)
		}
	}
	return 0, e
}

// wholeGPU is the memory of a GPU in the tuning cache.
func wholeGPU(h Host, name string) (int64, error) {
	if name == "" {
		return 0, errors.New("--target gpu: needs --gpu with the GPU's name, such as --gpu h100")
	}
	book, err := h.Book()
	if err != nil {
		return 0, err
	}
	g, err := book.Find(name)
	if err != nil {
		return 0, err
	}
	bytes := g.MemoryBytes()
	if bytes == 0 {
		return 0, fmt.Errorf("--target gpu: the tuning cache does not have the memory of %s: give it with --fit", g.Name)
	}
	return bytes, nil
}

// freeOnGPU is the free memory of a GPU, of which our own context and libraries have taken
// their part.
func freeOnGPU(h Host, number string) (int64, error) {
	index, err := strconv.Atoi(cmp.Or(number, "0"))
	if err != nil || index < 0 {
		return 0, errors.New("the device must be a number, such as cuda:0")
	}
	d, err := engine.Open("cuda", engine.Options{LibraryDir: h.LibraryDir, Device: index})
	if err != nil {
		return 0, err
	}
	defer d.Close()
	has, ok := d.(engine.FreeMemory)
	if !ok {
		return 0, errors.New("the backend does not tell its free memory, give it with --fit")
	}
	return has.FreeBytes(), nil
}
