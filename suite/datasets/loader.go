package datasets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/localbench/localbench/core/rng"
)

// LoaderOptions define how the samples of one epoch are divided into batches. Only
// Batch is required.
type LoaderOptions struct {
	// Batch is the number of samples of every batch but the last.
	Batch int
	// Seed and Epoch are part of the address of each random choice.
	Seed  uint64
	Epoch uint32
	// Augment is applied to every image; the zero value copies it.
	Augment Augmentation
	// Draw leaves the images unchanged and returns the random words of Augment, for
	// augmentation on the device.
	Draw bool
	// Shuffle takes the samples in the random order of the epoch.
	Shuffle bool
	// Start is the first batch to deliver, for a run that resumes within an epoch.
	Start int
	// Decoders is the number of goroutines that decode the image files of a batch, for a split with Pictures; 0 means 1. It
	// does not affect the batches.
	Decoders int
}

// Batch is a batch in a buffer of the loader's ring. It is valid until released.
type Batch struct {
	Images  []byte  // [N, Height, Width, Channels]
	Labels  []int32 // [N]
	Samples []int32 // [N]: the position of each sample in the split; read only
	Words   []int32 // [N 4]: the words of each sample, with LoaderOptions.Draw; else nil
	N       int     // LoaderOptions.Batch, or less in the last batch
	Index   int     // the batch's number in the epoch, from 0

	slot *slot // set once, so that a late Release reads nothing a worker writes
}

// ringSize is the number of batch buffers, those in use included.
const ringSize = 3

// slot is an element of the ring, exchanged between worker and consumer: a token
// is in free when the worker may fill it, in ready when it is full.
type slot struct {
	batch        Batch
	images       []byte
	labels       []int32
	words        []int32
	err          error // why the batch could not be made
	free, ready  chan struct{}
	heldByCaller bool
}

// Loader prepares the batches of an epoch ahead of their use. Its goroutine
// fills a ring of buffers that is allocated once, so that a step allocates nothing. One
// goroutine at a time may call its methods.
//
//	loader, err := NewLoader(set.Train, LoaderOptions{Batch: 1024, Shuffle: true})
//	defer loader.Close()
//	for {
//		batch, err := loader.Next(ctx)
//		if err == io.EOF { break }
//		if err != nil { return err }
//		… batch.Images, batch.Labels …
//		loader.Release(batch)
//	}
type Loader struct {
	split   Split
	options LoaderOptions
	batches int
	order   []int32 // the sample at each place of the epoch
	ring    [ringSize]slot

	next   int // the batch that Next delivers
	stop   chan struct{}
	group  sync.WaitGroup
	closed bool
}

// NewLoader checks the options, allocates the buffers and starts to fill them. Close
// must be called, also after an error of Next.
func NewLoader(split Split, options LoaderOptions) (*Loader, error) {
	if err := checkLoader(split, options); err != nil {
		return nil, err
	}
	l := &Loader{split: split, options: options, batches: countBatches(split.N, options), order: make([]int32, split.N)}
	samples := min(options.Batch, split.N)
	for i := range l.ring {
		l.ring[i].images = make([]byte, samples*split.Shape.Bytes())
		l.ring[i].labels = make([]int32, samples)
		if options.Draw {
			l.ring[i].words = make([]int32, 4*samples)
		}
		l.ring[i].batch.slot = &l.ring[i]
	}
	l.start()
	return l, nil
}

// Batches is the number of batches of the whole epoch, independent of Start.
func (l *Loader) Batches() int { return l.batches }

// BufferBytes is the host memory that the loader holds: the ring and the order.
func (l *Loader) BufferBytes() int64 {
	total := int64(4 * len(l.order))
	for i := range l.ring {
		total += int64(len(l.ring[i].images) + 4*len(l.ring[i].labels) + 4*len(l.ring[i].words))
	}
	return total
}

