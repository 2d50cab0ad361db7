package table_test

import (
	"fmt"
	"os"

	"github.com/localbench/localbench/reports/table"
)

// One table is written in any format: for people the text of its cells, for programs their numbers in base units.
func Example() {
	peak := int64(86 << 20)
	t := table.Table{ID: "memory", Title: "Memory of a training step",
		Columns: []table.Column{{Key: "method", Name: "method"}, {Key: "peak_bytes", Name: "planned peak", Align: table.AlignRight}},
		Rows:    [][]table.Cell{{table.Text("auglocal"), table.Number(float64(peak), table.Bytes(peak))}},
	}
	for _, name := range []string{"table", "csv"} {
		format, err := table.Lookup(name)
		if err == nil {
			err = format.Write(os.Stdout, t)
		}
		if err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// Memory of a training step
	//  method    planned peak
	// ────────────────────────
	//  auglocal     86.00 MiB
	// method,peak_bytes
	// auglocal,90177536
}

func ExampleSelect() {
	t := table.Table{ID: "memory", Columns: []table.Column{{Key: "method", Name: "method"}, {Key: "arena_bytes", Name: "arena"}}}
	_, err := table.Select([]table.Table{t}, "memory", []string{"arena_byte"})
	fmt.Println(err)
	// Output: unknown column "arena_byte": did you mean "arena_bytes"? Known: method, arena_bytes
}
