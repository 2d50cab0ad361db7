package peaks

import (
	"strings"
	"testing"
)

const head = "network,optimizer,batch,image_side,channels,classes,gpu,zero_grad,measured_bytes,real_oom,xmem_bytes,none_bytes\n"

func TestParse(t *testing.T) {
	table, err := parse([]byte(head +
		"ResNet18,Adam,32,86,3,10,NVIDIA GeForce RTX 3060,2,1000,false,1100.5,\n" +
		"vgg16,SGD,8,224,,1000,,,2000,,,\n" +
		"vgg16,SGD,800,224,,1000,,,,true,3000,\n"))
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := table.Rows[0], table.Rows[1], table.Rows[2]
	if len(table.Rows) != 3 || a.Network != "ResNet18" || a.Optimizer != "Adam" || a.Batch != 32 || a.Side != 86 ||
		a.Classes != 10 || a.ZeroGrad != ZeroGradEnd || a.MeasuredBytes != 1000 || a.OutOfMemory == nil || *a.OutOfMemory ||
		a.CapacityBytes != 12622168064 || a.Others["xmem"] != 1100.5 || a.Line != 2 {
		t.Errorf("got %+v", a)
	}
	if b.Channels != 3 || b.OutOfMemory != nil || b.CapacityBytes != 0 || len(b.Others) != 0 {
		t.Errorf("got %+v", b)
	}
	if c.MeasuredBytes != 0 || c.OutOfMemory == nil || !*c.OutOfMemory || c.Line != 4 {
		t.Errorf("got %+v", c)
	}
	if len(table.Predictors) != 1 || table.Predictors[0] != "xmem" {
		t.Errorf("got predictors %v, want xmem: the other one has no figures", table.Predictors)
	}
}

func TestParseBadInput(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "the file is empty"},
		{"no rows", head, "has column names and no rows"},
		{"no column", "network,optimizer\n", `there is no column "batch"`},
		{"a column twice", "network,network\n", `the column "network" is there twice`},
		{"a missing cell", head + "a,SGD,1,2,3,4\n", "line 2"},
		{"no batch", head + "a,SGD,,86,3,10,,,1,,,\n", `line 2: batch "": must be a whole number from 1`},
		{"a negative batch", head + "a,SGD,-5,86,3,10,,,1,,,\n", `batch "-5"`},
		{"a fraction", head + "a,SGD,1.5,86,3,10,,,1,,,\n", `batch "1.5"`},
		{"a huge side", head + "a,SGD,1,99999999999999999999,3,10,,,1,,,\n", "image_side"},
		{"nothing measured", head + "a,SGD,1,86,3,10,,,,,,\n", `measured_bytes "": must be a whole number from 1`},
		{"nothing measured of a run that fitted", head + "a,SGD,1,86,3,10,,,,false,,\n", "measured_bytes"},
		{"zero_grad", head + "a,SGD,1,86,3,10,,3,1,,,\n", `zero_grad "3": must be 0`},
		{"real_oom", head + "a,SGD,1,86,3,10,,,1,maybe,,\n", `real_oom "maybe": must be true or false`},
		{"another predictor", head + "a,SGD,1,86,3,10,,,1,,-4,\n", `xmem_bytes "-4"`},
		{"not a number", head + "a,SGD,1,86,3,10,,,1,,NaN,\n", `xmem_bytes "NaN"`},
		{"no network", head + ",SGD,1,86,3,10,,,1,,,\n", "must have names"},
		{"a quote", head + "\"a,SGD,1\n", "line 2"},
	} {
		if _, err := parse([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(head + "a,SGD,1,86,3,10,,3,1,,,\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		table, err := parse(text)
		for _, r := range table.Rows {
			if err == nil && (r.Batch < 1 || r.Side < 1 || r.Classes < 1 || r.Channels < 1 || r.MeasuredBytes < 0) {
				t.Errorf("got %+v", r)
			}
		}
	})
}
