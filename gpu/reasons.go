package gpu

import (
	"fmt"
	"math/bits"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// reason is a bit of NVML's mask of reasons for reduced clocks.
type reason struct {
	bit  uint64
	word string
}

func reasonList() []reason {
	return []reason{
		{nvml.ClocksEventReasonGpuIdle, "idle"},
		{nvml.ClocksEventReasonApplicationsClocksSetting, "clocks set by the user"},
		{nvml.ClocksEventReasonSwPowerCap, "software power limit"},
		{nvml.ClocksThrottleReasonHwSlowdown, "hardware slowdown"},
		{nvml.ClocksEventReasonSyncBoost, "sync boost"},
		{nvml.ClocksEventReasonSwThermalSlowdown, "software thermal slowdown"},
		{nvml.ClocksThrottleReasonHwThermalSlowdown, "hardware thermal slowdown"},
		{nvml.ClocksThrottleReasonHwPowerBrakeSlowdown, "hardware power brake"},
		{nvml.ClocksEventReasonDisplayClockSetting, "display clocks"},
	}
}

// Reasons translates NVML's mask of clock event reasons into words, in the order of the bits.
// "idle" is harmless; an unknown bit is named by its number.
func Reasons(mask uint64) []string {
	var words []string
	for _, r := range reasonList() {
		if mask&r.bit != 0 {
			words = append(words, r.word)
			mask &^= r.bit
		}
	}
	for ; mask != 0; mask &= mask - 1 {
		words = append(words, fmt.Sprintf("reason 0x%x", uint64(1)<<bits.TrailingZeros64(mask)))
	}
	return words
}
