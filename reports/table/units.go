package table

import (
	"fmt"
	"math"

	"github.com/dustin/go-humanize"
)

// Bytes prints a size with four digits and its unit: 512 B, 43.21 MiB,
// 1.234 GiB. KiB, MiB and GiB are powers of 1024. It is the only formatter of
// sizes, so that the same size reads the same everywhere.
func Bytes(n int64) string {
	if n > -1024 && n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	x := float64(n)
	for i, unit := range byteUnits {
		x /= 1024
		text := fourDigits(x)
		if text != "1024" && text != "-1024" || i == len(byteUnits)-1 { // 1023.96 KiB is 1.000 MiB
			if math.Abs(x) < 1024 {
				return text + " " + unit
			}
		}
	}
	return fmt.Sprintf("%s %s", fourDigits(x), byteUnits[len(byteUnits)-1])
}

var byteUnits = [...]string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

func fourDigits(x float64) string { return fmt.Sprintf("%.*f", decimals(x), x) }

// decimals is the number of decimals that gives four digits.
func decimals(x float64) int {
	for digits, limit := range []float64{9.9995, 99.995, 999.95} {
		if math.Abs(x) < limit {
			return 3 - digits
		}
	}
	return 0
}

// ByteUnit is the unit for an axis or a column whose largest size is given: its
// name and the bytes it has. The largest is then at least 1 and below 1024.
func ByteUnit(largest int64) (name string, bytes float64) {
	name, bytes = "B", 1
	for _, unit := range byteUnits {
		if float64(largest) < bytes*1024 {
			break
		}
		name, bytes = unit, bytes*1024
	}
	return name, bytes
}

// Seconds prints a duration for people: 850 µs, 12.3 ms, 4.56 s, 3 min 20 s, 2 h 5 min.
func Seconds(s float64) string {
	switch a := math.Abs(s); {
	case a == 0:
		return "0 s"
	case a < 0.9995e-3:
		return threeDigits(s*1e6) + " µs"
	case a < 0.9995:
		return threeDigits(s*1e3) + " ms"
	case a < 119.5:
		return threeDigits(s) + " s"
	case a < 2*3600-0.5:
		whole := int64(math.Round(s))
		return fmt.Sprintf("%d min %d s", whole/60, whole%60)
	}
	minutes := int64(math.Round(s / 60))
	return fmt.Sprintf("%d h %d min", minutes/60, minutes%60)
}

func threeDigits(x float64) string {
	for digits, limit := range []float64{9.995, 99.95} {
		if math.Abs(x) < limit {
			return fmt.Sprintf("%.*f", 2-digits, x)
		}
	}
	return fmt.Sprintf("%.0f", x)
}

// Percent prints a fraction in [0, 1] as a percentage with two decimals, without the sign.
func Percent(fraction float64) string { return fmt.Sprintf("%.2f", fraction*100) }

// Ratio prints how many times the baseline a number is: 0.43x.
func Ratio(r float64) string {
	if r != 0 && math.Abs(r) < 0.0995 {
		return fmt.Sprintf("%.2gx", r)
	}
	return fmt.Sprintf("%.2fx", r)
}

// Count prints a whole number with its thousands set off: 1,807,964.
func Count(n int64) string { return humanize.Comma(n) }
