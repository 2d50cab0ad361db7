package datasets

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// A MAT-file of level 5 (MathWorks: MAT-File Format, 2019), as far as SVHN's files need it: variables that
// are dense arrays of real numbers, uncompressed or compressed, in little-endian order. A
// variable is an element, a tag (type and size) followed by its data, and so are its parts: flags, dimensions,
// name, numbers.

// Types of elements.
const (
	matInt8       = 1
	matUint8      = 2
	matInt16      = 3
	matUint16     = 4
	matInt32      = 5
	matUint32     = 6
	matSingle     = 7
	matDouble     = 9
	matMatrix     = 14
	matCompressed = 15
)

const (
	matHeader = 128
	matTag    = 8
)

// matVariable is a variable of a file; its numbers follow, in column-major order.
type matVariable struct {
	name  string
	dims  []int
	kind  uint32 // type of the numbers as they are stored
	count int    // of the numbers
	data  io.Reader
}

// matFault describes a fault in a file and the variable that has it.
func matFault(offset int64, what, got, want string) error {
	return &DamagedError{Offset: offset, What: what, Got: got, Want: want}
}

// readMAT calls on for each variable of a file, in order. Data that on does not read is skipped.
func readMAT(r io.Reader, on func(matVariable) error) error {
	var header [matHeader]byte
	if n, err := io.ReadFull(r, header[:]); err != nil {
		return matFault(int64(n), "header", fmt.Sprintf("%d bytes", n), fmt.Sprintf("%d bytes", matHeader))
	}
	if order := string(header[126:]); order != "IM" || header[125] != 1 {
		return matFault(124, "header", fmt.Sprintf("version %d and order %q", header[125], order), "a MAT-file of level 5 in order IM")
	}
	for offset := int64(matHeader); ; {
		var tag [matTag]byte
		n, err := io.ReadFull(r, tag[:])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return matFault(offset+int64(n), "tag of a variable", fmt.Sprintf("%d bytes", n), "8 bytes")
		}
		kind, size := binary.LittleEndian.Uint32(tag[:]), binary.LittleEndian.Uint32(tag[4:])
		body := &io.LimitedReader{R: r, N: int64(size)}
		if err := readMATElement(kind, body, offset, on); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			return fmt.Errorf("byte %d: %w", offset, err)
		}
		if body.N > 0 {
			return matFault(offset+matTag+int64(size)-body.N, "variable", "the end of the file", fmt.Sprintf("%d bytes more", body.N))
		}
		offset += matTag + int64(size)
	}
}

// readMATElement reads a variable, compressed or not; other elements are skipped.
func readMATElement(kind uint32, body io.Reader, offset int64, on func(matVariable) error) error {
	switch kind {
	case matMatrix:
		return readMATMatrix(body, offset, on)
	case matCompressed:
		plain, err := zlib.NewReader(body)
		if err != nil {
			return matFault(offset, "variable", "invalid compressed data: "+err.Error(), "zlib data")
		}
		defer plain.Close()
		var tag [matTag]byte
		if _, err := io.ReadFull(plain, tag[:]); err != nil || binary.LittleEndian.Uint32(tag[:]) != matMatrix {
			return matFault(offset, "variable", "a compressed element that is not an array", "a compressed array")
		}
		return readMATMatrix(plain, offset, on)
	}
	return nil
}

