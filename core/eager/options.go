package eager

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/localbench/localbench/names"
)

// Options say how the program that is modelled trains, where programs differ. The zero value is what PyTorch does
// unless told otherwise: gradients are dropped before the forward pass, the optimizer updates all parameters in one
// call, checkpointing is not reentrant.
type Options struct {
	// KeepGradients zeroes gradients in place, as zero_grad(set_to_none=False) does: they live from step to step. It was
	// the default before PyTorch 2.0.
	KeepGradients bool
	// OneByOne updates one parameter after the other, as foreach=False does. It was the default before PyTorch 2.0.
	OneByOne bool
	// Fused updates all parameters in one kernel, as fused=True does: no temporaries. Not every optimizer has it: see Fused.
	Fused bool
	// Reentrant checkpoints with use_reentrant=True.
	Reentrant bool
	// ZeroMid drops gradients between the forward and the backward pass, not before the forward pass.
	ZeroMid bool
	// Images is how many copies of the batch's images the program holds: 1 or 2; 0 is 2 where a loss reads the images
	// that the network does not, as a reconstruction does, else 1.
	Images int
	// NewBatch copies a new batch to the device at the start of each step while the one before is still held, as a loop does
	// that assigns images = images.to(device). Else the program has one batch.
	NewBatch bool
	// Workspaces counts what the convolutions of cuDNN take from the allocator and give back: an estimate, see convWorkspace.
	Workspaces bool
	// LimitBytes bounds what the allocator may reserve; 0: no limit. It is not part of the text form.
	LimitBytes int64
	// BLASBytes is the workspace of a handle of cuBLAS, which is allocated with the first linear layer of the forward and of the
	// backward pass, and kept; 0: not counted. It is not part of the text form.
	BLASBytes int64
}

// option is one key of the text form of Options. Its first value is the default.
type option struct {
	key    string
	values []string
	set    func(o *Options, value int)
	get    func(o Options) int
}

func flag(key string, set func(*Options) *bool, whenTrue string) option {
	values := []string{"false", "true"}
	if whenTrue == "false" {
		values = []string{"true", "false"}
	}
	return flagOf(key, values[0], values[1], set)
}

// flagOf is an option of two values; set is the field that is true for the second.
func flagOf(key, first, second string, set func(*Options) *bool) option {
	return option{key, []string{first, second}, func(o *Options, v int) { *set(o) = v == 1 }, func(o Options) int {
		if *set(&o) {
			return 1
		}
		return 0
	}}
}

// options lists the keys, in the order in which String writes them.
func options() []option {
	return []option{
		flag("set_to_none", func(o *Options) *bool { return &o.KeepGradients }, "false"),
		flag("foreach", func(o *Options) *bool { return &o.OneByOne }, "false"),
		flag("fused", func(o *Options) *bool { return &o.Fused }, "true"),
		flag("reentrant", func(o *Options) *bool { return &o.Reentrant }, "true"),
		{"zero_grad", []string{"start", "mid", "end"},
			func(o *Options, v int) { o.ZeroMid = v == 1 }, // at the end of a step or at the start of the next: the same peaks
			func(o Options) int {
				if o.ZeroMid {
					return 1
				}
				return 0
			}},
		{"images", []string{"auto", "1", "2"}, func(o *Options, v int) { o.Images = v }, func(o Options) int { return o.Images }},
		flagOf("batches", "same", "new", func(o *Options) *bool { return &o.NewBatch }),
		flagOf("workspaces", "none", "cudnn", func(o *Options) *bool { return &o.Workspaces }),
	}
}

// ParseOptions reads the text form: pairs of key and value, comma separated, such as "foreach=false,zero_grad=mid". The
// empty text is the default.
func ParseOptions(text string) (Options, error) {
	var o Options
	known := options()
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(text, ",") {
		pair = strings.TrimSpace(pair)
		if pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return o, fmt.Errorf("%q has no value: write %s=VALUE", pair, key)
		}
		k, err := names.Find("option", key, known, func(k option) string { return k.key })
		if err != nil {
			return o, err
		}
		if seen[key] {
			return o, fmt.Errorf("%s is given twice", key)
		}
		seen[key] = true
		v := slices.Index(k.values, value)
		if v < 0 {
			return o, fmt.Errorf("%s=%s: must be one of %s", key, value, strings.Join(k.values, ", "))
		}
		k.set(&o, v)
	}
	if o.Fused && seen["foreach"] {
		return o, errors.New("foreach and fused=true can't be combined: they are two implementations of the optimizer's step")
	}
	return o, nil
}

// String is the text form, without what has its default: empty for the zero value.
func (o Options) String() string {
	var pairs []string
	for _, k := range options() {
		if v := k.get(o); v > 0 {
			pairs = append(pairs, k.key+"="+k.values[v])
		}
	}
	return strings.Join(pairs, ",")
}
