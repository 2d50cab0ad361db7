package results

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Settings are the options of a spec that have no field in Spec. A record stores them as text, in Spec.Options,
// under the key in the tag `option`; a setting at its default is not stored, so that a new setting changes no id.
//
// The other tags define the valid text. `least`: a whole number of at least this, which is the default. `stored`: a switch, with
// the text of a switch that is on, or for a text the valid ones, with commas. Text without a tag is checked where it is used.
// `compared`: a plan is shown beside the plan with this setting at its default.
//
// The flag of a setting has the name of its key, or that in the tag `flag`; "-": other flags decide it. `default` is a text
// that is stored though it is what the flag does by default, `unit` that of the flag's numbers, and `argument` stands for a
// value that a spec does not know.
type Settings struct {
	// Cuts says where modules end; empty: as published, else even.
	Cuts string `option:"cuts"`
	// Mode is InfoPro's classification loss: softmax or contrast.
	Mode string `option:"mode" flag:"infopro-mode" default:"softmax"`
	// Coefficients are InfoPro's weights: a preset or four numbers.
	Coefficients string `option:"coefficients" flag:"infopro-coefficients"`
	// Head is the form of InfoPro's classification loss; empty: 1c2f for cross-entropy, and for contrast 1c1f, which is what
	// records from before this option mean.
	Head string `option:"head" flag:"-"`
	// PublishedProgram is the method as the paper's program has it; off: as the paper describes it.
	PublishedProgram bool `option:"program" stored:"published-program" flag:"-"`
	// Segment is the number of units that checkpoint recomputes together; 0: about the root of their number.
	Segment int `option:"segment" least:"0"`
	// InitDigest is the digest of the file of starting weights; empty: weights come from the seed.
	InitDigest string `option:"init" argument:"FILE"`
	// NetworkDigest is the digest of the file that the network was read from; empty: a built-in network.
	NetworkDigest string `option:"network_digest" flag:"-"`
	// RecomputeNorm recomputes results of normalisations in the backward pass.
	RecomputeNorm bool `option:"recompute" stored:"norm"`
	// FuseNorm says which work of normalisations convolutions do: input, statistics, gradient or all; empty: none.
	FuseNorm string `option:"fuse_norm" stored:"input,statistics,gradient,all"`
	// DeferUpdates makes one update at the end of the step, as eager frameworks do.
	DeferUpdates bool `option:"update" stored:"deferred"`
	// Store is how activations are stored from the forward to the backward pass: bf16, int8 or int4; empty: as they are.
	Store string `option:"store" stored:"bf16,int8,int4" compared:"yes"`
	// Budget is the size in bytes that the arena may have; 0: no limit.
	Budget int64 `option:"budget" least:"0" unit:"B" compared:"yes"`
	// Overlap is the number of local modules in flight; 0 and 1: one after the other.
	Overlap int `option:"overlap" least:"1" compared:"yes"`
	// WorkspaceLimit is the workspace in bytes that a kernel may need; 0: no limit.
	WorkspaceLimit int64 `option:"workspace_limit" least:"0" unit:"B"`
	// Eager describes the program of the eager model, where it differs from PyTorch's defaults.
	Eager string `option:"eager"`
	// Deterministic chooses only kernels that give the same bits each time.
	Deterministic bool `option:"deterministic" stored:"yes"`
}

// Settings reads the options of the spec. An unknown key or an invalid value is an error, since a run must not ignore
// it.
func (s Spec) Settings() (Settings, error) {
	var out Settings
	fields := settingFields(&out)
	for _, key := range slices.Sorted(maps.Keys(s.Options)) {
		f, known := fields[key]
		if !known {
			known := strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
			return Settings{}, fmt.Errorf("option %s: unknown; this program knows %s", key, known)
		}
		if err := f.read(s.Options[key]); err != nil {
			return Settings{}, fmt.Errorf("option %s: %q: %w", key, s.Options[key], err)
		}
	}
	return out, nil
}

