package graph

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write core/engine/native/kinds.h")

const kindsHeader = "../engine/native/kinds.h"

// header renders the table of kinds for C++: a line for each kind and each family.
func header() string {
	var b strings.Builder
	b.WriteString("// Generated from the table in core/graph/kind.go by `go test ./core/graph -run Header -update`. Do not edit." + `
#pragma once
// clang-format off

// row(name, number, family, operands, results): the letters are explained in check.cc.
#define LB_KINDS(row)`)
	for _, k := range Kinds() {
		r := k.row()
		fmt.Fprintf(&b, " \\\n  row(%s, %d, %s, %q, %q)", r.name, k, r.family, r.operands, r.results)
	}
	b.WriteString("\n\n// row(name): make_<name> chooses the kernels of a family.\n#define LB_FAMILIES(row)")
	for f := FamilyNone + 1; f < familyCount; f++ {
		fmt.Fprintf(&b, " \\\n  row(%s)", f)
	}
	b.WriteString("\n\n// clang-format on\n")
	return b.String()
}

// firstDifference describes the first line of the C++ header that disagrees with the table, empty if none does.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		line := func(list []string) string {
			if i < len(list) {
				return strings.Trim(list[i], " \\")
			}
			return "end of file"
		}
		if line(g) != line(w) {
			return fmt.Sprintf("line %d: got %q, want %q", i+1, line(g), line(w))
		}
	}
	return ""
}

func TestKindsHeader(t *testing.T) {
	if *update {
		if err := os.WriteFile(kindsHeader, []byte(header()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(kindsHeader)
	if err != nil {
		t.Fatal(err)
	}
	if d := firstDifference(string(text), header()); d != "" {
		t.Errorf("%s does not agree with the table of kinds, %s; if the table is right, run go test ./core/graph -run Header -update",
			kindsHeader, d)
	}
}

func TestKindsHeaderPlantedMismatch(t *testing.T) {
	for _, c := range []struct{ what, old, new, named string }{
		{"another number", "row(relu, 7,", "row(relu, 8,", "row(relu, 8,"},
		{"another family", "row(gate, 39, gate,", "row(gate, 39, pool,", "row(gate, 39, pool"},
		{"another form", `row(max_pool, 11, pool, "t", "tu")`, `row(max_pool, 11, pool, "t", "t")`, "row(max_pool,"},
		{"no row", "  row(gate_backward, 40, gate, \"ttt\", \"tt\") \\\n", "", "row(gate_backward,"},
	} {
		planted := strings.Replace(header(), c.old, c.new, 1)
		if planted == header() {
			t.Fatalf("%s: %q is not in the header", c.what, c.old)
		}
		if d := firstDifference(planted, header()); !strings.Contains(d, c.named) {
			t.Errorf("%s: got %q, want an error that contains %q", c.what, d, c.named)
		}
	}
}

// checkRow reports what is wrong with the row of a kind, given the roles that its family's file names.
func checkRow(r kindRow, roles []string) error {
	if r.name == "" || r.family == FamilyNone || r.family >= familyCount {
		return fmt.Errorf("no name or no family")
	}
	if bad := strings.Trim(strings.ToLower(strings.TrimSuffix(r.operands, "+")+r.results), formLetters); bad != "" {
		return fmt.Errorf("unknown letters %q, want letters of %q", bad, formLetters)
	}
	operands, repeats := strings.CutSuffix(r.operands, "+")
	if len(roles) != len(operands) {
		return fmt.Errorf("operands %q and roles %q differ in number", r.operands, roles)
	}
	for i, role := range roles {
		if last := repeats && i == len(roles)-1; last != strings.HasSuffix(role, "+") {
			return fmt.Errorf("operand %d: %q and role %q disagree on whether it may repeat", i, r.operands, role)
		}
		optional := operands[i:i+1] == strings.ToUpper(operands[i:i+1])
		if optional != strings.HasSuffix(role, "?") {
			return fmt.Errorf("operand %d: %q and role %q disagree on whether it is optional", i, operands[i:i+1], role)
		}
	}
	return nil
}

func TestKindRows(t *testing.T) {
	names := map[string]Kind{}
	for _, k := range Kinds() {
		if err := checkRow(k.row(), k.Roles()); err != nil {
			t.Errorf("kind %d %s: %v", k, k, err)
		}
		if other, ok := names[k.String()]; ok {
			t.Errorf("kinds %d and %d are both named %s", other, k, k)
		}
		names[k.String()] = k
		if differentiable := strings.HasSuffix(k.String(), "_backward") && k.Differentiable(); differentiable {
			t.Errorf("%s is a backward op and has a gradient rule: second derivatives are not supported", k)
		}
	}
	if got := Kind(kindCount).String(); got != fmt.Sprintf("kind %d", kindCount) {
		t.Errorf("name of an unknown kind: got %q", got)
	}
}

func TestKindRowsPlantedMismatch(t *testing.T) {
	roles := []string{"x", "weight", "bias?"}
	for _, r := range []kindRow{
		{"", FamilyConv, "ttF", "t", true},
		{"conv", FamilyNone, "ttF", "t", true},
		{"conv", FamilyConv, "ttf", "t", true},
		{"conv", FamilyConv, "tt", "t", true},
		{"conv", FamilyConv, "tqF", "t", true},
		{"conv", FamilyConv, "ttF+", "t", true},
	} {
		if checkRow(r, roles) == nil {
			t.Errorf("row %+v: no error", r)
		}
	}
	if err := checkRow(kinds[KindLinear], roles); err != nil {
		t.Errorf("the row of linear: %v", err)
	}
}
