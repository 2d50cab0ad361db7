package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/results"
)

// The command of a record makes the same run: read by the flags of `run`, it expands to the record's spec.
func TestCommandOfASpec(t *testing.T) {
	for _, args := range []string{
		"--methods bp,checkpoint,dgl,predsim,infopro,man,auglocal --networks resnet20 --datasets cifar10 --batch 128 " +
			"--epochs 12 --lr 0.1 --seeds 2",
		"--methods auglocal --networks resnet20 --datasets cifar10 --aux-depths 1,5 --selection sequential --no-pyramid --threads 2",
		"--methods auglocal --networks resnet32 --datasets svhn --pyramid-coefficient 0.25 --weight-decay 0 --momentum 0",
		"--methods infopro --networks resnet20 --datasets cifar10 --infopro-mode contrast --modules 4 --val-fraction 0.1",
		"--methods bp --networks resnet20 --datasets cifar10 --budget 100MiB --recompute norm --update deferred " +
			"--no-augment --train-limit 512 --batch 64",
		"--methods checkpoint,dgl --networks vgg13 --datasets imagenet --segment 3 --dropout off --cuts even --modules 2",
		"--methods auglocal,man --networks resnet110 --datasets stl10 --quirks paper --workspace-limit 1MiB --eager foreach=false",
		"--methods bp,dgl --networks resnet20 --datasets cifar10 --optimizer adam --eager fused=true",
		"--methods bp --networks resnet20 --datasets cifar10 --optimizer adamw --lr 0.002 --betas 0.8,0.99 --eps 1e-6 --weight-decay 0",
		"--methods bp --networks resnet20 --datasets cifar10 --optimizer rmsprop --rmsprop-alpha 0.9 --momentum 0.9 --eps 0",
		"--methods bp --networks resnet20 --datasets cifar10 --optimizer adagrad --eps 1e-6",
		"--methods bp --networks resnet20 --datasets cifar10 --epochs 12 --warmup-epochs 1",
	} {
		for _, spec := range expanded(t, strings.Fields(args)) {
			command := strings.Fields(results.Command(spec))
			again := expanded(t, command[1:])
			if len(again) != 1 || results.SpecID(again[0]) != results.SpecID(spec) {
				t.Errorf("%s: %s: expands to %v", results.SpecID(spec), strings.Join(command, " "), again)
			}
		}
	}
}

// expanded are the specs of the flags of `run`.
func expanded(t *testing.T, args []string) []results.Spec {
	t.Helper()
	c := &cobra.Command{Use: "run"}
	s := addShared(c)
	addTraining(c, &s.request)
	addSamples(c, &s.request)
	if err := c.ParseFlags(args); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	specs, err := s.request.Expand()
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return specs
}
