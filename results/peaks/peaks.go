// Package peaks reads tables of measured training peaks: CSV files with a row a run, such as those of published studies.
package peaks

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/localbench/localbench/files"
)

// Row is one measured run.
type Row struct {
	Line               int    // in the file, from 1
	Network, Optimizer string // as the file has them
	Batch, Side        int64  // samples a step; height and width of the images in pixels
	Channels, Classes  int64
	GPU                string
	ZeroGrad           string // when the program drops gradients: one of ZeroGrads
	// MeasuredBytes is the measured peak; 0 for a run that ran out of memory, whose peak need not be known.
	MeasuredBytes int64
	// OutOfMemory says whether the run ran out of memory; nil: the file does not say.
	OutOfMemory *bool
	// CapacityBytes is the memory of the GPU: of the file's column, else of a known name; 0: not known.
	CapacityBytes int64
	// Others are what other predictors said, in bytes, by their name: that of the column without _bytes.
	Others map[string]float64
}

// When a program drops gradients, as in the column zero_grad.
const (
	ZeroGradStart    = "0" // before the forward pass
	ZeroGradMiddle   = "1" // between forward and backward pass
	ZeroGradEnd      = "2" // after the update
	ZeroGradNotGiven = ""
)

// Table is a file of measured runs.
type Table struct {
	Rows       []Row
	Predictors []string // names of Row.Others, in the order of the columns
}

// The bounds of a file and of its numbers.
const (
	maxFile = 64 << 20
	maxSize = 1 << 16 // of batch, image side, channels and classes
)

// bytesSuffix ends the columns of sizes.
const bytesSuffix = "_bytes"

// required are the columns that a file must have. The others may be absent: channels (3), gpu, zero_grad, capacity_bytes,
// real_oom, and a column NAME_bytes for each other predictor.
var required = []string{"network", "optimizer", "batch", "image_side", "classes", "measured_bytes"}

// Read reads a file. An error names the line and the column.
func Read(path string) (Table, error) {
	text, err := files.Read(path, maxFile)
	if err != nil {
		return Table{}, err
	}
	t, err := parse(text)
	if err != nil {
		return Table{}, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

func parse(text []byte) (t Table, err error) {
	reader := csv.NewReader(bytes.NewReader(text))
	head, err := reader.Read()
	if errors.Is(err, io.EOF) {
		return t, errors.New("the file is empty: must be CSV with a line of column names")
	}
	if err != nil {
		return t, err
	}
	columns := map[string]int{}
	for i, name := range head {
		name = strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))
		if _, twice := columns[name]; twice {
			return t, fmt.Errorf("the column %q is there twice", name)
		}
		columns[name] = i
		predictor, sized := strings.CutSuffix(name, bytesSuffix)
		if sized && predictor != "measured" && predictor != "capacity" && predictor != "" {
			t.Predictors = append(t.Predictors, predictor)
		}
	}
	for _, name := range required {
		if _, ok := columns[name]; !ok {
			return t, fmt.Errorf("there is no column %q: must have %s", name, strings.Join(required, ", "))
		}
	}
	for {
		cells, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return t, err
		}
		line, _ := reader.FieldPos(0)
		r, err := parseRow(fields{columns, cells}, t.Predictors)
		if err != nil {
			return t, fmt.Errorf("line %d: %w", line, err)
		}
		r.Line = line
		t.Rows = append(t.Rows, r)
	}
	if len(t.Rows) == 0 {
		return t, errors.New("the file has column names and no rows")
	}
	t.Predictors = slices.DeleteFunc(t.Predictors, func(name string) bool { // such as one that was run on other networks
		return !slices.ContainsFunc(t.Rows, func(r Row) bool { _, ok := r.Others[name]; return ok })
	})
	return t, nil
}

// fields are the cells of a line by the names of their columns.
type fields struct {
	columns map[string]int
	cells   []string
}

func (f fields) text(name string) string {
	if i, ok := f.columns[name]; ok {
		return strings.TrimSpace(f.cells[i])
	}
	return ""
}

// number is a whole number in the range; the default if the cell is empty.
func (f fields) number(name string, low, high, def int64) (int64, error) {
	text := f.text(name)
	if text == "" && def >= low {
		return def, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%s %q: must be a whole number from %d to %d", name, text, low, high)
	}
	return n, nil
}

func parseRow(f fields, predictors []string) (r Row, err error) {
	r = Row{Network: f.text("network"), Optimizer: f.text("optimizer"), GPU: f.text("gpu"), ZeroGrad: f.text("zero_grad"),
		Others: map[string]float64{}}
	if r.Network == "" || r.Optimizer == "" {
		return r, errors.New("the columns network and optimizer must have names")
	}
	if !slices.Contains([]string{ZeroGradNotGiven, ZeroGradStart, ZeroGradMiddle, ZeroGradEnd}, r.ZeroGrad) {
		return r, fmt.Errorf("zero_grad %q: must be 0 (before the forward pass), 1 (before the backward pass), "+
			"2 (at the end of the step), or empty", r.ZeroGrad)
	}
	if text := f.text("real_oom"); text != "" {
		ended, err := strconv.ParseBool(strings.ToLower(text))
		if err != nil {
			return r, fmt.Errorf("real_oom %q: must be true or false", text)
		}
		r.OutOfMemory = &ended
	}
	unmeasured := int64(-1) // a default below the range: the cell must not be empty
	if r.OutOfMemory != nil && *r.OutOfMemory {
		unmeasured = 0
	}
	for _, c := range []struct {
		to             *int64
		name           string
		low, high, def int64
	}{
		{&r.Batch, "batch", 1, math.MaxInt32, 0},
		{&r.Side, "image_side", 1, maxSize, 0},
		{&r.Channels, "channels", 1, maxSize, 3},
		{&r.Classes, "classes", 1, maxSize << 8, 0},
		{&r.MeasuredBytes, "measured_bytes", max(0, -unmeasured), math.MaxInt64, unmeasured},
		{&r.CapacityBytes, "capacity_bytes", 0, math.MaxInt64, 0},
	} {
		if *c.to, err = f.number(c.name, c.low, c.high, c.def); err != nil {
			return r, err
		}
	}
	if r.CapacityBytes == 0 {
		r.CapacityBytes = capacity(r.GPU)
	}
	for _, name := range predictors {
		text := f.text(name + bytesSuffix)
		if text == "" {
			continue
		}
		x, err := strconv.ParseFloat(text, 64)
		if err != nil || !(x > 0) || math.IsInf(x, 0) {
			return r, fmt.Errorf("%s%s %q: must be a number of bytes, or empty", name, bytesSuffix, text)
		}
		r.Others[name] = x
	}
	return r, nil
}

// capacity is the memory of a GPU as CUDA reports it (cudaDeviceProp.totalGlobalMem), in bytes; 0 if it is not known.
func capacity(gpu string) int64 {
	for name, bytes := range map[string]int64{
		"RTX 3060":         12622168064,
		"RTX 4060":         8318222336,
		"A100-SXM4-80GB":   85100068864,
		"H100 80GB HBM3":   84942979072,
		"NVIDIA H200":      151397597184,
		"NVIDIA RTX A6000": 51041271808,
	} {
		if strings.HasSuffix(gpu, name) {
			return bytes
		}
	}
	return 0
}
