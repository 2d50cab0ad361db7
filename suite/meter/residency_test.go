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
	// What this process allocates in Go counts as such, wherever the runtime's heap begins.
	held := make([]byte, size)
	for i := 0; i < size; i += os.Getpagesize() {
		held[i] = 1
	}
	more, err := Self().Residency(size)
	if err != nil {
		t.Fatal(err)
	}
	if grown := more[PartGo] - parts[PartGo]; grown < size-slack || grown > size+slack {
		t.Errorf("%q grew by %d bytes, want %d", PartGo, grown, size)
	}
	runtime.KeepAlive(held)
}

// The heap is the mapping of an address and its neighbours without a gap, and no file.
func TestMappingsOfTheHeap(t *testing.T) {
	all, err := readMappings(strings.NewReader(`10000-20000 rw-p 0 0:0 0
20000-30000 r--p 0 fe:00 1 /usr/lib/a.so
30000-40000 ---p 0 0:0 0
40000-50000 rw-p 0 0:0 0
50000-60000 ---p 0 0:0 0
61000-70000 rw-p 0 0:0 0
`))
	if err != nil {
		t.Fatal(err)
	}
	markHeap(all, 0x4ffff)
	var begins []uint64
	for _, m := range all {
		if m.heap {
			begins = append(begins, m.begin)
		}
	}
	if d := cmp.Diff([]uint64{0x30000, 0x40000, 0x50000}, begins); d != "" {
		t.Errorf("mappings of the heap by where they begin (-want +got):\n%s", d)
	}
}
