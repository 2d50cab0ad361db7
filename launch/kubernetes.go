package launch

import (
	"fmt"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// Kubernetes is how cells become indexed jobs.
type Kubernetes struct {
	Image     string // of the container, with benchctl
	Claim     string // persistent volume claim with the folder of the records and the data sets
	Mount     string // where the claim is mounted: Sweep.Out and the data sets lie below
	Namespace string
	Retries   int32 // of one index
}

// Job is the indexed job of a class: one index for each cell. The digest in its name is that of the manifest.
func (o Kubernetes) Job(s Sweep, c Class, number int) batchv1.Job {
	name := fmt.Sprintf("benchctl-%s-%d", strings.TrimSuffix(base(s.Path), ".json"), number)
	limits := corev1.ResourceList{
		corev1.ResourceMemory: *resource.NewQuantity(mebibytes(c.MemoryBytes)<<20, resource.BinarySI),
		corev1.ResourceCPU:    *resource.NewQuantity(c.Threads, resource.DecimalSI),
	}
	if c.GPU {
		limits["nvidia.com/gpu"] = *resource.NewQuantity(1, resource.DecimalSI)
	}
	// The indices of a job are 0, 1, 2, ...; the cells of a class are some of the manifest: the shell looks the cell up.
	cells := make([]string, len(c.Cells))
	for i, cell := range c.Cells {
		cells[i] = strconv.Itoa(cell)
	}
	script := "set -- " + strings.Join(cells, " ") + "\n" +
		`shift "$JOB_COMPLETION_INDEX"` + "\n" +
		"exec " + s.work(`"$1"`) + "\n"
	mode, never := batchv1.IndexedCompletion, corev1.RestartPolicyNever
	return batchv1.Job{
		TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: o.Namespace,
			Labels: map[string]string{"app.kubernetes.io/name": "benchctl"}},
		Spec: batchv1.JobSpec{
			Completions:          new(int32(len(c.Cells))),
			Parallelism:          new(int32(len(c.Cells))),
			CompletionMode:       &mode,
			BackoffLimitPerIndex: new(o.Retries),
			MaxFailedIndexes:     new(int32(len(c.Cells))), // a cell that fails ends no other one
			// A pod that is evicted or preempted is no failure: the cell goes on from its state.
			PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
				Action: batchv1.PodFailurePolicyActionIgnore,
				OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget,
					Status: corev1.ConditionTrue}},
			}}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/name": "benchctl"}},
				Spec: corev1.PodSpec{
					RestartPolicy:                 never,
					ActiveDeadlineSeconds:         new(c.Seconds),
					TerminationGracePeriodSeconds: new(int64(60)), // to save the state
					Containers: []corev1.Container{{
						Name: "cell", Image: o.Image, Command: []string{"sh", "-c", script},
						Env:          []corev1.EnvVar{{Name: "OMP_WAIT_POLICY", Value: "passive"}},
						Resources:    corev1.ResourceRequirements{Limits: limits, Requests: limits},
						VolumeMounts: []corev1.VolumeMount{{Name: "sweep", MountPath: o.Mount}},
					}},
					Volumes: []corev1.Volume{{Name: "sweep", VolumeSource: corev1.VolumeSource{
						PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: o.Claim}}}},
				},
			},
		},
	}
}

// Manifests are the jobs of classes as YAML documents.
func (o Kubernetes) Manifests(s Sweep, classes []Class) (string, error) {
	var b strings.Builder
	for i, c := range classes {
		text, err := yaml.Marshal(o.Job(s, c, i))
		if err != nil {
			return "", fmt.Errorf("kubernetes: %w", err)
		}
		b.WriteString("---\n")
		b.Write(text)
	}
	return b.String(), nil
}

// base is the last part of a path with slashes.
func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }
