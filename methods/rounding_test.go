package methods

import (
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"math/big"
	"testing"
)

// TestPyramidRounds: every product, quotient and sum of a depth is rounded to a double by itself, as in Python, on
// processors whose multiply and add are one instruction too. The oracle is math/big with 53 bits. Fused arithmetic is
// simulated: it changes 39 of the 34,390 depths here, such as that of 17 units, d = 11, t = 0.6.
func TestPyramidRounds(t *testing.T) {
	number := func(x float64) *big.Float { return new(big.Float).SetPrec(53).SetMode(big.ToNearestEven).SetFloat64(x) }
	rounded := func(x *big.Float) int {
		f, _ := x.Float64()
		return max(1, int(math.RoundToEven(f)))
	}
	depths, fused := 0, 0
	for _, units := range []int{10, 16, 17, 34, 51, 55} {
		for d := 1; d < units-1; d++ {
			for tenth := 1; tenth <= 10; tenth++ {
				coefficient, local := float64(tenth)/10, units-d-1
				got := pyramid(d, local, coefficient, false)
				for l, depth := range got {
					if local == 1 {
						continue
					}
					depths++
					fall := number(0).Mul(number(float64(l)), number(coefficient))
					fall.Quo(fall, number(float64(local-1)))
					rest := number(0).Sub(number(1), fall)
					sum := number(0).Mul(number(float64(d)), rest)
					if want := rounded(sum.Add(sum, fall)); depth != want {
						t.Errorf("%d units, d=%d, t=%g, module %d: depth %d, want %d", units, d, coefficient, l, depth, want)
					}
					f, _ := fall.Float64()
					r, _ := rest.Float64()
					if max(1, int(math.RoundToEven(math.FMA(float64(d), r, f)))) != depth {
						fused++
					}
				}
			}
		}
	}
	if depths != 34390 || fused != 39 {
		t.Errorf("fused arithmetic changes %d of %d depths, want 39 of 34390: the depths here would not show it", fused, depths)
	}
}

// TestNothingToFuse: no sum or difference has a product as its operand where depths, chosen units and coefficients are
// computed, unless the product is converted: the language lets a compiler fuse the two otherwise, and the one for arm64
// does.
func TestNothingToFuse(t *testing.T) {
	checked := map[string]bool{"pyramid": false, "selectUnits": false, "terms": false}
	for _, file := range []string{"auglocal.go", "infopro.go"} {
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if _, ok := checked[f.Name.Name]; !ok {
				continue
			}
			checked[f.Name.Name] = true
			ast.Inspect(f, func(n ast.Node) bool {
				if sum, ok := n.(*ast.BinaryExpr); ok && (sum.Op == token.ADD || sum.Op == token.SUB) && (product(sum.X) || product(sum.Y)) {
					t.Errorf("%s: a product that may be fused with a sum", set.Position(sum.Pos()))
				}
				return true
			})
		}
	}
	for name, ok := range checked {
		if !ok {
			t.Errorf("there is no function %s", name)
		}
	}
}

// product says whether an expression is a product that is not converted.
func product(e ast.Expr) bool {
	for {
		p, ok := e.(*ast.ParenExpr)
		if !ok {
			break
		}
		e = p.X
	}
	b, ok := e.(*ast.BinaryExpr)
	return ok && b.Op == token.MUL
}
