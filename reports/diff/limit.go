package diff

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/localbench/localbench/reports/table"
)

// Limit is the growth that is accepted: bytes, or a fraction of the old figure.
type Limit struct {
	bytes    int64
	fraction float64
	percent  bool
}

// ParseLimit reads a size such as 16MiB, a percentage such as 2%, or 0.
func ParseLimit(text string) (Limit, error) {
	text = strings.TrimSpace(text)
	wrong := errors.New("must be a size with its unit such as 16MiB, a percentage such as 2%, or 0")
	if text == "0" {
		return Limit{}, nil
	}
	if number, ok := strings.CutSuffix(text, "%"); ok {
		x, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(x >= 0) || math.IsInf(x, 0) {
			return Limit{}, wrong
		}
		return Limit{fraction: x / 100, percent: true}, nil
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || n > math.MaxInt64 || !strings.HasSuffix(strings.ToLower(text), "b") {
		return Limit{}, wrong
	}
	return Limit{bytes: int64(n)}, nil
}

// String is the limit as in a sentence.
func (l Limit) String() string {
	if l.percent {
		return strconv.FormatFloat(100*l.fraction, 'g', 6, 64) + " %"
	}
	return table.Bytes(l.bytes)
}

// beyond says whether a figure grew more than the limit.
func (l Limit) beyond(c Change) bool {
	if l.percent {
		return float64(c.Bytes()) > l.fraction*float64(*c.Old)
	}
	return c.Bytes() > l.bytes
}

// UnknownError says that a limit can't be checked.
type UnknownError struct{ Reason string }

// Error is the reason.
func (e *UnknownError) Error() string { return e.Reason }

// Check returns a sentence that names every figure that grew beyond the limit; empty: none did. It is an *UnknownError where a
// figure is not known on one side, or is a lower bound only.
func (l Limit) Check(all []Diff) (string, error) {
	var beyond []string
	for _, d := range all {
		for _, s := range []Side{d.Old, d.New} {
			if n := s.Plan.UnknownWorkspaces; n > 0 {
				return "", &UnknownError{fmt.Sprintf("--limit: %s has %d ops whose workspace is not known: its memory is a lower bound",
					s.Label, n)}
			}
		}
		for _, c := range d.Figures {
			switch {
			case c.Old == nil || c.New == nil:
				side := d.Old.Label
				if c.New == nil {
					side = d.New.Label
				}
				return "", &UnknownError{fmt.Sprintf("--limit: the %s of %s is not known", c.Name, side)}
			case l.beyond(c):
				beyond = append(beyond, fmt.Sprintf("%s of %s grew by %s (%s)", c.Name, d.New.Label, table.Bytes(c.Bytes()), c.percent()))
			}
		}
	}
	return strings.Join(beyond, "; "), nil
}

// percent is how much it grew relative to the old size.
func (c Change) percent() string {
	if c.Old == nil || c.New == nil || *c.Old == 0 {
		return "new"
	}
	return fmt.Sprintf("%+.2f %%", 100*float64(c.Bytes())/float64(*c.Old))
}
