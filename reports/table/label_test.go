package table

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/localbench/localbench/results"
)

// TestLabels: a label has the settings in which the runs differ; presets of InfoPro's coefficients and its head, which follow
// from the other settings, only where the labels of two runs would be the same without.
func TestLabels(t *testing.T) {
	run := func(method string, modules int64, options ...string) results.Record {
		r := results.Record{Status: results.StatusDone, Spec: results.Spec{Method: method, Modules: modules}}
		for i := 0; i < len(options); i += 2 {
			if r.Spec.Options == nil {
				r.Spec.Options = map[string]string{}
			}
			r.Spec.Options[options[i]] = options[i+1]
		}
		return r
	}
	const softmax16, softmax8 = "cifar10-resnet32-softmax-16", "cifar10-resnet32-softmax-8"
	failed := run("infopro", 10, "mode", "softmax", "coefficients", softmax16)
	failed.Status = results.StatusOutOfMemory
	for _, row := range []struct {
		name    string
		records []results.Record
		want    []string
	}{
		{"one run of a method", []results.Record{run("bp", 0), run("infopro", 10, "mode", "softmax", "coefficients", softmax16)},
			[]string{"bp", "infopro"}},
		{"a preset and numbers", []results.Record{
			run("infopro", 10, "mode", "softmax", "coefficients", softmax16),
			run("infopro", 10, "mode", "softmax", "coefficients", "0,1,0,1")},
			[]string{"infopro", "infopro, coefficients 0,1,0,1"}},
		{"a preset for each number of modules and mode", []results.Record{
			run("infopro", 16, "mode", "softmax", "coefficients", softmax16),
			run("infopro", 4, "mode", "contrast", "coefficients", "cifar10-resnet110-contrast-4", "head", "1c2f")},
			[]string{"infopro, K=16, mode softmax", "infopro, K=4, mode contrast"}},
		{"two presets for the same", []results.Record{
			run("infopro", 10, "mode", "softmax", "coefficients", softmax16),
			run("infopro", 10, "mode", "softmax", "coefficients", softmax8)},
			[]string{"infopro, " + softmax16, "infopro, " + softmax8}},
		{"two heads", []results.Record{
			run("infopro", 10, "mode", "contrast", "head", "1c2f"), run("infopro", 10, "mode", "contrast")},
			[]string{"infopro, head 1c2f", "infopro"}},
		{"a run that did not finish", []results.Record{run("bp", 0), failed}, []string{"bp", "infopro (oom)"}},
		{"a setting that every method has", []results.Record{run("bp", 0, "store", "int8"), run("dgl", 10)},
			[]string{"bp, store int8", "dgl"}},
	} {
		labels := LabelsOf(row.records)
		var got []string
		for _, r := range row.records {
			got = append(got, labels.Of(r))
		}
		if d := cmp.Diff(row.want, got); d != "" {
			t.Errorf("%s: labels (-want +got):\n%s", row.name, d)
		}
	}
}
