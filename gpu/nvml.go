package gpu

import (
	"errors"
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/dl"
	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// libraryName is the name of the library that the driver installs.
const libraryName = "libnvidia-ml.so.1"

// Open loads NVML. The error explains why it is missing or unusable.
func Open() (Library, error) { return openAt(libraryName) }

// openAt loads NVML from a path, or by a name that the loader searches for.
//
// Note: go-nvml's Init reports "library not found" for every cause, and a function that
// the library lacks ends the process when it is called. So the library is opened once
// beforehand for the loader's message, and each function is looked up before its call.
func openAt(path string) (Library, error) {
	first := dl.New(path, dl.RTLD_LAZY|dl.RTLD_GLOBAL)
	if err := first.Open(); err != nil {
		return nil, fmt.Errorf("no NVIDIA driver was found: %w", err)
	}
	defer first.Close()
	for _, symbol := range []string{"nvmlInit_v2", "nvmlErrorString", "nvmlShutdown", "nvmlDeviceGetCount_v2",
		"nvmlDeviceGetHandleByIndex_v2"} {
		if err := first.Lookup(symbol); err != nil {
			return nil, fmt.Errorf("%s is not a usable NVML library: %w", path, err)
		}
	}
	l := &library{nvml.New(nvml.WithLibraryPath(path))}
	if code := l.nvml.Init(); code != nvml.SUCCESS {
		return nil, fmt.Errorf("NVML was loaded but can't be initialised: %w", code)
	}
	return l, nil
}

// library is NVML through go-nvml.
type library struct{ nvml nvml.Interface }

// ask calls a function of NVML if the library has it. A function that the library or the card
// does not have gives errors.ErrUnsupported.
func (l *library) ask(symbol string, call func() nvml.Return) error {
	if err := l.nvml.Extensions().LookupSymbol(symbol); err != nil {
		return errors.ErrUnsupported
	}
	switch code := call(); code {
	case nvml.SUCCESS:
		return nil
	case nvml.ERROR_NOT_SUPPORTED, nvml.ERROR_FUNCTION_NOT_FOUND, nvml.ERROR_NO_PERMISSION:
		return errors.ErrUnsupported
	default:
		return fmt.Errorf("%s: %w", symbol, code)
	}
}

// Driver returns the versions.
func (l *library) Driver() (driver, cuda string) {
	_ = l.ask("nvmlSystemGetDriverVersion", func() (code nvml.Return) {
		driver, code = l.nvml.SystemGetDriverVersion()
		return code
	})
	version := 0 // 13000 is 13.0
	if l.ask("nvmlSystemGetCudaDriverVersion", func() (code nvml.Return) {
		version, code = l.nvml.SystemGetCudaDriverVersion()
		return code
	}) == nil {
		cuda = fmt.Sprintf("%d.%d", version/1000, version%1000/10)
	}
	return driver, cuda
}

// Cards opens every card.
func (l *library) Cards() ([]Card, error) {
	count, code := l.nvml.DeviceGetCount()
	if code != nvml.SUCCESS {
		return nil, fmt.Errorf("number of GPUs: %w", code)
	}
	var cards []Card
	var missing error
	for i := range count {
		d, code := l.nvml.DeviceGetHandleByIndex(i)
		if code != nvml.SUCCESS {
			missing = errors.Join(missing, fmt.Errorf("GPU %d: %w", i, code))
			continue
		}
		cards = append(cards, &card{l, d, int64(i)})
	}
	return cards, missing
}

// Close shuts NVML down.
func (l *library) Close() error {
	if code := l.nvml.Shutdown(); code != nvml.SUCCESS {
		return fmt.Errorf("NVML shutdown: %w", code)
	}
	return nil
}

// card is a device of NVML.
type card struct {
	*library
	device nvml.Device
	index  int64
}

// Facts reads the constant properties.
func (c *card) Facts() Facts {
	f := Facts{Index: c.index}
	_ = c.ask("nvmlDeviceGetName", func() (code nvml.Return) {
		f.Name, code = c.device.GetName()
		return code
	})
	_ = c.ask("nvmlDeviceGetUUID", func() (code nvml.Return) {
		f.UUID, code = c.device.GetUUID()
		return code
	})
	f.MemoryBytes, _ = measure(c, "nvmlDeviceGetMemoryInfo", func() (int64, nvml.Return) {
		m, code := c.device.GetMemoryInfo()
		return int64(m.Total), code
	})
	_ = c.ask("nvmlDeviceGetCudaComputeCapability", func() nvml.Return {
		major, minor, code := c.device.GetCudaComputeCapability()
		if code == nvml.SUCCESS {
			f.ComputeCapability = fmt.Sprintf("%d.%d", major, minor)
		}
		return code
	})
	f.ECC = c.mode("nvmlDeviceGetEccMode", func() (bool, nvml.Return) {
		current, _, code := c.device.GetEccMode()
		return current == nvml.FEATURE_ENABLED, code
	})
	f.MIG = c.mode("nvmlDeviceGetMigMode", func() (bool, nvml.Return) {
		current, _, code := c.device.GetMigMode()
		return current == nvml.DEVICE_MIG_ENABLE, code
	})
	return f
}

func (c *card) mode(symbol string, call func() (bool, nvml.Return)) Mode {
	on, err := measure(c, symbol, call)
	switch {
	case err != nil || on == nil:
		return ""
	case *on:
		return ModeOn
	}
	return ModeOff
}

// measure reads one value; nil if the card does not support it.
func measure[T any](c *card, symbol string, call func() (T, nvml.Return)) (*T, error) {
	var value T
	err := c.ask(symbol, func() (code nvml.Return) {
		value, code = call()
		return code
	})
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &value, nil
}

// Read reads the current values.
func (c *card) Read(pid int) (Reading, error) {
	var r Reading
	var faults [7]error
	r.DeviceUsedBytes, faults[0] = measure(c, "nvmlDeviceGetMemoryInfo", func() (int64, nvml.Return) {
		m, code := c.device.GetMemoryInfo()
		return int64(m.Used), code
	})
	r.ProcessUsedBytes, faults[1] = c.processBytes(pid)
	r.PowerWatts, faults[2] = measure(c, "nvmlDeviceGetPowerUsage", func() (float64, nvml.Return) {
		milliwatts, code := c.device.GetPowerUsage()
		return float64(milliwatts) / 1e3, code
	})
	r.EnergyJoules, faults[3] = measure(c, "nvmlDeviceGetTotalEnergyConsumption", func() (float64, nvml.Return) {
		millijoules, code := c.device.GetTotalEnergyConsumption()
		return float64(millijoules) / 1e3, code
	})
	for i, clock := range []struct {
		of   nvml.ClockType
		into **float64
	}{{nvml.CLOCK_SM, &r.SMClockHertz}, {nvml.CLOCK_MEM, &r.MemoryClockHertz}} {
		*clock.into, faults[4+i] = measure(c, "nvmlDeviceGetClockInfo", func() (float64, nvml.Return) {
			megahertz, code := c.device.GetClockInfo(clock.of)
			return float64(megahertz) * 1e6, code
		})
	}
	r.Celsius, faults[6] = measure(c, "nvmlDeviceGetTemperature", func() (float64, nvml.Return) {
		celsius, code := c.device.GetTemperature(nvml.TEMPERATURE_GPU)
		return float64(celsius), code
	})
	reasons, err := c.reasons()
	r.Reasons = reasons
	return r, errors.Join(append(faults[:], err)...)
}

// processBytes is the memory of a process. With MIG a process is listed once per
// instance. NVML's "not available" is 2^64 - 1, which is not a size.
func (c *card) processBytes(pid int) (*int64, error) {
	all, err := measure(c, "nvmlDeviceGetComputeRunningProcesses", c.device.GetComputeRunningProcesses)
	if err != nil || all == nil {
		return nil, err
	}
	var bytes *int64
	for _, p := range *all {
		if int(p.Pid) != pid || int64(p.UsedGpuMemory) < 0 {
			continue
		}
		sum := int64(p.UsedGpuMemory)
		if bytes != nil {
			sum += *bytes
		}
		bytes = &sum
	}
	return bytes, nil
}

// reasons tries the newer name of the function first.
func (c *card) reasons() ([]string, error) {
	mask, err := measure(c, "nvmlDeviceGetCurrentClocksEventReasons", c.device.GetCurrentClocksEventReasons)
	if err == nil && mask == nil {
		mask, err = measure(c, "nvmlDeviceGetCurrentClocksThrottleReasons", c.device.GetCurrentClocksThrottleReasons)
	}
	if err != nil || mask == nil {
		return nil, err
	}
	return Reasons(*mask), nil
}
