package table

import (
	"math"
	"testing"
)

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1: "1 B", 1023: "1023 B", -5: "-5 B",
		1024: "1.000 KiB", 1536: "1.500 KiB", -1536: "-1.500 KiB",
		10239: "9.999 KiB", 10240: "10.00 KiB", 102400: "100.0 KiB", 1023 << 10: "1023 KiB",
		1<<20 - 1: "1.000 MiB", 1 << 20: "1.000 MiB", 1000000: "976.6 KiB",
		1<<20 - 600: "1023 KiB", 1<<20 - 500: "1.000 MiB", // 1023.414 and 1023.512 KiB
		45309000: "43.21 MiB", 1 << 30: "1.000 GiB", 3 << 40: "3.000 TiB", 5 << 50: "5.000 PiB",
		math.MaxInt64: "8.000 EiB", math.MinInt64: "-8.000 EiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestByteUnit(t *testing.T) {
	for n, want := range map[int64]string{0: "B", 1023: "B", 1024: "KiB", 1<<20 - 1: "KiB", 1 << 20: "MiB", 5 << 30: "GiB",
		math.MaxInt64: "EiB"} {
		name, bytes := ByteUnit(n)
		if name != want || n > 0 && (float64(n)/bytes < 1 || float64(n)/bytes >= 1024 && name != "EiB") {
			t.Errorf("%d: got %s of %v bytes, want %s", n, name, bytes, want)
		}
	}
}

func TestSeconds(t *testing.T) {
	for s, want := range map[float64]string{
		0: "0 s", 850e-6: "850 µs", 0.9996e-3: "1.00 ms", 0.0123: "12.3 ms", 0.9996: "1.00 s", 4.56: "4.56 s", 99.96: "100 s",
		119.4: "119 s", 119.6: "2 min 0 s", 200: "3 min 20 s", 7199.6: "2 h 0 min", 7500: "2 h 5 min", 100000: "27 h 47 min",
	} {
		if got := Seconds(s); got != want {
			t.Errorf("%v: got %s, want %s", s, got, want)
		}
	}
}

func TestOtherNumbers(t *testing.T) {
	for got, want := range map[string]string{
		Percent(0.93456): "93.46", Percent(1): "100.00",
		Ratio(0.4321): "0.43x", Ratio(1): "1.00x", Ratio(12.345): "12.35x", Ratio(0.0123): "0.012x", Ratio(0): "0.00x",
		Count(1807964): "1,807,964",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