// WithSettings is the spec with its settings replaced by these.
func (s Spec) WithSettings(settings Settings) Spec {
	s.Options = nil
	for key, f := range settingFields(&settings) {
		if text := f.text(); text != "" {
			if s.Options == nil {
				s.Options = map[string]string{}
			}
			s.Options[key] = text
		}
	}
	return s
}

// Compared returns the settings that a plan is compared with: for each option that is tagged `compared` and not at its
// default, under its key, these settings with that one at its default.
func (s Settings) Compared() map[string]Settings {
	out := map[string]Settings{}
	for key, f := range settingFields(&s) {
		if f.tag.Get("compared") == "" || f.text() == "" {
			continue
		}
		without := s
		settingFields(&without)[key].value.SetZero()
		out[key] = without
	}
	return out
}

// AtDefaults are the settings with those at their defaults that plans are compared without (Compared).
func (s Settings) AtDefaults() Settings {
	for _, f := range settingFields(&s) {
		if f.tag.Get("compared") != "" {
			f.value.SetZero()
		}
	}
	return s
}

// Check returns an error for a number below its least value.
func (s Settings) Check() error {
	for _, f := range s.fields() {
		if f.value.CanInt() && f.value.Int() < 0 {
			return fmt.Errorf("--%s %d: must be at least 0", f.flag(), f.value.Int())
		}
	}
	return nil
}

// settingField is a field of Settings.
type settingField struct {
	value reflect.Value
	tag   reflect.StructTag
}

// settingFields are the fields of s by their keys.
func settingFields(s *Settings) map[string]settingField {
	fields := map[string]settingField{}
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		fields[tag.Get("option")] = settingField{v.Field(i), tag}
	}
	return fields
}

// fields are those of the settings, in the order of their keys.
func (s Settings) fields() (all []settingField) {
	fields := settingFields(&s)
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		all = append(all, fields[key])
	}
	return all
}

// flag is the name of the flag that sets the field.
func (f settingField) flag() string {
	return cmp.Or(f.tag.Get("flag"), strings.ReplaceAll(f.tag.Get("option"), "_", "-"))
}

// argument is what follows the flag for the field's value; empty for a switch.
func (f settingField) argument() string {
	text := f.text()
	if text == "yes" {
		return ""
	}
	return cmp.Or(f.tag.Get("argument"), text+f.tag.Get("unit"))
}

// least is the smallest valid number.
func (f settingField) least() int64 {
	least, _ := strconv.ParseInt(f.tag.Get("least"), 10, 64) // a constant of this file
	return least
}

// read sets the field to a stored text.
func (f settingField) read(text string) error {
	switch {
	case f.value.CanInt():
		n, err := strconv.ParseInt(text, 10, f.value.Type().Bits())
		if err != nil || n < f.least() {
			return fmt.Errorf("must be a whole number of at least %d, without a unit", f.least())
		}
		f.value.SetInt(n)
	case f.value.Kind() == reflect.Bool:
		if stored := f.tag.Get("stored"); text != stored {
			return fmt.Errorf("must be %q, or left out", stored)
		}
		f.value.SetBool(true)
	default:
		if stored := f.tag.Get("stored"); stored != "" && !slices.Contains(strings.Split(stored, ","), text) {
			return fmt.Errorf("must be one of %s, or left out", strings.ReplaceAll(stored, ",", ", "))
		}
		f.value.SetString(text)
	}
	return nil
}

// text is the stored text of the field; empty at its default.
func (f settingField) text() string {
	switch {
	case f.value.CanInt():
		if f.value.Int() > f.least() {
			return strconv.FormatInt(f.value.Int(), 10)
		}
	case f.value.Kind() == reflect.Bool:
		if f.value.Bool() {
			return f.tag.Get("stored")
		}
	default:
		return f.value.String()
	}
	return ""
}
