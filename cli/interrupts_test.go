package cli

import (
	"os"
	"testing"
)

// The first signal is said and cancels; the second kills.
func TestSecondInterruptKills(t *testing.T) {
	signals, said, killed := make(chan os.Signal), make(chan bool, 1), make(chan bool, 1)
	ctx, stop := watch(signals, func() { said <- true }, func() { killed <- true })
	defer stop()
	signals <- os.Interrupt
	<-said
	<-ctx.Done()
	select {
	case <-killed:
		t.Fatal("the first signal killed, want a chance to save")
	default:
	}
	signals <- os.Interrupt
	<-killed
}
