package names

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"bp", "checkpoint", "dgl", "auglocal", "resnet32", "resnet110"}
	for name, want := range map[string]string{
		"auglocl":     "auglocal",   // a letter is missing
		"AugLocal":    "auglocal",   // another case
		"chekpiont":   "checkpoint", // a missing letter, and two swapped
		"resnet 32":   "resnet32",
		"dlg":         "dgl", // two letters swapped
		"db":          "",
		"vit":         "",
		"backprop":    "",
		"":            "",
		"transformer": "",
	} {
		if got := Nearest(name, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestFind(t *testing.T) {
	self := func(s string) string { return s }
	if got, err := Find("method", "dgl", []string{"bp", "dgl"}, self); err != nil || got != "dgl" {
		t.Errorf("got %q, %v", got, err)
	}
	for name, want := range map[string]string{
		"dlg": `unknown method "dlg": did you mean "dgl"? Known: bp, dgl`,
		"vit": `unknown method "vit": Known: bp, dgl`,
		"DGL": `unknown method "DGL": did you mean "dgl"? Known: bp, dgl`,
	} {
		if _, err := Find("method", name, []string{"bp", "dgl"}, self); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
