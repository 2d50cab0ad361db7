package launch

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/localbench/localbench/suite/sweepdir"
)

// Kubernetes is how cells become indexed jobs. The published Go types of the API are not linked in: they would make the process
// of every run larger by 18 MB. The tests decode the manifests into them, strictly.
type Kubernetes struct {
	Image     string // of the container, with benchctl
	Claim     string // persistent volume claim with the folder of the records and the data sets
	Mount     string // where the claim is mounted: Sweep.Out and the data sets lie below
	Namespace string
	Retries   int32 // of one index
	AtATime   int   // cells of a job that run at a time; 0: all
}

// object is a mapping of a manifest.
type object map[string]any

// job is the indexed job of a class: one index for each cell, without a name.
func (o Kubernetes) job(s Sweep, c Class) object {
	labels := object{"app.kubernetes.io/name": "benchctl"}
	metadata := object{"labels": labels}
	if o.Namespace != "" {
		metadata["namespace"] = o.Namespace
	}
	limits := object{"memory": strconv.FormatInt(mebibytes(c.MemoryBytes), 10) + "Mi", "cpu": strconv.FormatInt(c.Threads, 10)}
	if c.GPU {
		limits["nvidia.com/gpu"] = "1"
	}
	// The indices of a job are 0, 1, 2, ...; the cells of a class are some of the manifest: the shell looks the cell up.
	script := s.chosen(c, "JOB_COMPLETION_INDEX") + "exec " + s.work(`"$1"`) + "\n"
	container := object{"name": "cell", "image": o.Image, "command": []string{"sh", "-c", script},
		"env":          []object{{"name": "OMP_WAIT_POLICY", "value": "passive"}},
		"resources":    object{"limits": limits, "requests": limits},
		"volumeMounts": []object{{"name": "sweep", "mountPath": o.Mount}}}
	pod := object{"restartPolicy": "Never", "activeDeadlineSeconds": c.Seconds,
		"terminationGracePeriodSeconds": 60, // to save the state
		"containers":                    []object{container},
		"volumes":                       []object{{"name": "sweep", "persistentVolumeClaim": object{"claimName": o.Claim}}}}
	return object{"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": object{
		"completions": len(c.Cells), "completionMode": "Indexed",
		"ttlSecondsAfterFinished": keptSeconds,
		"backoffLimitPerIndex":    o.Retries, "maxFailedIndexes": len(c.Cells), // a cell that fails ends no other one
		// A pod that is evicted or preempted is no failure: the cell goes on from its state.
		"podFailurePolicy": object{"rules": []object{{"action": "Ignore",
			"onPodConditions": []object{{"type": "DisruptionTarget", "status": "True"}}}}},
		"template": object{"metadata": object{"labels": labels}, "spec": pod}}}
}

// keptSeconds is the time that a job is kept after its end. Then the same manifest starts it again, if cells still wait.
const keptSeconds = 300

// Manifests are the jobs as YAML documents, of the classes in which there is something to do. The classes and the jobs' names
// do not depend on what is done already: as long as a job is in the cluster, the same command changes nothing. Cells that are
// done end at once.
func (o Kubernetes) Manifests(s Sweep, todo func(sweepdir.Cell) bool) (string, error) {
	var b bytes.Buffer
	for _, c := range s.Classes(func(sweepdir.Cell) bool { return true }) {
		if !slices.ContainsFunc(c.Cells, func(i int) bool { return todo(s.Manifest.Cells[i]) }) {
			continue
		}
		job := o.job(s, c)
		text, err := manifest(job)
		if err != nil {
			return "", err
		}
		digest := sha256.Sum256(text)
		job["metadata"].(object)["name"] = fmt.Sprintf("benchctl-%s-%s", strings.TrimSuffix(base(s.Path), ".json"),
			hex.EncodeToString(digest[:4]))
		// What runs at a time can be changed while the job runs: it is not part of the name.
		job["spec"].(object)["parallelism"] = min(len(c.Cells), cmp.Or(o.AtATime, len(c.Cells)))
		if text, err = manifest(job); err != nil {
			return "", err
		}
		b.WriteString("---\n")
		b.Write(text)
	}
	return b.String(), nil
}

// manifest is an object as YAML.
func manifest(o object) ([]byte, error) {
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(o); err != nil {
		return nil, fmt.Errorf("kubernetes: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("kubernetes: %w", err)
	}
	return b.Bytes(), nil
}

// base is the last part of a path with slashes.
func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }
