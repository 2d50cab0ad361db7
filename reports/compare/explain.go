package compare

import (
	"fmt"
	"slices"

	"github.com/localbench/localbench/results"
)

// explain lists where the bytes of two plans differ: by phase, category, module and value.
func explain(name string, old, new results.Record) []string {
	if !slices.Contains(plannedMemory(), name) {
		return nil
	}
	var out []string
	add := func(what string, before, after int64) {
		if before != after {
			out = append(out, fmt.Sprintf("%s: %d bytes, was %d (%+d)", what, after, before, after-before))
		}
	}
	if old.Memory.PeakOp != new.Memory.PeakOp && new.Memory.PeakOp != "" {
		out = append(out, fmt.Sprintf("the peak is at %s, was at %s", new.Memory.PeakOp, old.Memory.PeakOp))
	}
	if len(old.Memory.ByPhase) > 0 { // older records do not have it
		for _, key := range union(old.Memory.ByPhase, new.Memory.ByPhase) {
			add("highest in phase "+key, old.Memory.ByPhase[key], new.Memory.ByPhase[key])
		}
	}
	for _, key := range union(old.Memory.ByCategory, new.Memory.ByCategory) {
		add("category "+key, old.Memory.ByCategory[key], new.Memory.ByCategory[key])
	}
	if len(old.Memory.ByModule) > 0 && len(new.Memory.ByModule) > 0 { // baselines do not have them
		modules, after := map[string]int64{}, map[string]int64{}
		for _, m := range old.Memory.ByModule {
			modules[m.Name] += m.Bytes
		}
		for _, m := range new.Memory.ByModule {
			after[m.Name] += m.Bytes
		}
		for _, key := range union(modules, after) {
			add(key, modules[key], after[key])
		}
	}
	if len(old.Memory.Top) == 0 || len(new.Memory.Top) == 0 {
		return out
	}
	values, later := largest(old), largest(new)
	for _, key := range union(values, later) {
		switch before, after := values[key], later[key]; {
		case before == 0:
			out = append(out, fmt.Sprintf("tensor %s: %d bytes, was not among the largest", key, after))
		case after == 0:
			out = append(out, fmt.Sprintf("tensor %s: was %d bytes, is not among the largest", key, before))
		default:
			add("tensor "+key, before, after)
		}
	}
	return out
}

// largest are the bytes of the largest tensors by name and category.
func largest(r results.Record) map[string]int64 {
	out := map[string]int64{}
	for _, v := range r.Memory.Top {
		out[v.Name+" ("+v.Category+")"] += v.Bytes
	}
	return out
}

func union(a, b map[string]int64) []string {
	var keys []string
	for k := range a {
		keys = append(keys, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}
