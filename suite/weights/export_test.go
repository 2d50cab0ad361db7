package weights

import "bytes"

// CheckHeader reads the header of a file with that content.
func CheckHeader(content []byte) error {
	return new(file).readHeader(bytes.NewReader(content), int64(len(content)))
}
