package suite

import (
	"fmt"

	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/results"
)

// Pair is a run and what it is compared with.
type Pair struct{ Old, New *Run }

// Against builds the runs of the request, each with the run that it is compared with: the same under another method, if other
// is the name of one, else the same of another network, a name or the path of a file.
func (r Request) Against(other string) ([]Pair, error) {
	news, err := r.Build()
	if err != nil {
		return nil, err
	}
	_, err = methods.Find(other)
	method, request := err == nil, r
	if method {
		request.Methods = []string{other}
	} else {
		request.Networks = []string{other}
	}
	olds, err := request.Build()
	if err != nil {
		return nil, fmt.Errorf("--against %s: %w", other, err)
	}
	pairs := make([]Pair, len(news))
	for i, n := range news {
		for _, o := range olds {
			a, b := o.Spec, n.Spec
			same := a.Dataset == b.Dataset && a.Batch == b.Batch &&
				(method && a.Network == b.Network || !method && a.Method == b.Method && a.AuxDepth == b.AuxDepth && a.Modules == b.Modules)
			switch {
			case !same:
			case pairs[i].Old != nil:
				return nil, fmt.Errorf("--against %s: several runs of %s are like %s: choose one of --aux-depths and of --modules",
					other, other, n.ID())
			default:
				pairs[i] = Pair{o, n}
			}
		}
		if pairs[i].Old == nil {
			return nil, fmt.Errorf("--against %s: there is no such run of %s", n.ID(), other)
		}
	}
	return pairs, nil
}

// OnBackend is the request for the backend that records were planned on, if it does not name one itself. An error says that it
// names another one, on which kernels need another workspace.
func (r Request) OnBackend(records []results.Record) (Request, error) {
	for _, record := range records {
		backend := record.Spec.Backend
		auto := r.Backend == "" || r.Backend == "auto"
		switch {
		case backend == BackendNull && auto: // Plan takes it
		case auto && backend != BackendNull:
			r.Backend = backend
		case r.Backend != backend:
			return r, fmt.Errorf("planned with backend %s: kernels need another workspace with --backend %s", backend, r.Backend)
		}
	}
	return r, nil
}
