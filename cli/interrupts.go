package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Interrupts returns a context that the first SIGINT, SIGTERM or SIGHUP cancels, after first; the next one calls second. The
// function that it returns ends this.
func Interrupts(first, second func()) (context.Context, func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup asks for
		signal.Notify(signals, syscall.SIGHUP)
	}
	ctx, cancel := watch(signals, first, second)
	return ctx, func() {
		signal.Stop(signals)
		cancel()
	}
}

// watch cancels at the first signal and kills at the second.
func watch(signals <-chan os.Signal, say, kill func()) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		for first := true; ; first = false {
			select {
			case <-done:
				return
			case <-signals:
			}
			if !first {
				kill()
				return
			}
			say()
			cancel()
		}
	}()
	return ctx, func() {
		close(done)
		cancel()
	}
}
