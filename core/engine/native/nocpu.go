//go:build nocpu

package native

import "errors"

// CPU returns the cpu backend, which this program was built without.
func CPU() (Backend, error) {
	return Backend{}, errors.New("built without the cpu backend (tag nocpu)")
}
