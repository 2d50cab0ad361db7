package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/files"
	"github.com/localbench/localbench/suite/sweepdir"
)

// submission is an array job that was submitted: its tasks are cells of a manifest. It is kept in the folder of the sweep, so
// that the same command does not submit a cell that is in the queue.
type submission struct {
	Job   string   `json:"job"`
	Cells []string `json:"cells"` // the ids of the tasks' cells, from task 0
}

// submissionFile is the pattern of the files of submissions. They are no manifests, whose names end with .json.
const submissionFile = "slurm-%s.job"

// maxSubmissionBytes bounds the file of a submission: an array has at most some 100,000 tasks.
const maxSubmissionBytes = 64 << 20

// write keeps the submission in the folder of the records.
func (s submission) write(out string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("job %s: %w", s.Job, err)
	}
	path := filepath.Join(sweepdir.Folder(out), fmt.Sprintf(submissionFile, s.Job))
	if err := atomicfile.WriteBytes(path, text, 0o644); err != nil {
		return fmt.Errorf("job %s was submitted, but this could not be noted: %w", s.Job, err)
	}
	return nil
}

// submissions reads those of a folder of records.
func submissions(out string) (all []submission, err error) {
	entries, err := os.ReadDir(sweepdir.Folder(out))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("submitted jobs: %w", err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "slurm-") || filepath.Ext(entry.Name()) != ".job" {
			continue
		}
		var s submission
		text, err := files.Read(filepath.Join(sweepdir.Folder(out), entry.Name()), maxSubmissionBytes)
		if err == nil {
			err = json.Unmarshal(text, &s)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w; remove the file if its job has ended", entry.Name(), err)
		}
		all = append(all, s)
	}
	return all, nil
}

// queued are the ids of the cells of a folder that are in Slurm's queue, waiting or running.
func (o Slurm) queued(ctx context.Context, out string) (map[string]bool, error) {
	all, err := submissions(out)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	tasks, err := o.queue(ctx)
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, s := range all {
		for _, index := range tasks[s.Job] {
			if index >= 0 && index < len(s.Cells) {
				ids[s.Cells[index]] = true
			}
		}
	}
	return ids, nil
}
