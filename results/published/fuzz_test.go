package published

import "testing"

// FuzzParse reads files of published figures: whatever a file says, a cell that is taken has a metric, a mark and
// figures in their range.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schema":1,"marks":{"A":"a"},"cells":[
		{"table":"t","dataset":"d","network":"n","method":"m","metric":"top1","value":0.9,"sd":0.1,"mark":"A","source":"s"}]}`))
	f.Add([]byte(`{"schema":1,"cells":[
		{"table":"t","dataset":"d","network":"n","method":"m","metric":"memory","value":-1,"mark":"B","source":"s"}]}`))
	f.Add([]byte(`{"schema":1,"cells":[{"metric":"top5","value":2}]} {}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		cells, err := parse(text)
		if err != nil {
			return
		}
		for _, c := range cells {
			if c.Value != nil && (*c.Value < 0 || c.Accuracy() && *c.Value > 1) || c.Table == "" {
				t.Errorf("%+v was taken", c)
			}
			if _, err := Table(cells, c.Table); err != nil {
				t.Error(err)
			}
		}
	})
}