// readMATMatrix reads an array up to its numbers.
func readMATMatrix(r io.Reader, offset int64, on func(matVariable) error) error {
	const most = 256 // bytes of flags, of dimensions, or of a name
	var parts [3][]byte
	for i := range parts {
		_, part, err := matPart(r)
		if err != nil || part.N > most {
			return matFault(offset, "variable", "missing array header", "flags, dimensions and a name")
		}
		if parts[i], err = io.ReadAll(part); err != nil || part.N > 0 {
			return matFault(offset, "variable", "truncated array header", "flags, dimensions and a name")
		}
		if err := part.pad(); err != nil {
			return matFault(offset, "variable", "truncated array header", "flags, dimensions and a name")
		}
	}
	flags, sizes := parts[0], parts[1]
	v := matVariable{name: string(bytes.TrimRight(parts[2], "\x00")), count: 1}
	if len(flags) != 8 || len(sizes) < 8 || len(sizes)%4 != 0 {
		return matFault(offset, "variable "+v.name, fmt.Sprintf("%d bytes of flags and %d of dimensions", len(flags), len(sizes)),
			"8 and 4 per dimension")
	}
	for i := 0; i < len(sizes); i += 4 {
		n := int(int32(binary.LittleEndian.Uint32(sizes[i:])))
		if n < 0 || n > 0 && v.count > math.MaxInt32/n {
			return matFault(offset, "dimensions of variable "+v.name, fmt.Sprint(n), "fewer numbers")
		}
		v.dims = append(v.dims, n)
		v.count *= n
	}
	kind, part, err := matPart(r)
	if err != nil {
		return matFault(offset, "variable "+v.name, "no data", "data")
	}
	v.kind, v.data = kind, part
	width, ok := map[uint32]int{matInt8: 1, matUint8: 1, matInt16: 2, matUint16: 2, matInt32: 4, matUint32: 4, matSingle: 4,
		matDouble: 8}[kind]
	if !ok || part.N != int64(v.count)*int64(width) {
		return matFault(offset, "numbers of variable "+v.name, fmt.Sprintf("%d bytes of type %d", part.N, kind),
			fmt.Sprintf("%d numbers", v.count))
	}
	if err := on(v); err != nil || part.N > 0 {
		return err
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // its checksum comes last
		return matFault(offset, "variable "+v.name, "damaged data: "+err.Error(), "valid zlib data")
	}
	return nil
}

// element is the data of a part and the size of the padding after it.
type element struct {
	*io.LimitedReader
	padding int64
}

// pad skips the padding.
func (e element) pad() error {
	_, err := io.CopyN(io.Discard, e.R, e.padding)
	return err
}

// matPart reads the tag of a part of an array. Data of up to four bytes is stored in the tag.
func matPart(r io.Reader) (kind uint32, e element, err error) {
	var tag [matTag]byte
	if _, err := io.ReadFull(r, tag[:]); err != nil {
		return 0, e, err
	}
	kind = binary.LittleEndian.Uint32(tag[:])
	if small := kind >> 16; small > 0 {
		if small > 4 {
			return 0, e, fmt.Errorf("a tag with %d bytes of data: must be at most 4", small)
		}
		return kind & 0xffff, element{&io.LimitedReader{R: bytes.NewReader(bytes.Clone(tag[4 : 4+small])), N: int64(small)}, 0}, nil
	}
	size := int64(binary.LittleEndian.Uint32(tag[4:]))
	return kind, element{&io.LimitedReader{R: r, N: size}, (8 - size%8) % 8}, nil
}

// numbers reads the first n numbers of a variable.
func (v matVariable) numbers(n int) ([]float64, error) {
	out := make([]float64, 0, min(n, 1<<16))
	for range n {
		x, err := v.number()
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

func (v matVariable) number() (float64, error) {
	var b [8]byte
	width := map[uint32]int{matInt16: 2, matUint16: 2, matInt32: 4, matUint32: 4, matSingle: 4, matDouble: 8}[v.kind]
	if _, err := io.ReadFull(v.data, b[:max(width, 1)]); err != nil {
		return 0, err
	}
	switch v.kind {
	case matInt8:
		return float64(int8(b[0])), nil
	case matInt16:
		return float64(int16(binary.LittleEndian.Uint16(b[:]))), nil
	case matInt32:
		return float64(int32(binary.LittleEndian.Uint32(b[:]))), nil
	case matSingle:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b[:]))), nil
	case matDouble:
		return math.Float64frombits(binary.LittleEndian.Uint64(b[:])), nil
	}
	return float64(binary.LittleEndian.Uint64(b[:])), nil
}
