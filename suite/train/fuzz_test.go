package train

import (
	"encoding/json"
	"math"
	"testing"
)

// FuzzProgress reads where a run stands from a state file: what is taken can be trained on. Its losses have means, its
// epoch and batch are in the run.
func FuzzProgress(f *testing.F) {
	f.Add([]byte(`{"epoch":2,"batch":1,"sums":{"samples":16,"losses":[1,2],"correct":[3,4],"top5":5},
		"epochs":[{"epoch":1,"train_loss":1,"test_top1":0.5,"lr":0.1}],"train_seconds":1}`))
	f.Add([]byte(`{"epoch":1}`))
	f.Add([]byte(`{"epoch":1,"batch":-1,"sums":{"samples":-16}}`))
	f.Add([]byte(`{"epoch":1000000,"epochs":[{}]}`))
	e := extent{epochs: 4, samples: 72, batch: 16, losses: 2}
	f.Fuzz(func(t *testing.T, text []byte) {
		var p Progress
		if err := json.Unmarshal(text, &p); err != nil {
			return
		}
		if err := e.check(p); err != nil {
			return
		}
		if p.Epoch < 1 || p.Epoch > 5 || p.Batch < 0 || p.Batch > 5 || len(p.Epochs) != p.Epoch-1 {
			t.Errorf("%+v was taken", p)
		}
		o := Outcome{Losses: []float32{1, 2}, Correct: []float32{1, 0}}
		p.Sums.add(o, 16)
		for i := range e.losses {
			if loss := p.Sums.mean(i); math.IsNaN(loss) || math.IsInf(loss, 0) || p.Sums.top1(i) < 0 {
				t.Errorf("%+v: loss %g, accuracy %g", p, loss, p.Sums.top1(i))
			}
		}
		p.Sums.top5()
	})
}
