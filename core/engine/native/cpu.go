//go:build !nocpu

package native

// #include "call.h"
import "C"

import "fmt"

// CPU returns the cpu backend.
func CPU() (Backend, error) {
	t := C.lb_backend_get(C.LB_ABI)
	if t == nil {
		return Backend{}, fmt.Errorf("the cpu backend has another ABI than %d", C.LB_ABI)
	}
	return Backend{t}, nil
}
