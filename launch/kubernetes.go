package launch

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Kubernetes is how cells become indexed jobs. The published Go types of the API are not linked in: they would make the process
// of every run larger by 18 MB. The tests decode the manifests into them, strictly.
type Kubernetes struct {
	Image     string // of the container, with benchctl
	Claim     string // persistent volume claim with the folder of the records and the data sets
	Mount     string // where the claim is mounted: Sweep.Out and the data sets lie below
	Namespace string
	Retries   int32 // of one index
}

// object is a mapping of a manifest.
type object map[string]any

// job is the indexed job of a class: one index for each cell. Its name has the digest of the sweep's manifest.
func (o Kubernetes) job(s Sweep, c Class, number int) object {
	labels := object{"app.kubernetes.io/name": "benchctl"}
	metadata := object{"name": fmt.Sprintf("benchctl-%s-%d", strings.TrimSuffix(base(s.Path), ".json"), number), "labels": labels}
	if o.Namespace != "" {
		metadata["namespace"] = o.Namespace
	}
	limits := object{"memory": strconv.FormatInt(mebibytes(c.MemoryBytes), 10) + "Mi", "cpu": strconv.FormatInt(c.Threads, 10)}
	if c.GPU {
		limits["nvidia.com/gpu"] = "1"
	}
	// The indices of a job are 0, 1, 2, ...; the cells of a class are some of the manifest: the shell looks the cell up.
	cells := make([]string, len(c.Cells))
	for i, cell := range c.Cells {
		cells[i] = strconv.Itoa(cell)
	}
	script := "set -- " + strings.Join(cells, " ") + "\n" +
		`shift "$JOB_COMPLETION_INDEX"` + "\n" +
		"exec " + s.work(`"$1"`) + "\n"
	container := object{"name": "cell", "image": o.Image, "command": []string{"sh", "-c", script},
		"env":          []object{{"name": "OMP_WAIT_POLICY", "value": "passive"}},
		"resources":    object{"limits": limits, "requests": limits},
		"volumeMounts": []object{{"name": "sweep", "mountPath": o.Mount}}}
	pod := object{"restartPolicy": "Never", "activeDeadlineSeconds": c.Seconds,
		"terminationGracePeriodSeconds": 60, // to save the state
		"containers":                    []object{container},
		"volumes":                       []object{{"name": "sweep", "persistentVolumeClaim": object{"claimName": o.Claim}}}}
	return object{"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": object{
		"completions": len(cells), "parallelism": len(cells), "completionMode": "Indexed",
		"backoffLimitPerIndex": o.Retries, "maxFailedIndexes": len(cells), // a cell that fails ends no other one
		// A pod that is evicted or preempted is no failure: the cell goes on from its state.
		"podFailurePolicy": object{"rules": []object{{"action": "Ignore",
			"onPodConditions": []object{{"type": "DisruptionTarget", "status": "True"}}}}},
		"template": object{"metadata": object{"labels": labels}, "spec": pod}}}
}

// Manifests are the jobs of classes as YAML documents.
func (o Kubernetes) Manifests(s Sweep, classes []Class) (string, error) {
	var b bytes.Buffer
	for i, c := range classes {
		b.WriteString("---\n")
		encoder := yaml.NewEncoder(&b)
		encoder.SetIndent(2)
		if err := encoder.Encode(o.job(s, c, i)); err != nil {
			return "", fmt.Errorf("kubernetes: %w", err)
		}
		if err := encoder.Close(); err != nil {
			return "", fmt.Errorf("kubernetes: %w", err)
		}
	}
	return b.String(), nil
}

// base is the last part of a path with slashes.
func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }
