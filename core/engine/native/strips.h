// Convolutions of which a few rows of the result can be computed at a time, by one thread, while what was
// read and written for the rows is in the second cache (strips.cc).
#pragma once
#include "program.h"

namespace lb {

// strip is a range of the rows of y of all images of a batch, and the tensors of these rows; x has as many
// rows, or with stride 2 two for each. A tensor is given by where its first element would be: of those that
// are read only these rows have to be there, and `halo` rows more on either side within an image.
struct strip {
  int64_t from, to;      // rows
  int64_t next;          // the end of the strip that follows, which is fetched meanwhile
  const uint8_t *in[2];  // x, or dy of backward data; and dy of backward weights
  uint8_t *out;          // y or dx
  // Tensors of the shape of in of which the rows of the next strip are fetched, or nullptr.
  const uint8_t *ahead[2];
};

// strip_kernel is the kernel of a convolution whose input has for each row of the result one row or two. Its
// workspace is a part that all threads share, and then one for each of the threads.
struct strip_kernel : kernel {
  int64_t unit = 0;  // in an image, strips begin and end at multiples of this many rows; 0: no strips
  int64_t halo = 1;  // rows on either side of a strip that it reads
  int64_t good = 1;  // strips of a multiple of this many rows take the least time
  uint64_t shared = 0, own = 0;  // bytes
  // begin is called before the strips, end after them; both may use all threads.
  virtual void begin(const op &, uint8_t *of_all) = 0;
  virtual void part(const op &, const strip &, uint8_t *of_all, uint8_t *of_thread, int thread) = 0;
  virtual void end(const op &, uint8_t *) {}
};

}  // namespace lb
