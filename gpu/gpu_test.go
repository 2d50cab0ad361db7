package gpu

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeLibrary is NVML with made-up cards.
type fakeLibrary struct {
	cards  []Card
	err    error
	closed int
}

func (l *fakeLibrary) Driver() (driver, cuda string) { return "580", "13.0" }
func (l *fakeLibrary) Cards() ([]Card, error)        { return l.cards, l.err }
func (l *fakeLibrary) Close() error                  { l.closed++; return nil }

// fakeCard gives its readings one by one, and then the last of them again.
type fakeCard struct {
	facts    Facts
	readings []Reading
	err      error
	reads    int
	pid      int
}

func (c *fakeCard) Facts() Facts { return c.facts }
func (c *fakeCard) Read(pid int) (Reading, error) {
	c.pid = pid
	c.reads++
	return c.readings[min(c.reads, len(c.readings))-1], c.err
}

func TestFindWithoutNVMLIsASentence(t *testing.T) {
	found := Find(func() (Library, error) { return nil, errors.New("gpu: nothing here") })
	if d := cmp.Diff(Inventory{Why: "gpu: nothing here"}, found); d != "" {
		t.Error(d)
	}
}

func TestFindClosesTheLibrary(t *testing.T) {
	l := &fakeLibrary{cards: []Card{&fakeCard{facts: Facts{Name: "a"}}, &fakeCard{facts: Facts{Name: "b"}}}}
	found := Find(func() (Library, error) { return l, nil })
	want := Inventory{Driver: "580", CUDA: "13.0", Cards: []Facts{{Name: "a"}, {Name: "b"}}}
	if d := cmp.Diff(want, found); d != "" || l.closed != 1 {
		t.Errorf("closed %d times, want once; %s", l.closed, d)
	}
}

func TestPick(t *testing.T) {
	a, b := &fakeCard{facts: Facts{UUID: "GPU-a"}}, &fakeCard{facts: Facts{UUID: "GPU-b"}}
	lost := errors.New("gpu: card 1: lost")
	for _, row := range []struct {
		name, uuid string
		l          fakeLibrary
		want       Card
		err        string
	}{
		{"by UUID", "GPU-b", fakeLibrary{cards: []Card{a, b}}, b, ""},
		{"in capitals", "GPU-B", fakeLibrary{cards: []Card{a, b}}, b, ""},
		{"the only one", "", fakeLibrary{cards: []Card{a}}, a, ""},
		{"one of two is not guessed", "", fakeLibrary{cards: []Card{a, b}}, nil,
			`2 GPUs, none selected: choose one by its UUID: GPU-a, GPU-b`},
		{"nor the one that is left of two", "", fakeLibrary{cards: []Card{a}, err: lost}, nil, "card 1: lost"},
		{"found although another is lost", "GPU-a", fakeLibrary{cards: []Card{a}, err: lost}, a, ""},
		{"unknown", "GPU-c", fakeLibrary{cards: []Card{a}}, nil, `no GPU has the UUID "GPU-c"`},
		{"none there", "", fakeLibrary{}, nil, "there is no GPU"},
	} {
		got, err := Pick(&row.l, row.uuid)
		if got != row.want || (err == nil) != (row.err == "") || err != nil && !strings.Contains(err.Error(), row.err) {
			t.Errorf("%s: got %v, %v, want %v, %q", row.name, got, err, row.want, row.err)
		}
	}
}

func TestReasons(t *testing.T) {
	for _, row := range []struct {
		mask uint64
		want string
	}{
		{0, ""},
		{1, "idle"},
		{0x4 | 0x40, "software power limit, hardware thermal slowdown"},
		{0x8 | 1<<40 | 1<<63, "hardware slowdown, reason 0x10000000000, reason 0x8000000000000000"},
	} {
		if got := strings.Join(Reasons(row.mask), ", "); got != row.want {
			t.Errorf("0x%x: got %q, want %q", row.mask, got, row.want)
		}
	}
	seen := map[string]bool{}
	for _, r := range reasonList() {
		if seen[r.word] || r.bit&(r.bit-1) != 0 {
			t.Errorf("%q: got a word twice, or a mask of several bits: 0x%x", r.word, r.bit)
		}
		seen[r.word] = true
	}
}
