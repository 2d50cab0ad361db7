package diff

import (
	"fmt"

	"github.com/localbench/localbench/results"
)

// Find returns the record of the same run: method, data set, batch and settings are the same, and the network, unless all
// records are of one network. What tells files of networks apart does not count. An error says that there is
// none, or more than one.
func Find(old []results.Record, new results.Record) (found results.Record, err error) {
	one := true // network in the records
	for _, r := range old {
		one = one && r.Spec.Network == old[0].Spec.Network
	}
	count := 0
	for _, r := range old {
		if (one || r.Spec.Network == new.Spec.Network) && key(r.Spec) == key(new.Spec) {
			found = r
			count++
		}
	}
	if count != 1 {
		return found, fmt.Errorf("it has %d records of the run %s (%s on %s, batch %d), and must have one",
			count, results.SpecID(new.Spec), new.Spec.Method, new.Spec.Network, new.Spec.Batch)
	}
	return found, nil
}

// key is the id of a spec without what may differ: the network, and what only matters to a run that trains.
func key(s results.Spec) string {
	settings, err := s.Settings()
	if err == nil {
		settings.NetworkDigest = ""
		s = s.WithSettings(settings)
	}
	s.Network, s.Epochs, s.Seed, s.LR, s.Threads, s.Backend = "", 0, 0, 0, 0, ""
	return results.SpecID(s)
}