// Next returns the next batch, io.EOF after the last one, or the context's
// error. Batches come in the order of their index. At most ringSize of them may be
// held at a time.
func (l *Loader) Next(ctx context.Context) (*Batch, error) {
	if l.closed {
		return nil, errors.New("loader: Next was called after Close")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if l.next >= l.batches {
		return nil, io.EOF
	}
	s := &l.ring[l.next%ringSize]
	if s.heldByCaller {
		return nil, fmt.Errorf("loader: batch %d: its buffer is in use by batch %d, which must be released first",
			l.next, s.batch.Index)
	}
	if err := l.wait(ctx, s); err != nil {
		return nil, err
	}
	if s.err != nil {
		s.ready <- struct{}{} // every later call finds it again
		return nil, s.err
	}
	s.heldByCaller = true
	l.next++
	return &s.batch, nil
}

// Release returns the buffer of a batch to the loader. A second call
// has no effect, or, after Next has returned the same buffer
// again, releases that.
func (l *Loader) Release(batch *Batch) {
	s := batch.slot
	if !s.heldByCaller {
		return
	}
	s.heldByCaller = false
	s.free <- struct{}{}
}

// Reset restarts the loader at batch start of another epoch, with the same
// buffers. Batches that are not released become invalid.
func (l *Loader) Reset(epoch uint32, start int) error {
	if l.closed {
		return errors.New("loader: Reset was called after Close")
	}
	if start < 0 || start > l.batches {
		return fmt.Errorf("loader: start at batch %d: must be 0 to %d", start, l.batches)
	}
	l.halt()
	l.options.Epoch, l.options.Start = epoch, start
	l.start()
	return nil
}

// Close stops the goroutine and waits for it. A second Close does nothing.
func (l *Loader) Close() {
	if l.closed {
		return
	}
	l.closed = true
	l.halt()
}

// start orders the epoch and starts the worker.
func (l *Loader) start() {
	if l.options.Shuffle {
		rng.Stream{Seed: l.options.Seed, Purpose: rng.PurposeShuffle, Epoch: l.options.Epoch}.Permute(l.order)
	} else {
		for i := range l.order {
			l.order[i] = int32(i)
		}
	}
	for i := range l.ring {
		s := &l.ring[i]
		s.heldByCaller = false
		s.free, s.ready = make(chan struct{}, 1), make(chan struct{}, 1)
		s.free <- struct{}{}
	}
	l.next = l.options.Start
	l.stop = make(chan struct{})
	l.group.Go(func() { l.work(l.stop) })
}

// halt stops the worker and waits for it.
func (l *Loader) halt() {
	close(l.stop)
	l.group.Wait()
}

// work fills batches until there are no more.
func (l *Loader) work(stop <-chan struct{}) {
	for index := l.options.Start; index < l.batches; index++ {
		s := &l.ring[index%ringSize]
		select {
		case <-stop:
			return
		case <-s.free:
		}
		l.fill(s, index)
		s.ready <- struct{}{} // has room: it was emptied before the slot was freed
	}
}

// fill prepares a batch. It reads the split, the order and the options only, which do not change while the worker runs.
func (l *Loader) fill(s *slot, index int) {
	first := index * l.options.Batch
	n := min(l.options.Batch, l.split.N-first)
	size := l.split.Shape.Bytes()
	samples := l.order[first : first+n : first+n]
	if l.split.Pictures != nil {
		s.err = l.split.Pictures.fill(s.images, samples, l.split.Shape, l.options)
	}
	for i, sample := range samples {
		s.labels[i] = l.split.Labels[sample]
		if l.split.Pictures != nil {
			continue
		}
		image, src := s.images[i*size:(i+1)*size], l.split.Image(int(sample))
		words := [4]uint32{}
		if !l.options.Augment.none() {
			words = l.options.Augment.Draw(l.options.Seed, l.options.Epoch, int(sample))
		}
		switch {
		case l.options.Draw:
			copy(image, src)
			for k, w := range words {
				s.words[4*i+k] = int32(w)
			}
		case l.options.Augment.none():
			copy(image, src)
		default:
			l.options.Augment.Apply(image, src, l.split.Shape, words)
		}
	}
	s.batch.Images, s.batch.Labels, s.batch.Samples = s.images[:n*size], s.labels[:n], samples
	s.batch.N, s.batch.Index = n, index
	if l.options.Draw {
		s.batch.Words = s.words[:4*n]
	}
}

// wait takes the token of a full slot.
func (l *Loader) wait(ctx context.Context, s *slot) error {
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// countBatches returns the number of batches of n samples.
func countBatches(n int, options LoaderOptions) int {
	return (n + options.Batch - 1) / options.Batch
}

// checkLoader checks the options against the split.
func checkLoader(split Split, options LoaderOptions) error {
	if err := split.check(); err != nil {
		return err
	}
	if options.Batch < 1 {
		return fmt.Errorf("loader: batch %d: must be at least 1", options.Batch)
	}
	if batches := countBatches(split.N, options); options.Start < 0 || options.Start > batches {
		return fmt.Errorf("loader: start at batch %d: must be 0 to %d", options.Start, batches)
	}
	switch pictures, a := split.Pictures != nil, options.Augment; {
	case pictures && (options.Draw || a.Pad > 0):
		return errors.New("loader: image files can't be padded or augmented on a device: " +
			"they support the random resized crop and the flip only")
	case !pictures && a.ResizedCrop:
		return errors.New("loader: the random resized crop needs image files: images in memory are not supported")
	}
	return options.Augment.check(split.Shape)
}
