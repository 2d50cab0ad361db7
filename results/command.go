package results

import (
	"fmt"
	"strconv"
	"strings"
)

// Command is the arguments of benchctl that make a run of the spec, with the data set and files that the record can't
// name left to the user. Flags at their defaults are left out, except those that say what was trained.
func Command(s Spec) string {
	args := []string{"run", "--methods", s.Method, "--networks", s.Network, "--datasets", s.Dataset,
		"--batch", strconv.FormatInt(s.Batch, 10), "--epochs", strconv.FormatInt(s.Epochs, 10), "--lr", number(s.LR),
		"--weight-decay", number(s.WeightDecay), "--seeds", strconv.FormatUint(s.Seed, 10) + ","}
	add := func(given bool, flag, value string) {
		if given {
			args = append(args, "--"+flag)
			if value != "" {
				args = append(args, value)
			}
		}
	}
	whole := func(flag string, n int64) { add(n != 0, flag, strconv.FormatInt(n, 10)) }
	if s.WarmupEpochs != nil {
		add(true, "warmup-epochs", strconv.FormatInt(*s.WarmupEpochs, 10))
	}
	add(s.Optimizer != "", "optimizer", s.Optimizer)
	add(s.Optimizer == "" || s.Momentum != 0, "momentum", number(s.Momentum))
	add(strings.HasPrefix(s.Optimizer, "adam"), "betas", number(s.Beta1)+","+number(s.Beta2))
	add(s.Optimizer == "rmsprop", "rmsprop-alpha", number(s.Alpha))
	add(s.Optimizer != "", "eps", number(s.Epsilon))
	whole("aux-depths", s.AuxDepth)
	whole("modules", s.Modules)
	add(s.Selection != "" && s.Selection != "uniform", "selection", s.Selection)
	add(s.AuxDepth != 0 && !s.Pyramid, "no-pyramid", "")
	add(s.Pyramid && s.PyramidCoefficient != 0.5, "pyramid-coefficient", number(s.PyramidCoefficient))
	add(s.Precision != "f32", "precision", s.Precision)
	add(s.Backend != "cpu", "backend", s.Backend)
	whole("threads", s.Threads)
	whole("train-limit", s.TrainLimit)
	whole("test-limit", s.TestLimit)
	add(s.ValFraction != 0, "val-fraction", number(s.ValFraction))
	add(s.Augment == "none", "no-augment", "")
	add(s.Dropout == "", "dropout", "off")
	add(s.Quirks != "" && s.Quirks != "none", "quirks", s.Quirks)
	settings, err := s.Settings()
	if err != nil { // of another version: the options as they are stored
		return strings.Join(args, " ") + fmt.Sprintf(" # options %v", s.Options)
	}
	for _, f := range settings.fields() {
		text := f.text()
		add(text != "" && text != f.tag.Get("default") && f.flag() != "-", f.flag(), f.argument())
	}
	return strings.Join(args, " ")
}

// number is the shortest text that reads back as the same number.
func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
