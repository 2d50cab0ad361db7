package meter

import (
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// smaps is made up of the lines that a kernel writes, the flags of pages left out.
const smaps = `00400000-00500000 r-xp 00000000 fe:00 1  /usr/bin/benchctl
Size:               1024 kB
Rss:                 512 kB
01000000-01100000 rw-p 00000000 00:00 0  [heap]
Rss:                 100 kB
c000000000-c000400000 rw-p 00000000 00:00 0
Rss:                  40 kB
7f0000000000-7f0000100000 rw-p 00000000 00:00 0  [anon: Go: gc bits]
Rss:                   4 kB
7f1000000000-7f1000100000 r-xp 00000000 00:00 0
Rss:                   8 kB
7f2000000000-7f2000800000 rw-p 00000000 00:00 0
Size:               8192 kB
Rss:                8000 kB
7f3000000000-7f3001000000 rw-p 00000000 00:00 0
Rss:                  16 kB
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0  [stack]
Rss:                  20 kB
7ffd00100000-7ffd00102000 r-xp 00000000 00:00 0  [vdso]
Rss:                   4 kB
`

func TestResidencyByPart(t *testing.T) {
	p := folder(t, map[string]string{"smaps": smaps})
	for _, row := range []struct {
		name  string
		arena int64
		want  Residency
	}{
		{"no arena", 0, Residency{PartFiles: 516 << 10, PartCode: 8 << 10, PartGo: 44 << 10, PartNative: 8136 << 10}},
		{"of those that can hold it the one with most pages", 7 << 20, Residency{PartArena: 8000 << 10, PartFiles: 516 << 10,
			PartCode: 8 << 10, PartGo: 44 << 10, PartNative: 136 << 10}},
		{"none is large enough", 17 << 20, Residency{PartFiles: 516 << 10, PartCode: 8 << 10, PartGo: 44 << 10,
			PartNative: 8136 << 10}},
	} {
		got, err := p.Residency(row.arena)
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		if d := cmp.Diff(row.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", row.name, d)
		}
	}
	for _, damaged := range []string{"zz-10 rw-p 0 0:0 0\n", "10-0 rw-p 0 0:0 0\n", "0-10 rw-p\n",
		"0-10 rw-p 0 0:0 0\nRss: many kB\n"} {
		if got, err := folder(t, map[string]string{"smaps": damaged}).Residency(0); err == nil {
			t.Errorf("%q: got %v, want an error", damaged, got)
		}
	}
}

// The parts of this process are its resident set, and a mapping that was touched is found by its size.
func TestResidencyOfThisProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("memory by part is read on Linux only")
	}
	const size, slack = 33 << 20, 4 << 20 // the kernel counts late, and the runtime goes on
	mapped, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(mapped)
	for i := 0; i < size; i += os.Getpagesize() {
		mapped[i] = 1
	}
	parts, err := Self().Residency(size)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Self().Memory()
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for name, bytes := range parts {
		sum += bytes
		if !strings.Contains(strings.Join(Parts(), "|"), name) {
			t.Errorf("%q is not listed", name)
		}
	}
	if d := sum - *m.ResidentBytes; max(d, -d) > slack {
		t.Errorf("the parts sum to %d bytes, the process has %d", sum, *m.ResidentBytes)
	}
	if parts[PartArena] < size || parts[PartArena] > size+slack {
		t.Errorf("got %d bytes of the mapping, want %d", parts[PartArena], size)
	}
}
