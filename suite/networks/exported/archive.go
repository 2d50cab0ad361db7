// Package exported reads networks that PyTorch wrote with torch.export: a .pt2 archive, of which it needs nothing but the
// graph (models/<name>.json). It makes a model.Network of it, whose units end where a single tensor is alive, and whose state
// has the names that it has in PyTorch. No Python runs. OpenWeights reads the weights.
//
// The graph is the one of a training step: batch normalisation with the statistics of the batch, dropout. The batch size in
// the file does not matter. Ops that the step program does not have are all reported at once (UnsupportedError).
package exported

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Suffix is what the name of such a file ends in.
const Suffix = ".pt2"

// HowToExport says how a file comes to be one that this package reads.
const HowToExport = "export the network in training mode with " +
	"torch.export.save(torch.export.export(net.train(), (images,)), \"net.pt2\"); docs/your-own-network.md has the lines"

// Bounds of what is read. The largest of torchvision's networks have graphs of 5 MB and 2000 nodes.
const (
	maxEntries = 100_000  // files in the archive
	maxGraph   = 64 << 20 // bytes of the graph's JSON
	maxDepth   = 100      // of nested JSON arrays and objects
	maxNodes   = 50_000   // of the graph
)

// schemaMajor is the version of the graph's JSON that this package reads.
const schemaMajor = 8

// FormatError says why a file is no archive that this package reads.
type FormatError struct {
	Path   string
	Reason string
	Export bool // another export of the network can be read
}

// Error names the file and the reason.
func (e *FormatError) Error() string { return fmt.Sprintf("%s: %s", e.Path, e.Reason) }

// Hint says how to export the network.
func (e *FormatError) Hint() string {
	if !e.Export {
		return ""
	}
	return HowToExport
}

// readGraph reads the graph of the archive in r, and its digest: the first 64 bits of the SHA-256 of
// the graph's JSON.
func readGraph(r io.ReaderAt, size int64) (*document, string, error) {
	bad := func(format string, arguments ...any) error {
		return &FormatError{Reason: fmt.Sprintf(format, arguments...), Export: true}
	}
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return nil, "", bad("not a .pt2 archive of torch.export (%v)", err)
	}
	if len(archive.File) > maxEntries {
		return nil, "", bad("the archive has %d files; at most %d are read", len(archive.File), maxEntries)
	}
	var model, weights *zip.File
	for _, f := range archive.File {
		name := f.Name
		if strings.HasPrefix(name, "models/") { // without the top folder
			name = "/" + name
		}
		switch {
		case strings.Contains(name, "/models/") && strings.HasSuffix(name, ".json"):
			if model != nil {
				return nil, "", bad("the archive holds several models: %s and %s", model.Name, f.Name)
			}
			model = f
		case strings.HasSuffix(name, "data/weights/model_weights_config.json"):
			weights = f
		}
	}
	if model == nil {
		return nil, "", bad("the archive holds no models/<name>.json: it was not written by torch.export.save, " +
			"or by a version of PyTorch before 2.8")
	}
	text, err := readEntry(model)
	if err != nil {
		return nil, "", bad("%s: %v", model.Name, err)
	}
	var d document
	if err := decode(text, &d); err != nil {
		return nil, "", bad("%s: %v", model.Name, err)
	}
	if d.Schema.Major != schemaMajor {
		return nil, "", bad("the graph has schema version %d, which can't be read; version %d can, as PyTorch 2.8 and later write it",
			d.Schema.Major, schemaMajor)
	}
	if n := len(d.Module.Graph.Nodes); n > maxNodes {
		return nil, "", bad("the graph has %d nodes; at most %d are read", n, maxNodes)
	}
	if weights != nil {
		if err := checkWeights(weights); err != nil {
			return nil, "", bad("%s: %v", weights.Name, err)
		}
	}
	sum := sha256.Sum256(text)
	return &d, fmt.Sprintf("sha256:%.8x", sum), nil
}

// checkWeights refuses weights that were written with Python's pickle, which can run code.
func checkWeights(f *zip.File) error {
	text, err := readEntry(f)
	if err != nil {
		return err
	}
	var weights struct {
		Config map[string]struct {
			Pickle bool `json:"use_pickle"`
		} `json:"config"`
	}
	if err := decode(text, &weights); err != nil {
		return err
	}
	for name, w := range weights.Config {
		if w.Pickle {
			return fmt.Errorf("the weights of %s are pickled; weights of ordinary tensors are not", name)
		}
	}
	return nil
}

// readEntry unpacks a file of the archive, up to maxGraph bytes whatever size the archive claims.
func readEntry(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, maxGraph+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxGraph {
		return nil, fmt.Errorf("larger than %d MiB", maxGraph>>20)
	}
	return text, nil
}

// decode reads JSON that is nested at most maxDepth deep.
func decode(text []byte, into any) error {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("JSON nested more than %d deep", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	var syntax *json.SyntaxError
	err := json.Unmarshal(text, into)
	if errors.As(err, &syntax) {
		return fmt.Errorf("damaged JSON at byte %d: %w", syntax.Offset, err)
	}
	return err
}
